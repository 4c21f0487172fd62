"""`submit_extract`: an extraction as shards on a cluster, or as processes of this machine; and what is done about those that failed.

Everything that can be refused is refused before anything is written. The same call again does what is missing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ..cache.stores.disk import Disk
from ..cache.watch import Watch
from ..errors import EstError, UsageError, counted, expect_choice, expect_range, quoted, some
from ..inputs.given import as_found
from ..inputs.input import FoundInputs
from ..inputs.pathrule import NONE
from .local import held_elsewhere, run_local, stop_local
from .manifest import ExtractManifest, made_nothing
from .parts import Manifest, is_done, read_manifest, run_part
from .place import LAST, Place, holding, named
from .slurm.options import SlurmOptions
from .slurm.queue import Queue, read_queue, waiting, write_queue
from .status import Submission, read_submission

if TYPE_CHECKING:
    from ..extract.config import ExtractConfig
    from ..inputs.tablelist import Given

Engine = Literal["slurm", "local", "debug"]
SHARDS = 8


def submit_extract(
    inputs: Given | FoundInputs,
    out: Path | str,
    config: ExtractConfig | None = None,
    *,
    shards: int | None = None,
    engine: Engine = "slurm",
    labels: str = NONE,
    subjects: str = NONE,
    max_parallel: int | None = None,
    slurm: SlurmOptions | None = None,
    keep_shards: bool = False,
    watch: Watch | None = None,
) -> Submission:
    """Extract in shards, each a cache of its own, and merge them into the cache that one extraction makes; the same call resumes.

    `engine` is slurm, whose jobs are only queued here; local, processes of this machine, of which `max_parallel` work at once; or debug,
    which does everything in this process. Inputs, labels and subjects are those of `extract_videos`. Returns how far everything is.

    >>> config = est.ExtractConfig(weights="synface")
    >>> submission = est.submit_extract("videos", "shards.zarr", config, shards=2, engine="debug")
    >>> submission.is_done, submission.counts, submission.result["clips"]
    (True, {'done': 2}, 4)
    """
    watch = watch or Watch()
    expect_engine(engine)
    place = prepare_extract(inputs, out, config, shards=shards, labels=labels, subjects=subjects, watch=watch)
    queue = replace(read_queue(place), engine=engine, keep_shards=keep_shards)
    return go_on(place, replace(queue, options=slurm or queue.options), max_parallel=max_parallel, watch=watch)


def prepare_extract(
    inputs: Given | FoundInputs,
    out: Path | str,
    config: ExtractConfig | None = None,
    *,
    shards: int | None = None,
    labels: str = NONE,
    subjects: str = NONE,
    watch: Watch | None = None,
) -> Place:
    """Write down what is to be extracted, or find it written; refuse what no shard could do, and other inputs or settings than those."""
    from ..extract.config import ExtractConfig
    from . import manifest as known
    from .possible import expect_possible

    place, watch, config = Place(Path(out)), watch or Watch(), config or ExtractConfig()
    if shards is not None:
        expect_range("--shards", shards, 1, 100_000, default=SHARDS)
    found = as_found(inputs, watch, labels=labels, subjects=subjects)
    expect_possible(place, found, config, watch)
    place.make_folder()
    with holding(place.folder / "submitting", f"The submission of {place.out}"):
        there = (
            read_manifest(place) if place.manifest.exists() else None
        )  # here: another call may have written it by now
        if there is not None and not isinstance(there, known.ExtractManifest):
            raise UsageError(f"{place.folder} holds a submitted {there.kind}.", remedy="another --out")
        if there is not None and known.made_nothing(place):
            _forget(place, there)
            there = None
        asked, texts = known.plan(found, config, shards or (SHARDS if there is None else there.parts))
        if there is None:
            if shards is not None and shards > asked.parts:
                watch.say(f"{counted(asked.parts, 'shard')}: there are no more inputs")
            known.write(place, asked, texts)
            return place
        if shards is not None and asked.parts != there.parts:
            raise UsageError(
                f"{place.folder} was submitted in {there.parts} shards, you asked for {shards}.",
                remedy=f"leave out --shards, or another --out; or remove {place.folder}, and what was extracted with it",
            )
        same = known.expect_same(place, there, asked, texts)
        if same != there:
            known.write(place, same, [])
    return place


def retry(
    out: Path | str,
    *,
    engine: Engine | None = None,
    max_parallel: int | None = None,
    slurm: SlurmOptions | None = None,
    watch: Watch | None = None,
) -> Submission:
    """Do what is missing of a submission, by the engine and with the options of then unless others are named; looks at no folder."""
    place = Place(Path(out))
    place.expect()
    if made_nothing(place):
        raise UsageError(
            f"Every input of {place.out} failed, and a retry does not look at the videos again.",
            remedy=f"est submit extract with the same options, which does; or est submit status {quoted(place.out)}",
        )
    queue = read_queue(place)
    if not engine and not queue.engine:
        raise UsageError(
            f"Nothing of {place.out} was handed to an engine yet: its scripts were printed, or Slurm refused the jobs.",
            remedy=f"est submit retry {quoted(place.out)} --engine slurm; or --engine local, which works on this machine",
        )
    queue = replace(queue, engine=engine or queue.engine, options=slurm or queue.options)
    expect_engine(queue.engine)
    return go_on(place, queue, max_parallel=max_parallel, watch=watch or Watch())


def cancel(out: Path | str) -> list[str]:
    """Stop everything that is queued or runs, here and in Slurm; return the names of the parts, and `starter`. What is committed stays."""
    place = Place(Path(out))
    manifest, queue = read_manifest(place), read_queue(place)
    found = waiting(queue)
    if found:
        from .slurm.arrays import cancel_slurm

        cancel_slurm(queue, found)
    stopped = sorted({*map(named, found), *stop_local(place, manifest)})
    if queue.engine != "slurm" and (hosts := held_elsewhere(place, manifest)):
        raise EstError(
            f"Parts of {place.out} are worked on by {some(hosts)}, which this machine cannot stop; here {len(stopped)} were stopped.",
            remedy=f"est submit cancel {quoted(place.out)} on that machine",
        )
    return stopped


def expect_engine(engine: str) -> None:
    """Refuse an engine that there is not, or not here."""
    expect_choice("--engine", engine, get_args(Engine), default="local")
    if engine == "slurm":
        from .slurm.arrays import expect_slurm

        expect_slurm()


def go_on(place: Place, queue: Queue, *, max_parallel: int | None, watch: Watch) -> Submission:
    """Have everything done that is not: the parts that nobody works on, then the last step."""
    manifest = read_manifest(place)
    if is_done(place, manifest, LAST):
        return read_submission(place.out)
    with holding(place.folder / "submitting", f"The submission of {place.out}"):
        queue = replace(queue, jobs=read_queue(place).jobs)  # here: another call may have queued more by now
        there = waiting(queue)
        if queue.engine == "slurm":
            from .slurm.arrays import submit_slurm

            submit_slurm(place, manifest, queue, [n for n in _open(place, manifest) if n not in there], there)
            return read_submission(place.out)
        if there:
            raise UsageError(
                f"{counted(len(there), 'job')} of {place.out} are in Slurm's queue, and would do the same as --engine {queue.engine}.",
                remedy=f"est submit cancel {quoted(place.out)}, then the same command; or --engine slurm",
            )
        write_queue(place, queue)
    if queue.engine == "debug":
        stopped = _run_here(place, manifest, watch)
    else:
        stopped = run_local(place, manifest, max_parallel=max_parallel, watch=watch)
    submission = read_submission(place.out)
    if stopped:
        return submission
    if submission.open:
        raise _failed(submission)
    run_part(place, LAST, keep_shards=queue.keep_shards, watch=watch)
    return read_submission(place.out)


def _forget(place: Place, there: ExtractManifest) -> None:
    """Remove what an extraction left of which no input gave a clip: its videos may be mended by now."""
    for number in (LAST, *range(there.parts)):
        place.state(number).unlink(missing_ok=True)
    for leftover in (place.folder / "shards", place.computation.parent):
        Disk().remove(leftover)


def _open(place: Place, manifest: Manifest) -> list[int]:
    return [number for number in range(manifest.parts) if not is_done(place, manifest, number)]


def _run_here(place: Place, manifest: Manifest, watch: Watch) -> bool:
    """Do all parts in this process, one after the other; say whether a signal stopped it."""
    return any(not run_part(place, number, watch=watch).is_done for number in _open(place, manifest))


def _failed(submission: Submission) -> EstError:
    """Say which parts have failed, and why."""
    failed = [part for part in submission.parts if part.number in submission.open]
    told = [f"{submission.unit} {part.number}: {(part.error or part.state).rstrip('.')}" for part in failed]
    remedies = list(dict.fromkeys(part.remedy for part in failed if part.remedy))
    again = f"est submit retry {submission.out}, which does only these"
    return EstError(
        f"{counted(len(failed), submission.unit)} of {len(submission.parts)} failed: {some(told, joint='; ')}.",
        remedy="; ".join([*remedies[:1], f"est submit status {submission.out} shows the logs", again]),
    )
