"""`est extract`: any pile of videos → a cache of face features."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ...errors import STATUS_PARTIAL, UsageError
from ..engineoptions import EncoderPrecision, EngineOption, Engines
from ..options import examples, with_options_of
from ..screen import Screen
from .datasetinput import DatasetName, Frames, LabelNames, ListDatasets, Root, expect_inputs, find_named
from .datasettable import datasets_data, datasets_text
from .dryrun import show_plan
from .extractoptions import (
    Align,
    Compare,
    Crops,
    Decoder,
    DetectEvery,
    Detector,
    DetectSize,
    Device,
    DryRun,
    DtypeOption,
    Face,
    Features,
    Flip,
    Incomplete,
    Inputs,
    Labels,
    Limit,
    Margin,
    ModelsDir,
    NoFace,
    Normalize,
    OutCache,
    Quality,
    Retry,
    Shard,
    Size,
    Smooth,
    Strict,
    Subjects,
    Threshold,
    Timeout,
    WeightsName,
    Workers,
)
from .extractreport import show_report
from .flowoptions import FlowPlaces, Pictures, PicturesOption, flow_settings
from .personoptions import AcrossCuts, Cuts, MinFaceSize, MinTrack
from .recaching import From, Views, recache_clips, refuse_views

if TYPE_CHECKING:
    from ...inputs.input import FoundInputs


Extracting = Callable[..., int]  # (screen, inputs, cache, config, retry_failed=…) → exit status


def asked(
    screen: Screen,
    context: typer.Context,
    then: Extracting,
    *,
    inputs: Inputs = None,
    out: OutCache = None,
    source: From = None,
    views: Views = 0,
    dataset: DatasetName = None,
    root: Root = None,
    frames: Frames = None,
    label_names: LabelNames = None,
    list_datasets: ListDatasets = False,
    modality: PicturesOption = Pictures.face,
    flow_frames: FlowPlaces = None,
    labels: Labels = "none",
    subjects: Subjects = "none",
    limit: Limit = None,
    shard: Shard = None,
    dry_run: DryRun = False,
    compare_detectors: Compare = None,
    retry_failed: Retry = False,
    detector: Detector = None,
    detect_size: DetectSize = 640,
    detect_every: DetectEvery = 3,
    score_threshold: Threshold = 0.8,
    face: Face = "main",
    across_cuts: AcrossCuts = Cuts.keep,
    min_track: MinTrack = 10,
    min_face_size: MinFaceSize = 0,
    smooth: Smooth = 2.0,
    align: Align = "box",
    margin: Margin = None,
    size: Size = 224,
    crops: Crops = False,
    crop_quality: Quality = 95,
    weights: WeightsName = "imagenet",
    normalize: Normalize = None,
    features: Features = "gap",
    flip: Flip = False,
    dtype: DtypeOption = "float16",
    precision: EncoderPrecision = "auto",
    encoder_engine: EngineOption = Engines.auto,
    device: Device = "auto",
    models_dir: ModelsDir = None,
    workers: Workers = None,
    decoder: Decoder = "auto",
    timeout: Timeout = 120.0,
    incomplete: Incomplete = "keep",
    no_face: NoFace = "keep",
    strict: Strict = False,
) -> int:
    """Turn options into inputs and settings, refuse what does not go together, and `then` extract."""
    # Decoders and torch share the cores: threads that spin while they wait would take them from each other. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if list_datasets:
        from ...inputs.published import DATASETS

        screen.result(datasets_data(DATASETS), datasets_text(DATASETS))
        return 0
    from ...extract.config import ExtractConfig
    from ...inputs.given import parse_shard
    from ...inputs.input import find_inputs

    config = ExtractConfig(
        **flow_settings(modality, flow_frames),
        detector=detector or "retinaface",
        detect_size=detect_size,
        detect_every=detect_every,
        score_threshold=score_threshold,
        face=face,
        across_cuts=across_cuts.value,
        min_track=min_track,
        min_face_size=min_face_size,
        smooth=smooth,
        align=align,
        margin=margin,
        size=size,
        crops=crops,
        crop_quality=crop_quality,
        weights=weights,
        normalize=normalize,
        features=tuple(part.strip() for part in features.split(",")),
        flip=flip,
        dtype=dtype,
        precision=precision,
        engine=encoder_engine.value,
        device=device,
        models_dir=models_dir,
        workers=workers,
        decoder=decoder,
        timeout=timeout,
        incomplete=incomplete,
        no_face=no_face,
        strict=strict,
    )
    if source is not None:
        return recache_clips(screen, context, source, out, config, views=views, dry_run=dry_run)
    refuse_views(views)
    part = {"limit": limit, "shard": parse_shard(shard) if shard else None}
    if dataset is not None:
        found = find_named(
            dataset,
            root,
            inputs or [],
            frames=frames,
            label_names=label_names,
            labels=labels,
            subjects=subjects,
            part=part,
        )
        if found.are_crops and detector is None:
            screen.note(f"{dataset}: the frames are face crops, so --detector none is used unless another is given")
            config = replace(config, detector="none")
    else:
        of_datasets = {"--root": root, "--frames/--videos": frames, "--label-names": label_names}
        found = find_inputs(
            expect_inputs(inputs, of_datasets), labels=labels, subjects=subjects, complete=not dry_run, **part
        )
    for path, unused in found.unused_columns.items():
        screen.note(f"{path}: columns that are not used: {', '.join(unused)}")
    for warning in found.warnings:
        screen.warn(warning)
    if compare_detectors is not None:
        if dry_run:
            raise UsageError(
                "--dry-run tries what one extraction would do, and --compare-detectors compares several.",
                remedy="leave out one of them",
            )
        return compare(screen, found, compare_detectors, config)
    if dry_run:
        return show_plan(screen, found, out, config, retry_failed=retry_failed)
    if out is None:
        raise UsageError("No output is given: --out names the cache.", remedy="--out cache.zarr")
    for finding in found.check.findings if found.check else ():
        (screen.note if finding.is_expected else screen.warn)(finding.line())
    return then(screen, found, out, config, retry_failed=retry_failed)


@examples(
    "est extract videos/ --out cache.zarr --labels folders --subjects folders --weights imagenet",
    "est extract --dataset dfew --root DFEW --out dfew.zarr",
    "est extract 'clips/*.mp4' --out cache.zarr --crops --dry-run",
)
@with_options_of(asked)
def extract(screen: Screen, context: typer.Context, **options: Any) -> int:
    """Find faces in videos and cache the features of every frame. The same command resumes."""
    return asked(screen, context, run, **options)


def compare(screen: Screen, found: FoundInputs, count: int, config: Any) -> int:
    """Show what detectors find on a few inputs."""
    from ...extract.compare import compare_detectors
    from ..detectortable import comparison_data, comparison_text

    with screen.watching() as watch:
        comparison = compare_detectors(found, count, config, watch=watch)
    screen.result(comparison_data(comparison), comparison_text(comparison))
    return STATUS_PARTIAL if comparison.failures else 0


def run(screen: Screen, found: FoundInputs, out: Path, config: Any, *, retry_failed: bool) -> int:
    """Extract, and show how it ended."""
    from ...extract.extraction import extract_videos

    with screen.resumable(), screen.watching() as watch:
        report = extract_videos(found, out, config, retry_failed=retry_failed, watch=watch)
    return show_report(screen, report, out)
