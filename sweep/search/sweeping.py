"""`sweep_cache`: settings searched for each outer fold inside its training half, and what they reach.

    OUT/settings.json      what is searched: the cache, the base configuration, the space, how
    OUT/studies.journal    every trial, as Optuna keeps it (not with --storage)
    OUT/best/<fold>.toml   the configuration that a fold's study chose
    OUT/kept/<fold>/       checkpoints of the best trials
    OUT/trials.csv  sweep.json  sweep.md  sweep.html  pictures
    OUT/retrained/<fold>/  with retraining: a run each, with the chosen configuration

With k outer folds every clip is an inner validation clip of some fold, so that one configuration for all of them would be chosen on test
clips. There is a study for each fold, hence k configurations; the control is searched in the same way, with as many trials.

A sweep that was stopped, however, goes on with the same call.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ...cache import Cache, open_cache
from ...cache.interrupt import listening
from ...encoders.device import parse_device
from ...encoders.precision import Precision, resolve_precision
from ...errors import EstError, UsageError, expect_range, some
from ...train.config.config import TrainConfig
from ...train.config.configfile import preset_settings, to_toml
from ...train.loop.trainer import reproducible
from ...train.loop.world import own_device
from ...train.models.registry import config_class
from ...train.results.place import read_place
from ...train.results.predictions import counted
from ...train.results.run import write, write_json
from ..found.page import page_html, page_markdown
from ..found.record import StudyRecord, Sweep
from ..found.table import trials_csv
from ..space.built_in import built_in
from ..space.corners import corners
from ..space.space import Space
from .control import DEFAULT, control_space
from .ground import Ground, smallest_half
from .identity import SETTINGS, expect_same, identity
from .keeping import bytes_needed, expect_room
from .retraining import BEST, read_retrained, retrain, whole_half
from .searching import Search
from .settings import SweepConfig
from .storage import LOCK, KernelLock, open_storage, optuna
from .study import Study, searching
from .watching import SweepWatch
from .workers import Workers

CSV, JSON, PAGE, HTML = "trials.csv", "sweep.json", "sweep.md", "sweep.html"
RETRAIN_LOCK = "retrained.lock"
SECONDS_BETWEEN_WRITES = 5.0


def sweep_cache(
    cache: Cache | Path | str,
    out: Path | str,
    base: TrainConfig | None = None,
    space: Space | None = None,
    config: SweepConfig | None = None,
    *,
    models: Sequence[str] = (),
    storage: str = "",
    workers: int = 0,
    retrain_seeds: int = 0,
    watch: SweepWatch | None = None,
) -> Sweep:
    """Search settings on a cache, into a folder.

    With so many `retrain_seeds` each fold's choice is trained on its whole training half and scored once. `models` are those of the
    built-in space, where `space` is None. `workers` processes search at once: 0 takes one a core on a CPU. Ctrl-C raises
    KeyboardInterrupt; trials under way are then tried again.
    """
    watch = watch or SweepWatch()
    optuna()  # without it nothing needs to be loaded
    out, config = Path(out), config or SweepConfig()
    base = own_base(base or TrainConfig())
    _expect_possible(base)
    cache = cache if isinstance(cache, Cache) else open_cache(cache)
    device = own_device(parse_device(base.device))
    workers = _workers(workers, device)
    threads = base.loop.threads or (1 if device.type == "cpu" else torch.get_num_threads())
    precision, why = resolve_precision(base.loop.precision, device)
    base = replace(base, device=str(device), loop=replace(base.loop, threads=threads, precision=precision))
    with reproducible(device, threads), searching() as worker:
        begun = begin(cache, out, base, space, config, worker, models=models, storage=storage)
        begun.announce(watch, f"{device}, {precision} ({why}), {workers} × {threads} threads")
        with begun.working(workers) as crew:
            begun.search(watch, crew)
        found = begun.write(watch)
        found = replace(found, retrained=read_retrained(out, found))
        if retrain_seeds:
            first = base.seeds[0]  # by which folds are made where the cache has none: the same as in the studies
            seeds = tuple(range(first, first + retrain_seeds))
            with KernelLock(out / RETRAIN_LOCK).held():  # of several processes that are called alike, one trains
                found = replace(found, retrained=retrain(begun.ground, out, found, seeds, watch))
        begun.write_pages(found)
    return found


def num_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _workers(asked: int, device: torch.device) -> int:
    """Return how many processes search."""
    cores = num_cores()
    expect_range("--workers", asked, 0, 1_000_000, default=cores)
    if device.type == "cpu" and asked > cores:
        raise UsageError(
            f"{asked} processes would wait for each other: this process may use {cores} of the processor's cores.",
            remedy=f"--workers {cores}",
        )
    return asked or (cores if device.type == "cpu" else 1)


def own_base(base: TrainConfig) -> TrainConfig:
    """Return the configuration over which a space is laid: chosen by inner validation, with one seed, scored on no test half."""
    own = {"select": "val", "eval_every": 0, "keep_epochs": False, "tensorboard": False, "control": True}
    return replace(base, **own, seeds=base.seeds[:1])


@dataclass(kw_only=True, eq=False)
class Begun:
    """A sweep whose cache is loaded and whose studies are open."""

    ground: Ground
    out: Path
    space: Space
    config: SweepConfig
    studies: list[Study]
    device: torch.device
    precision: Precision
    storage: str
    recovered: int = 0
    notes: tuple[str, ...] = ()
    ended: bool = False  # by time, before every study had its trials

    def __post_init__(self) -> None:
        self._written = -math.inf
        self.lock = KernelLock(self.out / LOCK)

    def announce(self, watch: SweepWatch, where: str) -> None:
        """Say what will be searched before time is spent on it."""
        ground, config = self.ground, self.config
        clips = [len(ground.outer(fold).train) for fold in ground.folds]
        inner = f"{ground.inner} inner folds" if ground.inner > 1 else "one inner validation part"
        folds = counted(len(ground.folds), "outer fold")
        each = f", {counted(config.trials, 'trial')} in each" if config.trials else ""
        watch.say(f"sweep: {folds}, each with a study of its own{each}")
        if config.minutes:
            watch.say(f"no trial begins after {config.minutes:g} min in all; those under way are finished")
        many = f"{min(clips)} to {max(clips)}" if min(clips) < max(clips) else str(clips[0])
        watch.say(f"each study reads {many} clips of a training half, in {inner}; no test half is read")
        watch.say(where)
        watch.say(ground.ready.data.clips.residency)
        for note in ground.ready.plan.notes:
            watch.warn(note)
        for note in self.notes:
            watch.say(note)
        for line in self.space_lines():
            watch.say(f"  {line}")
        needed = bytes_needed(
            [found for model in self.space.models for found in _corner_configs(self.space, ground.base, model)],
            studies=len(ground.folds),
            inner=ground.inner,
            keep=config.keep,
            width=ground.ready.data.clips.width,
            classes=len(ground.ready.data.labels),
        )
        expect_room(self.out, needed)
        if needed:
            watch.say(f"checkpoints of the best {config.keep} of each study are kept: {needed / 1e6:.0f} MB at most")
        if self.recovered:
            watch.say(f"{self.recovered} trials were interrupted, and are tried again")

    def space_lines(self) -> list[str]:
        """Return the space in words."""
        lines = [f"{setting.name}: {setting}" for setting in self.space.settings]
        return lines + [f"{name}: fixed at {value}" for name, value in self.space.fixed.items()]

    def working(self, workers: int) -> Workers:
        """Return the other processes that search."""
        return Workers(self, workers - 1)

    def search(self, watch: SweepWatch, crew: Workers) -> None:
        """Search in this process, and wait for the others."""
        deadline = time.monotonic() + 60 * self.config.minutes if self.config.minutes else math.inf

        def told() -> None:
            for line in crew.expect_alive():
                watch.warn(line)
            now = time.monotonic()
            if now - self._written >= SECONDS_BETWEEN_WRITES:
                found = self.found()
                with self.lock.held():
                    write(self.out / CSV, trials_csv(found))
                watch.trials(found)
                self._written = time.monotonic()

        with listening(patient=False) as stop:
            search = Search(
                ground=self.ground,
                studies=self.studies,
                space=self.space,
                config=self.config,
                out=self.out,
                device=self.device,
                precision=self.precision,
                stop=stop,
                lock=self.lock,
                deadline=deadline,
                told=told,
            )
            search.run()
            self.ended = time.monotonic() >= deadline and any(study.left for study in self.studies)
            told()
            if stop.wanted:
                watch.say(f"stopped; the same command with --out {self.out} resumes")
                raise KeyboardInterrupt

    def found(self) -> Sweep:
        """Return what the studies hold now."""
        ground = self.ground
        studies = []
        for study in self.studies:
            parts = ground.parts(study.fold)
            studies.append(
                StudyRecord(
                    name=study.name,
                    fold=study.fold,
                    control=study.control,
                    learnt=round(sum(len(part.train) for part in parts) / len(parts)),
                    chosen_by=sum(len(part.val) for part in parts),
                    tested=len(ground.outer(study.fold).test),
                    records=study.records(),
                )
            )
        ended = sum(len(study.records) - study.running for study in studies)
        wanted = self.config.trials * len(studies)
        of = f" of {wanted}" if wanted else ""
        titles = [config_class(model).title for model in self.space.models]
        measure = {"uar": "unweighted", "war": "weighted"}[self.config.objective]
        return Sweep(
            heading=f"Sweep of {' and '.join(titles)} on {ground.cache.path.name}",
            cache=str(ground.cache.path),
            models=tuple(titles),
            objective=f"{measure} average recall of the inner validation clips after the last epoch",
            sampler=self.config.sampler,
            pruner=self.config.pruner,
            trials=self.config.trials,
            space=tuple(self.space_lines()),
            notes=ground.ready.plan.notes,
            studies=tuple(studies),
            ended=f"Time ended after {self.config.minutes:g} min: {ended}{of} trials; the same command resumes."
            if self.ended
            else "",
            seconds=round(covered(span for study in self.studies for span in study.spans()), 1),
        )

    def write(self, watch: SweepWatch) -> Sweep:
        """Write what was found, and each fold's choice."""
        found = self.found()
        watch.trials(found)
        self.write_pages(found)
        for study in found.studies_of(control=False):
            if study.best is None and self.ended:
                raise EstError(
                    f"Time ended after {self.config.minutes:g} minutes, and no trial of {study.name} is complete.",
                    remedy="the same command resumes; more --minutes",
                )
            if study.best is None:
                errors = list(dict.fromkeys(record.error for record in study.records if record.error))
                raise EstError(
                    f"No trial of {study.name} is complete; {study.failed} failed, {study.pruned} were pruned: {some(errors, 1)}",
                    remedy="more --trials, --pruner none, or another --space",
                )
            best = self.chosen(study)
            files = {f"{study.fold}.toml": whole_half(best, study.fold)}
            for place in range(self.ground.inner):
                files[f"{study.fold}-inner{place + 1}.toml"] = self.ground.inner_config(best, study.fold, place)
            with self.lock.held():
                for name, config in files.items():
                    write(self.out / BEST / name, to_toml(config))
        return found

    def chosen(self, study: StudyRecord) -> TrainConfig:
        """Return the configuration that a study chose."""
        assert study.best is not None
        base = self.ground.base
        config = self.space.configure(base, study.best.values)
        return replace(config, seeds=base.seeds, loop=replace(config.loop, stack="off"))

    def write_pages(self, found: Sweep) -> None:
        """Write tables and pages."""
        with self.lock.held():
            self._write_pages(found)

    def _write_pages(self, found: Sweep) -> None:
        write(self.out / CSV, trials_csv(found))
        write_json(self.out / JSON, found.to_json())
        write(self.out / PAGE, page_markdown(found))
        write(self.out / HTML, page_html(found))


def begin(
    cache: Cache,
    out: Path,
    base: TrainConfig,
    space: Space | None,
    config: SweepConfig,
    worker: str,
    *,
    models: Sequence[str] = (),
    storage: str = "",
) -> Begun:
    """Load the cache, and open the studies of a sweep, or those that are there."""
    clips, given = smallest_half(cache, base)
    if given and config.inner > 1:
        raise UsageError(
            f"The cache has a validation split, by which settings are chosen; --inner {config.inner} would divide another part.",
            remedy="leave out --inner, or --protocol kfold",
        )
    inner = 1 if given else config.num_inner(clips)
    ground = Ground.prepare(cache, base, inner)
    space = space or built_in(tuple(models) or (base.model.name,), base, clips)
    config = replace(config, inner=inner)
    if config.sampler == "grid":
        config = replace(config, trials=min(space.size(), config.trials or space.size()))
    known = identity(cache, ground.table, ground.base, space, config, storage)
    known["study"] = expect_same(out, known)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EstError(f"{out} cannot be made: {error.strerror}.", remedy="--out another folder") from error
    first = first_point(space, ground.base)
    facts = {"space": space.to_json(), "never read": {f: len(ground.outer(f).test) for f in ground.folds}}
    studies, recovered = [], 0
    notes = []
    with KernelLock(out / LOCK).held():  # of two that begin at once, one finds what the other has made
        known["study"] = expect_same(out, known)
        opened = open_storage(out, storage)
        write_json(out / SETTINGS, known)
        for fold in ground.folds:
            for control in (True, False) if config.control else (False,):
                study = Study.open(
                    opened,
                    known["study"],
                    f"{fold}/control" if control else fold,
                    config=config,
                    facts=facts,
                    fold=fold,
                    control=control,
                    space=control_space() if control else space,
                    worker=worker,
                    shared=bool(storage),
                )
                recovered += study.recover()
                if control:
                    study.enqueue(DEFAULT)
                elif first is not None:
                    study.enqueue(space.point_of(first))
                studies.append(study)
    if first is not ground.base:
        notes.append(
            f"The settings given are not a point of the space ({some(space.outside(ground.base), joint='; ')}); "
            f"the first trial {'has the values of the preset small' if first is not None else 'is drawn'}."
        )
    return Begun(
        ground=ground,
        out=out,
        space=space,
        config=config,
        studies=studies,
        device=ground.ready.device,
        precision=base.loop.precision,  # ty: ignore[invalid-argument-type]
        storage=storage,
        recovered=recovered,
        notes=tuple(notes),
    )


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the time in which something was under way: that of trials beside each other once, and no pause between calls."""
    total, end = 0.0, -math.inf
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


def first_point(space: Space, base: TrainConfig) -> TrainConfig | None:
    """Return what is tried first: the base, or else the preset small over it; None where neither is in the space."""
    if not space.outside(base):
        return base
    try:
        small = space.configure(base, preset_settings("small", base.model.name))
    except UsageError:  # of other sizes of the base
        return None
    small = replace(small, protocol=base.protocol, seeds=base.seeds, select=base.select, eval_every=base.eval_every)
    return None if space.outside(small) else small


def _expect_possible(base: TrainConfig) -> None:
    """Refuse settings that cannot be searched."""
    if read_place() is not None:
        raise UsageError(
            "A sweep starts its own processes, and torchrun has started several.", remedy="est sweep without torchrun"
        )
    if base.finetune.on:
        raise UsageError(
            "A sweep trains on cached features, and --finetune lets the backbone learn.",
            remedy="est sweep without --finetune; est train --finetune with the settings that it finds",
        )


def _corner_configs(space: Space, base: TrainConfig, model: str) -> list[TrainConfig]:
    """Return configurations at the ends of the space."""
    return [space.configure(base, values) for values in corners(space, model)]
