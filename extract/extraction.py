"""`extract_videos`: everything that `est extract` does, as one call."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cache import CacheWriter
from ..cache.clip import Failure, Source
from ..cache.interrupt import Stop, listening
from ..cache.schema import EXTRA, NO_LABEL
from ..cache.stores.manifest import Extraction
from ..cache.watch import Watch
from ..cache.writing.restart import remove_empty, remove_without_clips
from ..errors import quoted
from ..inputs.given import as_found
from ..inputs.input import FoundInputs, Input
from ..inputs.pathrule import NONE
from .annotations import completed, recorded, relabel
from .clip_pipeline import NO_FACE_STAGE, ClipPipeline, clips_of
from .config import ExtractConfig
from .filling import NewArrays, fill_features
from .modality import Modality
from .planning.estimate import expect_least_room
from .planning.machine import Machine, ThisMachine
from .planning.preparation import prepare_extraction
from .report import Report
from .threads import default_workers
from .workers.clip_worker import STOPPING
from .workers.device_worker import DeviceWorker
from .workers.freed_memory import returning_freed_memory
from .workers.messages import Failed
from .workers.pipeline import Pipeline
from .workers.stages import InHand

if TYPE_CHECKING:
    from ..inputs.tablelist import Given


@dataclass(kw_only=True)
class Todo:
    """Inputs sorted by what the cache knows of them."""

    new: list[Input] = field(default_factory=list)
    unchanged: list[Input] = field(default_factory=list)
    failed: list[Input] = field(default_factory=list)  # before, and not asked to be tried again


@returning_freed_memory
def extract_videos(
    inputs: Given | FoundInputs,
    out: Path | str,
    config: ExtractConfig | None = None,
    *,
    labels: str = NONE,
    subjects: str = NONE,
    retry_failed: bool = False,
    keep_empty: bool = False,
    watch: Watch | None = None,
    machine: Machine | None = None,
    stop: Stop | None = None,
) -> Report:
    """Find the face in every frame of videos and cache its features; the same call resumes, and skips what is there and unchanged.

    `inputs` are videos, folders, lists and data frames, one or several, or what `find_inputs` found; `out` is the cache (.zarr or .h5).
    `labels` and `subjects` say how label and person are read from paths: "none", "folders", or a pattern with a group; lists and data
    frames tell them by themselves. Features that a cache lacks are computed for the clips in it, whichever inputs are named.
    `retry_failed` tries again what failed before. Without any clip no cache is left, but with `keep_empty`: it then holds the failures.
    `machine` is what computes, where it is not this one. Raising the flag of `stop` ends the work in order, as signals do where there is
    none. Returns what was done.

    >>> report = est.extract_videos("videos", "cache.zarr", est.ExtractConfig(weights="synface"))
    >>> report.clips, report.unchanged, len(report.failures)  # all of them are in this cache already
    (0, 4, 0)
    """
    config, watch, machine = config or ExtractConfig(), watch or Watch(), machine or ThisMachine()
    start, out = time.monotonic(), Path(out)
    found = as_found(inputs, watch, labels=labels, subjects=subjects)
    ready = prepare_extraction(found, out, config, watch, machine)
    config, modality, weights, devices = ready.config, ready.modality, ready.weights, ready.devices
    todo_inputs, columns, recipes, device_workers = ready.inputs, ready.columns, ready.recipes, ready.device_workers
    expect_least_room(out, ready, retry_failed=retry_failed)
    black = black_rows(device_workers[0], config)
    if remove_without_clips(out, recipes, columns):
        watch.say(f"{out} had no clips, and is made again with these settings")
    everything = (*found.inputs, *found.problems)
    order = list(found.labels) or sorted({source.label for source in everything if source.label is not None})
    with CacheWriter.open(
        out,
        recipes,
        labels=order,
        crops=config.crops,
        columns=columns,
        environment=ready.environment,
        black=black,
        trained_on=[] if weights is None or weights.trained_on is None else [weights.trained_on],
        extraction=Extraction(inputs=len(everything), left=len(todo_inputs)) if todo_inputs else None,
        strict=config.strict,
    ) as writer:
        for change in writer.environment_changes:
            watch.warn(f"the cache was started in another environment: {change}")
        if writer.manifest.version == 1 and any(source.told for source in found.inputs):
            watch.warn(
                f"{out} has format 1, which has no place for onset, apex and offset: est cache convert {quoted(out)} NEW upgrades it"
            )
        relabelled, _ = relabel(found.problems, writer, modality)
        problems = [recorded(completed(problem, writer), writer) for problem in found.problems]
        for problem in problems:
            if writer.failure(problem.id) != problem:  # else it is on record
                writer.fail(problem)
        # A cache without clips knows nothing but failures, and is removed where they fail again.
        todo = sort_inputs(todo_inputs, writer, retry_failed or not len(writer), modality)
        for source in todo.unchanged:
            if clips_of(source.id, writer):
                writer.forget(
                    source.id
                )  # its file had changed or was gone meanwhile, and is as it was when the clip was made
        changes, misplaced = relabel([*todo.unchanged, *todo.failed], writer, modality)
        relabelled += changes
        workers = config.workers or default_workers(devices)
        known = {clip_id: source.path for source in todo.unchanged for clip_id in clips_of(source.id, writer)}
        writer.begin(Extraction(inputs=len(everything), left=len(todo.new)))
        begun = time.monotonic()
        with nullcontext(stop) if stop else listening(STOPPING) as stop, at_work(device_workers):
            filled = None
            if missing := dict(writer.missing_features):
                arrays = NewArrays(
                    recipes=missing,
                    black={name: row for name, row in black.items() if name in missing},
                    crops=writer.path,
                )
                filled = fill_features(
                    writer, arrays, device_workers, config, workers=workers, stop=stop, known=known, watch=watch
                )
            new = [completed(source, writer) for source in todo.new]
            there = [clip for source in todo.unchanged for clip in clips_of(source.id, writer)]
            bare = sum(source.label is None for source in new)
            if bare and any(writer.cell(clip, "label") != NO_LABEL for clip in there):
                watch.warn(f"{bare} new clips have no label, and others of {out} have one: give --labels or a list")
            pipeline = CacheClips(new, writer, device_workers, config, workers, stop, machine.stages)
            pipeline.run(watch)
            if stop.wanted:
                writer.close(folding=False)  # the fold of a large HDF5 cache takes longer than people wait
        running = time.monotonic() - begun
        earlier = [completed(source, writer) for source in todo.failed]
    kept = bool(len(writer)) or stop.wanted or keep_empty or not remove_empty(out)
    old = [
        Failure(
            id=i.id,
            path=i.place,
            stage="earlier run",
            error="failed before; --retry-failed tries again",
            **i.annotations,
        )
        for i in earlier
    ]
    return Report(
        clips=pipeline.clips,
        frames=pipeline.frames,
        unchanged=len(todo.unchanged),
        relabelled=relabelled,
        removed=0,
        no_face=pipeline.no_face,
        incomplete=pipeline.incomplete,
        decoders=dict(pipeline.decoders),
        damaged=pipeline.damaged,
        changed=pipeline.changed,
        parted=pipeline.parted,
        left_out=dict(pipeline.left_out),
        dropped=dict(pipeline.dropped),
        only_small=pipeline.only_small,
        min_face_size=config.min_face_size,
        min_track=config.min_track,
        crowded=pipeline.crowded,
        disordered=[source.id for source in todo_inputs if source.is_disordered],
        misplaced=[*misplaced, *pipeline.misplaced],
        failures=[*problems, *old, *pipeline.failures],
        interrupted=stop.wanted,
        signal=stop.signal,
        kept=kept,
        left=pipeline.left,
        filling=filled.names if filled else (),
        filled=filled.clips if filled else 0,
        unfilled=filled.left if filled else 0,
        seconds=time.monotonic() - start,
        running=running,
        stages=stages_of([pipeline, *([filled] if filled else [])], device_workers),
    )


class CacheClips(ClipPipeline):
    """Clips that go to a cache, which knows how many are left."""

    def __init__(self, inputs: Sequence[Input], sink: CacheWriter, *others: Any) -> None:
        super().__init__(inputs, sink, *others)
        self._writer = sink

    def _write_one(self, source: Input, ended: InHand | Failed) -> None:
        self._writer.one_less()  # first: the commit that holds the clip, or the failure, holds this
        super()._write_one(source, ended)


def stages_of(pipelines: Sequence[Pipeline], device_workers: Sequence[DeviceWorker]) -> dict[str, float]:
    """Add up the seconds that each stage was busy."""
    busy: Counter[str] = Counter()
    for part in (*pipelines, *device_workers):
        busy.update(part.seconds)
    return dict(busy)


def black_rows(device_worker: DeviceWorker, config: ExtractConfig) -> dict[str, tuple[float, ...]]:
    """Return what the backbone makes of a black crop, in the type of the cache: what frames that are blacked out later become."""
    if not config.encoded:
        return {}
    rows = device_worker.encode(np.zeros((1, config.size, config.size, 3), np.uint8)).result()
    flat = {name: row[0].astype(config.dtype) for name, row in rows.items() if row.ndim == 2}
    return {name: tuple(row.tolist()) for name, row in flat.items()}


def sort_inputs(inputs: Sequence[Input], writer: CacheWriter, retry_failed: bool, modality: Modality) -> Todo:
    """Compare inputs with the cache, by id, size and time, and by what rows depend on."""
    todo = Todo()
    for source in inputs:
        try:
            described = source.describe()
        except OSError:
            described = Source()
        status = writer.status(source.id, described)
        if status == "new":
            status = writer.status(f"{source.id}#1", described)  # one of several faces
        if status == "unchanged" and source.id in writer:
            cells = {name: writer.cell(source.id, EXTRA + name) for name in modality.columns}
            status = "new" if modality.is_outdated(source, cells) else status
        if status == "failed" and not retry_failed:
            failure = writer.failure(source.id)
            is_faceless = failure is not None and failure.stage == NO_FACE_STAGE
            (todo.unchanged if is_faceless else todo.failed).append(source)
        elif status == "unchanged":
            todo.unchanged.append(source)
        else:
            todo.new.append(source)
    return todo


@contextmanager
def at_work(device_workers: Sequence[DeviceWorker]) -> Generator[None]:
    """Let device workers end after the batch in hand."""
    try:
        yield
    finally:
        for device_worker in device_workers:
            device_worker.close()
