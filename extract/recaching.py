"""`recache`: a new cache of the same clips, whose rows are made with other weights from the existing crops.

Nothing is detected or cut again. The new cache is a copy without features; its arrays are filled one pass after the other, as those that
are added to any cache: after a kill it resumes from its last commit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..cache import (
    Cache,
    CacheWriter,
    FeatureRecipe,
    FramesRecipe,
    Recipes,
    convert_cache,
    current_environment,
    open_cache,
)
from ..cache.interrupt import Stop, listening
from ..cache.recipe import IMPORTED
from ..cache.stores.disk import expect_free_space
from ..cache.stores.snapshot import is_hdf5, staging_path
from ..cache.watch import Progress, Watch
from ..crops.views import ViewConfig
from ..encoders.device import parse_device
from ..encoders.encoder import joined_kernels
from ..encoders.engines.choice import Computation
from ..encoders.engines.preparation import PreparedEncoder, prepare
from ..encoders.weights import load_weights
from ..errors import RecipeMismatch, UsageError, counted, some
from .arrayplan import ArrayPlan, Pass, passes_of
from .begun import as_begun, computation_for, earlier_in, expect_calibration, expect_computation, named_as_begun
from .config import ExtractConfig
from .extraction import at_work, black_rows, stages_of
from .filling import (
    FillPipeline,
    NewArrays,
    clips_of_cache,
    expect_crops,
    expect_fillings,
    fill_features,
    first_lacking,
    made_as,
)
from .planning.output import expect_out
from .report import Report
from .threads import default_workers, too_many
from .workers.clip_worker import STOPPING
from .workers.device_worker import DeviceWorker
from .workers.freed_memory import returning_freed_memory

MAX_VIEWS = 16
ENCODED_PER_READER = 4  # cores: reading and decoding a stored crop takes a small part of the time of encoding it
SAME = (
    "count",
    "source_bytes",
    "source_mtime_ns",
    "source_digest",
)  # of a clip, so that its crops are those that they were
KEEP_CROPS = "est extract … --crops into a new cache"


@returning_freed_memory
def recache(
    source: Cache | Path | str,
    out: Path | str,
    arrays: Sequence[ArrayPlan] | None = None,
    config: ExtractConfig | None = None,
    *,
    views: int = 0,
    view_config: ViewConfig | None = None,
    crops: bool = False,
    watch: Watch | None = None,
) -> Report:
    """Make a cache of the same clips with features of other weights, of the crops that are there; the same call resumes.

    `arrays` are the features to be made, by default those that `config` names, by its weights. Of `config` count also how encoders run
    and what is kept of their rows: flip, dtype, precision, engine, device, workers, timeout and strict. Every array comes with `views`
    of its clips; `crops` copies the crops, too.

    >>> how = est.ExtractConfig(weights="random", features=("gap",))
    >>> report = est.recache("cache.zarr", "random.zarr", config=how)
    >>> report.filled, est.open_cache("random.zarr").features
    (4, ['gap'])
    """
    start, watch = time.monotonic(), watch or Watch()
    cache = source if isinstance(source, Cache) else open_cache(source)
    out, frames, view_config, asked = (
        Path(out),
        cache.recipes.frames,
        view_config or ViewConfig(),
        config or ExtractConfig(),
    )
    config = as_begun(settings_for(cache, asked), out)
    devices, computation = expect_recachable(cache, out, config, views=views, view_config=view_config, crops=crops)
    arrays = arrays_of(asked) if arrays is None else arrays
    expect_arrays(cache, arrays)
    all_weights = {id(weights): weights for plan in arrays for weights in plan.encoders}
    encoders = {
        name: prepare(weights.backbone, config.size, computation, watch.say) for name, weights in all_weights.items()
    }
    passes = [
        replace(each, recipes=named_as_begun(out, each.recipes))
        for each in passes_of(arrays, frames, config, encoders, views=views, view_config=view_config)
    ]
    recipes = Recipes(frames=frames, features={name: made for each in passes for name, made in each.recipes.items()})
    expect_calibration(out, recipes, list(encoders.values()))
    kernels = joined_kernels(encoder.kernels(devices[0]) for encoder in encoders.values())
    begin(cache, out, recipes, crops=crops, kernels=kernels, watch=Whole(watch))
    environment = current_environment(
        ("torch", "torchvision", "opencv-python", "opencv-python-headless", "onnxruntime"),
        device=[str(d) for d in devices],
        kernels=kernels,
    )
    records = [plan.weights.trained_on for plan in arrays if plan.weights.trained_on is not None]
    with CacheWriter.open(
        out,
        recipes,
        targets=cache.targets,
        crops=crops,
        environment=environment,
        trained_on=records,
        strict=config.strict,
    ) as writer:
        for change in writer.environment_changes:
            watch.warn(f"the cache was started in another environment: {change}")
        expect_fillings(out, writer.manifest, recipes.features)
        expect_room(writer)
        todo = [part for each in passes if (part := each.lacking(writer.missing_features)) is not None]
        if todo:
            for line in computation.lines(devices):
                watch.say(line)
            for line in too_many(devices, config.workers):
                watch.warn(line)
            watch.say(f"crops {'stored in' if cache.has_crops else 'cut again from the sources of'} {cache.path}")
        recaching = Recaching(cache, writer, todo, config, devices, computation.searching, encoders, view_config, watch)
        with listening(STOPPING) as stop:
            recaching.fill(stop)
            if stop.wanted:
                writer.close(folding=False)  # the fold of a large HDF5 cache takes longer than people wait
    return Report(
        clips=max((filled.clips for filled in recaching.done), default=0),
        frames=sum(filled.frames for filled in recaching.done),
        unchanged=0 if todo else len(cache),
        relabelled=[],
        removed=0,
        no_face=[],
        incomplete=[],
        failures=[],
        interrupted=stop.wanted,
        signal=stop.signal,
        left=0,
        filling=tuple(name for part in todo for name in part.recipes),
        filled=sum(filled.clips for filled in recaching.done),
        unfilled=recaching.total - sum(filled.clips for filled in recaching.done),
        source=str(cache.path),
        seconds=time.monotonic() - start,
        running=recaching.seconds,
        stages=stages_of(recaching.done, recaching.device_workers),
    )


def arrays_of(config: ExtractConfig) -> list[ArrayPlan]:
    """Return the features that a configuration names, by its weights."""
    weights = load_weights(config.weights, normalize=config.normalize, models_dir=config.models_dir)
    return [ArrayPlan(name=tap, tap=tap, weights=weights) for tap in config.features]


class Recaching:
    """The passes of one call, one after the other, each with its encoders on the devices."""

    def __init__(
        self,
        cache: Cache,
        writer: CacheWriter,
        todo: Sequence[Pass],
        config: ExtractConfig,
        devices: Sequence[torch.device],
        precision: str,
        encoders: Mapping[int, PreparedEncoder],
        view_config: ViewConfig,
        watch: Watch,
    ) -> None:
        self._cache, self._writer, self._todo = cache, writer, todo
        self._config, self._devices, self._precision, self._encoders = config, devices, precision, encoders
        self._view_config, self._watch = view_config, watch
        copy = open_cache(writer.path)
        self.total = sum(len(clips_of_cache(copy, first=first_lacking(writer, list(part.recipes)))) for part in todo)
        self.done: list[FillPipeline] = []
        self.device_workers: list[DeviceWorker] = []
        self.seconds = 0.0

    def fill(self, stop: Stop) -> None:
        """Make all arrays, or as many as there is time for."""
        begun, whole = time.monotonic(), Whole(self._watch, self.total)
        for part in self._todo:
            if stop.wanted:
                break
            for line in part.describe():
                self._watch.say(line)
            config = replace(self._config, features=part.taps)
            encoders = [self._encoders[id(weights)] for weights in part.plan.encoders]
            device_workers = [DeviceWorker(device, self._precision, config, encoders) for device in self._devices]
            self.device_workers += device_workers
            with at_work(device_workers):
                filled = fill_features(
                    self._writer,
                    self._new_arrays(part, black_rows(device_workers[0], config)),
                    device_workers,
                    config,
                    workers=config.workers or self._workers(),
                    stop=stop,
                    watch=whole,
                )
            self.done.append(filled)
            whole.before += filled.clips
        self.seconds = time.monotonic() - begun

    def _workers(self) -> int:
        """Choose a number of processes that bring crops: on a processor, stored ones come much faster than they are encoded."""
        found = default_workers(self._devices)
        if self._cache.has_crops and self._devices[0].type == "cpu":
            return -(-found // ENCODED_PER_READER)
        return found

    def _new_arrays(self, part: Pass, black: Mapping[str, tuple[float, ...]]) -> NewArrays:
        """Return what the rows of a pass are made of; `black` are rows as device workers name them."""
        made = {name: made_as(recipe) for name, recipe in part.recipes.items()}
        return NewArrays(
            recipes=part.recipes,
            black={name: black[of_lane] for name, of_lane in made.items() if of_lane in black},
            crops=self._cache.path,
            encoder_of=part.plan.encoder_of,
            view_config=self._view_config,
        )


class Whole(Watch):
    """Tells how far a re-caching is: the copy of the clips, then all passes together."""

    def __init__(self, watch: Watch, total: int = 0) -> None:
        self._watch, self._total = watch, total
        self.say, self.warn = watch.say, watch.warn
        self.before = 0  # clips of the passes before

    def progress(self, progress: Progress) -> None:
        self._watch.progress(
            replace(
                progress,
                what="Re-caching",
                unit="clips",
                stage=progress.stage or "copying the clips",
                done=self.before + progress.done,
                total=self._total or progress.total,
            )
        )


def settings_for(cache: Cache, config: ExtractConfig) -> ExtractConfig:
    """Return settings for crops that are there: of their size, and with nothing to detect."""
    return replace(config, size=cache.recipes.frames.size, detector="none", align="box", margin=None)


def expect_recachable(
    cache: Cache,
    out: Path | None,
    config: ExtractConfig,
    *,
    views: int,
    crops: bool,
    view_config: ViewConfig | None = None,
    option: str = "--precision",
) -> tuple[list[torch.device], Computation]:
    """Refuse what cannot be made of a cache here, before weights are loaded; return the devices and what is computed on them.

    `option` is what the caller calls the precision of rows.
    """
    if cache.recipes.frames.decoder == IMPORTED:
        raise UsageError(
            f"{cache.path} holds imported features, and no crops from which other features could be made.",
            remedy="est extract makes a cache of the videos",
        )
    if out is not None:
        expect_out(out)
    devices = [parse_device(text) for text in config.device.split(",")]
    computation = computation_for(config, earlier_in(out), devices, detects=False, option=option)
    expect_views(views, view_config or ViewConfig())
    expect_faces(views, cache.recipes.frames)
    expect_source(cache, out, crops=crops)
    if out is not None:
        expect_computation(config, out, computation, option=option)
    return devices, computation


def expect_views(views: int, view_config: ViewConfig) -> None:
    """Refuse impossible numbers of views, and views without any change."""
    if not 0 <= views <= MAX_VIEWS:
        raise UsageError(f"--views goes from 0 to {MAX_VIEWS}, found {views}.", remedy="--views 4")
    if views and not view_config.describe():
        raise UsageError("Views without any change would only repeat the clips.", remedy="leave out the views")


def expect_faces(views: int, frames: FramesRecipe) -> None:
    """Refuse views of pictures that show no face."""
    if views and frames.flow:
        raise UsageError(
            "Views move, brighten and mirror images of faces, which makes no sense for the colours of flow.",
            remedy="leave out the views; --flip mirrors flow before it is coloured",
        )


def expect_source(cache: Cache, out: Path | None, *, crops: bool) -> None:
    """Refuse a cache that has not the crops, nor the sources to cut them again."""
    if out is not None and out.absolute().resolve() == cache.path.absolute().resolve():
        raise UsageError(
            f"{out} is the cache whose crops are read; the new cache needs another name.", remedy="another --out"
        )
    if crops and not cache.has_crops:
        raise UsageError(f"{cache.path} has no crops to be copied.", remedy=f"leave out --crops; or {KEEP_CROPS}")
    if not cache.has_crops and not any(cache.clips.path):
        raise UsageError(
            f"{cache.path} has no crops and no record of the sources of its clips: there are no images to encode.",
            remedy=KEEP_CROPS,
        )


def expect_arrays(cache: Cache, arrays: Sequence[ArrayPlan]) -> None:
    """Refuse no arrays, and those whose encoders have learnt from clips that they should not have."""
    if not arrays:
        raise UsageError("There is no array to make.", remedy="--features gap")
    for plan in arrays:
        plan.expect_apart(cache)


def begin(cache: Cache, out: Path, recipes: Recipes, *, crops: bool, kernels: str, watch: Watch) -> None:
    """Make the copy without features, which records the `kernels` of its own rows; one that is there must be of the same clips."""
    is_there = out.exists() or (is_hdf5(out) and staging_path(out).exists())
    if not is_there:
        expect_crops(cache, out, list(recipes.features), clips_of_cache(cache))
        convert_cache(cache.path, out, features=[], crops=crops, note={"kernels": kernels}, watch=watch)
        return
    copy = open_cache(out)
    if copy.recipes.frames == recipes.frames:  # others are refused by the field
        expect_same_clips(cache, copy)


def expect_same_clips(cache: Cache, copy: Cache) -> None:
    """Refuse to resume with what is no copy of this cache, or of an earlier state of it."""
    here, there = _facts(cache), _facts(copy)
    changed = [clip for clip in dict.fromkeys((*here, *there)) if here.get(clip) != there.get(clip)]
    if changed:
        are = "is not that" if len(changed) == 1 else "are not those"
        raise RecipeMismatch(
            f"{counted(len(changed), 'clip')} of {copy.path} {are} of {cache.path}: {some(changed, 5)}.",
            remedy="another --out, which starts again",
        )


def _facts(cache: Cache) -> dict[str, list[object]]:
    columns = [np.asarray(cache.clips.columns[name]).tolist() for name in SAME]
    return {clip: list(facts) for clip, *facts in zip(cache.ids, *columns, strict=True)}


def expect_room(writer: CacheWriter) -> None:
    """Refuse to begin what the disk has no room for."""
    begun, num_frames = writer.manifest.filling, writer.manifest.commit.counts.frames
    needed = 0
    for name, recipe in writer.missing_features.items():
        rows = num_frames - (begun[name].frames if name in begun else 0)
        needed += rows * _row_bytes(recipe)
    if is_hdf5(writer.path):  # which is written again when they are whole
        needed += num_frames * sum(map(_row_bytes, writer.missing_features.values()))
    expect_free_space(writer.path.absolute().parent, needed, f"Filling {writer.path.name}")


def _row_bytes(recipe: FeatureRecipe) -> int:
    return int(np.prod(recipe.shape)) * np.dtype(recipe.dtype).itemsize
