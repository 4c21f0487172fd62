"""A sweep by several jobs: each searches the same studies, which lie in one database; the last step writes the page and retrains.

Every job has a folder of its own, as machines of a sweep have. Device, precision and threads, where they are left to the machine, are
those of the job that began first: they are a part of what makes two calls one sweep.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from .. import __version__
from ..cache.watch import Watch
from ..encoders.device import parse_device
from ..encoders.precision import Precision
from ..errors import UsageError, differing, expect_range
from ..sweep.found.record import Sweep
from ..sweep.search.begun import HTML
from ..sweep.search.settings import SweepConfig
from ..sweep.search.storage import open_storage, optuna, without_password
from ..sweep.search.sweeping import expect_possible, on_this_machine, own_base, sweep_cache
from ..sweep.search.watching import SweepWatch
from ..sweep.space.space import Space
from ..train.config.config import TrainConfig
from ..train.config.configfile import differences, from_flat, to_flat
from .computing import of_first
from .manifest import FORMAT, VERSION
from .parts import read_manifest
from .place import LAST, Place, holding, named, write_json
from .reading import expect_types
from .slurm.queue import read_queue, waiting
from .state import Ended, read_state
from .submitting import Engine, expect_engine, go_on

if TYPE_CHECKING:
    from ..cache import Cache
    from .slurm.options import SlurmOptions
    from .status import Submission

JOBS = 2
LATER = ("minutes", "trials", "keep")  # of how is searched: what may change when a sweep goes on
WARNED = (signal.SIGUSR1, signal.SIGUSR2)  # by Slurm


@dataclass(frozen=True, kw_only=True)
class SweepComputing:
    """What computes the trials of all jobs."""

    device: str
    threads: int
    precision: Precision

    def __post_init__(self) -> None:
        parse_device(self.device)
        expect_range("threads", self.threads, 1, 4096)


@dataclass(frozen=True, kw_only=True)
class SweepManifest:
    """A sweep by several jobs."""

    kind: ClassVar[str] = "sweep"
    part: ClassVar[str] = "job"
    doing: ClassVar[str] = "Searching"
    unit: ClassVar[str] = "jobs"
    last_computes: ClassVar[bool] = True

    folder: str  # from which relative paths go out
    cache: str
    base: Mapping[str, Any]
    space: Mapping[str, Any] | None
    how: Mapping[str, Any]
    models: tuple[str, ...]
    storage: str
    workers: int
    retrain_seeds: int
    parts: int
    est: str = __version__
    time: float = field(default_factory=time.time)

    @property
    def device(self) -> str:
        """Return the device that was asked for."""
        return self.base["device"]

    @property
    def at_once(self) -> int:
        """Return how many jobs run at once on one machine: all."""
        return self.parts

    def inputs_of(self, number: int) -> int:
        """Count a job as one: trials are of all together."""
        return int(number != LAST)

    def is_kept(self, place: Place, number: int) -> bool:
        """Say yes: trials are in the database."""
        return True

    def to_json(self) -> dict[str, Any]:
        """Return it as it is written."""
        known = {item.name: getattr(self, item.name) for item in fields(self)}
        return json.loads(json.dumps({"format": FORMAT, "version": VERSION, "kind": self.kind, **known}))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        known: dict[str, Any] = {item.name: data[item.name] for item in fields(cls)}
        known["models"] = tuple([] + data["models"])  # of a list alone
        made = expect_types(cls(**known))
        from_flat(made.base)
        if not isinstance(made.device, str):
            raise TypeError(f"device is {made.device!r}")
        SweepConfig(**made.how)
        if made.space is not None:
            Space.from_json(made.space)
        expect_range("parts", made.parts, 1, 10_000)
        return made

    def work(self, place: Place, number: int, *, workers: int | None, watch: Watch) -> Ended:
        """Search until there is nothing left to try."""
        with _warned() as warning:
            try:
                self._sweep(place, number, place.folder / "jobs" / named(number), workers, 0, watch)
            except KeyboardInterrupt:
                return Ended(left=1, signal=warning[0] if warning else signal.SIGINT)
        return Ended()

    def finish(self, place: Place, *, keep_shards: bool, watch: Watch) -> dict[str, Any]:
        """Write the page of all trials, and retrain where that was asked for."""
        found = self._sweep(place, LAST, place.out, None, self.retrain_seeds, watch)
        counts = {study.name: len(study.records) for study in found.studies}
        return {"studies": len(counts), "trials": sum(counts.values()), "page": str(place.out / HTML)}

    def _sweep(
        self, place: Place, number: int, out: Path, workers: int | None, retrain_seeds: int, watch: Watch
    ) -> Sweep:
        with contextlib.chdir(self.folder):
            chosen = of_first(place, number, SweepComputing, self._choose)
            base = from_flat(self.base)
            loop = replace(base.loop, threads=chosen.threads, precision=chosen.precision)
            base = replace(base, device=chosen.device, loop=loop)
            return sweep_cache(
                self.cache,
                out,
                base,
                None if self.space is None else Space.from_json(self.space),
                SweepConfig(**self.how),
                models=self.models,
                storage=self.storage,
                workers=workers or self.workers,
                retrain_seeds=retrain_seeds,
                watch=_Told(watch),
            )

    def _choose(self) -> SweepComputing:
        """Return what a sweep on this machine would compute with."""
        base, _, _ = on_this_machine(from_flat(self.base))
        precision: Any = base.loop.precision  # resolved: no longer auto
        return SweepComputing(device=base.device, threads=base.loop.threads, precision=precision)


def submit_sweep(
    cache: Cache | Path | str,
    out: Path | str,
    base: TrainConfig | None = None,
    space: Space | None = None,
    config: SweepConfig | None = None,
    *,
    jobs: int | None = None,
    models: Sequence[str] = (),
    storage: str = "",
    workers: int = 0,
    retrain_seeds: int = 0,
    engine: Engine = "slurm",
    max_parallel: int | None = None,
    slurm: SlurmOptions | None = None,
    watch: Watch | None = None,
) -> Submission:
    """Sweep by several jobs that share one database; the same call resumes. Arguments are those of `sweep_cache` and `submit_extract`.

    On one machine the database is a file beside the sweep; jobs of Slurm need a `storage` that all machines reach.

    >>> folds = {"protocol.kind": "kfold", "protocol.folds": 2}
    >>> base = est.train_config("small", {"model.name": "gru", "loop.epochs": 1, **folds})
    >>> short = est.SweepConfig(trials=1, inner=1)
    >>> submission = est.submit_sweep("cache.zarr", "sweeps/jobs", base, config=short, workers=1, engine="debug")
    >>> submission.counts, submission.result["trials"]
    ({'done': 2}, 4)
    """
    watch, place = watch or Watch(), Place(Path(out))
    optuna()  # refused first where it is not installed
    expect_engine(engine)
    if jobs is not None:
        expect_range("--jobs", jobs, 1, 10_000, default=JOBS)
    if engine == "slurm" and not storage:
        raise UsageError(
            "Jobs on several machines keep their trials in one database, and --storage names none.",
            remedy="--storage postgresql+psycopg://user@host/studies; or --engine local",
        )
    _expect_no_password(storage)
    base, config = own_base(base or TrainConfig()), config or SweepConfig()
    if engine != "slurm":
        on_this_machine(base, workers)
    shared = storage or f"sqlite:///{place.folder / 'studies.db'}"
    expect_possible(cache, place.out, base, space, config, models=models, storage=shared)
    if storage:
        open_storage(place.folder, storage)  # says whether it can be reached, before anything is written
    asked = SweepManifest(
        folder=os.getcwd(),
        cache=str(cache if isinstance(cache, Path | str) else cache.path),
        base=json.loads(json.dumps(to_flat(base))),
        space=None if space is None else json.loads(json.dumps(space.to_json())),
        how=asdict(config),
        models=tuple(models),
        storage=shared,
        workers=workers,
        retrain_seeds=retrain_seeds,
        parts=jobs or JOBS,
    )
    place.make_folder()
    with holding(place.folder / "submitting", f"The submission of {place.out}"):
        there = (
            read_manifest(place) if place.manifest.exists() else None
        )  # here: another call may have written it by now
        if there is not None and not isinstance(there, SweepManifest):
            raise UsageError(f"{place.folder} holds a submitted {there.kind}.", remedy="another --out")
        if there is not None:
            expect_same(place, there, asked)
            asked = replace(asked, parts=jobs or there.parts)
        place.make()
        open_storage(place.folder, shared)  # jobs that begin at once do not make its tables at once
        if there is None or replace(asked, time=there.time, est=there.est) != there:
            _forget(place, asked)
            write_json(place.manifest, asked.to_json())
    queue = replace(read_queue(place), engine=engine)
    return go_on(place, replace(queue, options=slurm or queue.options), max_parallel=max_parallel, watch=watch)


def _expect_no_password(storage: str) -> None:
    """Refuse a password in a URL: jobs read the URL from a file, and drivers find passwords elsewhere."""
    shown = without_password(storage)
    if shown != storage and not storage.startswith("sqlite:"):
        raise UsageError(
            f"--storage {shown} holds a password, which jobs would read from a file that others may read.",
            remedy="the URL without the password, and PGPASSWORD or ~/.pgpass for PostgreSQL; ?read_default_file=~/.my.cnf for MySQL",
        )


def expect_same(place: Place, there: SweepManifest, asked: SweepManifest) -> None:
    """Refuse another sweep than the one that was submitted; how long it goes on may change."""
    changed = differences(from_flat(there.base), from_flat(asked.base))
    settings = {name: there.how[name] for name in there.how if name not in LATER}
    changed |= {f"--{name}": (then, asked.how[name]) for name, then in settings.items() if then != asked.how[name]}
    if there.storage != asked.storage:
        changed["--storage"] = (without_password(there.storage), without_password(asked.storage))
    named_settings = {"cache": (there.cache, asked.cache), "--model": (there.models, asked.models)}
    changed |= {name: pair for name, pair in named_settings.items() if pair[0] != pair[1]}
    more = ["The search space differs."] if there.space != asked.space else []
    if changed or more:
        raise UsageError(
            differing(place.folder, changed, more=more), remedy="--out another folder, or the earlier settings"
        )


def _forget(place: Place, asked: SweepManifest) -> None:
    """Let jobs begin again that have ended: a sweep that goes on has more to try. Those at work must end before."""
    busy = [number for number in waiting(read_queue(place)) if number != LAST]
    for number in (*range(asked.parts), LAST):
        state = read_state(place.state(number))
        if number in busy or (state is not None and state.is_alive(place, number)):
            raise UsageError(
                f"Jobs of {place.out} are at work, and would not know of other settings.",
                remedy=f"est submit cancel {place.out}",
            )
    for number in (*range(asked.parts), LAST):
        place.state(number).unlink(missing_ok=True)


class _Told(SweepWatch):
    """Passes on what a sweep says, and how many trials have ended."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def say(self, text: str) -> None:
        self._watch.say(text)

    def warn(self, text: str) -> None:
        self._watch.warn(text)

    def trials(self, found: Sweep) -> None:
        best = [
            f"{study.name} {study.best.value:.3f}"
            for study in found.studies
            if study.best is not None and study.best.value
        ]
        ended = sum(len(study.records) - study.running for study in found.studies)
        self._watch.say(f"{ended} trials have ended; best: {', '.join(best) or 'none'}")


@contextlib.contextmanager
def _warned() -> Generator[list[int]]:
    """Take a warning of Slurm as Ctrl-C, which leaves trials under way to be tried again; yield the signals that came."""
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.raise_signal(signal.SIGINT)

    before = {number: signal.signal(number, interrupt) for number in WARNED}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
