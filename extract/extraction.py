"""`extract_videos`: everything that `est extract` does, as one call."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..cache import CacheWriter, current_environment, open_cache
from ..cache.clip import Failure, Source
from ..cache.interrupt import listening
from ..cache.schema import EXTRA, NO_LABEL, ColumnSpec
from ..cache.sources import source_of
from ..cache.watch import Watch
from ..cache.writing.restart import has_clips, remove_without_clips
from ..encoders.device import parse_device
from ..encoders.engines.choice import choose_engine
from ..encoders.engines.preparation import prepare
from ..encoders.weights import Weights, load_weights
from ..inputs.extracolumns import column_specs, typed_cells
from ..inputs.input import FoundInputs, Input
from .annotations import completed, recorded, relabel
from .begun import as_begun, begun_bits, begun_searching, expect_calibration, expect_precision_of
from .clip_pipeline import NO_FACE_STAGE, ClipPipeline, clips_of
from .command import expect_as_made
from .config import ExtractConfig
from .filling import NewArrays, expect_fillings, fill_features
from .modality import Modality, modality_of
from .recipes import recipes_of
from .report import Report
from .threads import default_workers, too_many
from .video.source import expect_decoder
from .workers.clip_worker import STOPPING
from .workers.device_worker import DeviceWorker
from .workers.pipeline import Pipeline

SHOWN_TO_ALL = ("imagenet", "synface", "random")  # weights that have seen nobody's clips, as those of KIND:NAME


@dataclass(kw_only=True)
class Todo:
    """Inputs sorted by what the cache knows of them."""

    new: list[Input] = field(default_factory=list)
    unchanged: list[Input] = field(default_factory=list)
    failed: list[Input] = field(default_factory=list)  # before, and not asked to be tried again


def extract_videos(
    found: FoundInputs,
    out: Path | str,
    config: ExtractConfig | None = None,
    *,
    labels: Sequence[str] = (),
    retry_failed: bool = False,
    watch: Watch | None = None,
) -> Report:
    """Extract inputs into a cache, or go on with one; inputs that are there and unchanged are skipped.

    Features that a cache lacks are first computed for the clips in it, whichever inputs are named.
    """
    config, watch = config or ExtractConfig(), watch or Watch()
    start = time.monotonic()
    modality = modality_of(config)
    for line in modality.expect_inputs(found.inputs):
        watch.warn(line)
    devices = [parse_device(text) for text in config.device.split(",")]
    expect_precision_of(Path(out), devices)
    asked, config = config, as_begun(config, Path(out))
    if asked.trim != config.trim:
        watch.say(f"clips of {out} have rows of all frames of their source, and new ones have, too: so it was begun")
    expect_decoder(config.decoder)
    inputs, columns = with_columns(found.inputs, Path(out))
    bits, searching = begun_bits(Path(out)), begun_searching(Path(out))
    computation = choose_engine(config.engine, config.precision, *devices, bits=bits, searching=searching)
    expect_as_made(config, Path(out), computation)
    weights = encoder = None
    if config.encoded:
        weights = load_weights(config.weights, normalize=config.normalize, models_dir=config.models_dir)
        for tap in config.encoded:
            weights.backbone.shape_of(tap, config.size)  # what there is not is refused before anything is exported
        for line in describe(weights):
            watch.say(line)
    for line in computation.lines(devices):
        watch.say(line)
    if weights:
        encoder = prepare(weights.backbone, config.size, computation, watch.say)
    encoders = [encoder] if encoder else []
    device_workers = [DeviceWorker(device, computation.searching, config, encoders) for device in devices]
    for line in (*too_many(devices, config.workers), *device_workers[0].slow()):
        watch.warn(line)
    if device_workers[0].detector.licence:
        watch.say(f"licence of the detector: {device_workers[0].detector.licence}")
    recipes = recipes_of(config, weights, device_workers[0], encoder)
    expect_calibration(Path(out), recipes, encoders)
    if recipes.frames.by_annotated_apex:
        watch.say(f"rows are of {recipes.frames.sampling}")
    environment = current_environment(
        ("torch", "torchvision", "opencv-python", "opencv-python-headless", "av", "onnxruntime"),
        device=[str(d) for d in devices],
        kernels=device_workers[0].kernels,
        **({"dataset": found.check.record()} if found.check else {}),
    )
    black = black_rows(device_workers[0], config)
    columns = {**columns, **modality.columns}
    if remove_without_clips(Path(out), recipes, columns):
        watch.say(f"{out} held no clip, and is made anew under these settings")
    everything = (*found.inputs, *found.problems)
    order = list(labels) or sorted({source.label for source in everything if source.label is not None})
    with CacheWriter.open(
        out,
        recipes,
        labels=order,
        crops=config.crops,
        columns=columns,
        environment=environment,
        black=black,
        trained_on=[] if weights is None or weights.trained_on is None else [weights.trained_on],
        strict=config.strict,
    ) as writer:
        for change in writer.environment_changes:
            watch.warn(f"the cache was begun in another environment: {change}")
        expect_fillings(writer, recipes.features)
        if writer.manifest.version == 1 and any(source.told for source in found.inputs):
            watch.warn(
                f"{out} has format 1, which has no place for onset, apex and offset: est cache convert {out} NEW upgrades it"
            )
        relabelled, _ = relabel(found.problems, writer, modality)
        problems = [recorded(completed(problem, writer), writer) for problem in found.problems]
        for problem in problems:
            if writer.failure(problem.id) != problem:  # else it is on record
                writer.fail(problem)
        todo = sort_inputs(inputs, writer, retry_failed, modality)
        for source in todo.unchanged:
            if clips_of(source.id, writer):
                writer.forget(
                    source.id
                )  # its file had changed or was gone meanwhile, and is as it was when the clip was made
        changes, misplaced = relabel([*todo.unchanged, *todo.failed], writer, modality)
        relabelled += changes
        workers = config.workers or default_workers(devices)
        known = {clip_id: source.path for source in todo.unchanged for clip_id in clips_of(source.id, writer)}
        begun = time.monotonic()
        with listening(STOPPING) as stop, at_work(device_workers):
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
                watch.warn(
                    f"{bare} new clips have no label, and others of {out} have one: --labels, or a list, tells it"
                )
            pipeline = ClipPipeline(new, writer, device_workers, config, workers, stop)
            pipeline.run(watch)
            if stop.wanted:
                writer.close(folding=False)  # the fold of a large HDF5 cache takes longer than people wait
        running = time.monotonic() - begun
        earlier = [completed(source, writer) for source in todo.failed]
    old = [
        Failure(
            id=i.id,
            path=str(i.path),
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
        crowded=pipeline.crowded,
        disordered=[source.id for source in inputs if source.is_disordered],
        misplaced=[*misplaced, *pipeline.misplaced],
        failures=[*problems, *old, *pipeline.failures],
        interrupted=stop.wanted,
        left=pipeline.left,
        filling=filled.names if filled else (),
        filled=filled.clips if filled else 0,
        unfilled=filled.left if filled else 0,
        seconds=time.monotonic() - start,
        running=running,
        stages=stages_of([pipeline, *([filled] if filled else [])], device_workers),
    )


def stages_of(pipelines: Sequence[Pipeline], device_workers: Sequence[DeviceWorker]) -> dict[str, float]:
    """Add up the seconds that each stage was busy."""
    busy: Counter[str] = Counter()
    for part in (*pipelines, *device_workers):
        busy.update(part.seconds)
    return dict(busy)


def with_columns(inputs: Sequence[Input], out: Path) -> tuple[list[Input], dict[str, ColumnSpec]]:
    """Return inputs whose extra cells have types, and the columns: of the type that the cache has them in, else by what all cells hold."""
    known = open_cache(out).schema.extra if has_clips(out) else {}
    columns = column_specs((source.extra for source in inputs), known)
    return [replace(source, extra=typed_cells(source.extra, columns, source.id)) for source in inputs], columns


def describe(weights: Weights) -> Iterator[str]:
    """Say what was loaded, under which licence, and whether anybody knows what it has learnt from."""
    yield weights.report()
    if weights.licence:
        yield f"licence of the weights: {weights.licence}"
    if weights.trained_on is None and weights.name not in SHOWN_TO_ALL and ":" not in weights.name:
        yield (
            f"{weights.name} has no record of the clips it was trained on: the leak guard cannot see what it has learnt from"
        )


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
            described = source_of(source.path, digest=False)
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
