"""`est extract`: any pile of videos → a cache of face features."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import STATUS_PARTIAL, UsageError
from ..engineoptions import EncoderPrecision, EngineOption, Engines
from ..screen import Screen
from .datasetinput import DatasetName, Frames, LabelNames, ListDatasets, Root, expect_inputs, find_named
from .datasettable import datasets_data, datasets_text
from .dryrun import show_plan
from .extractreport import show_report
from .flowoptions import FlowPlaces, Pictures, PicturesOption, flow_settings
from .personoptions import AcrossCuts, Cuts, MinFaceSize, MinTrack
from .recaching import From, Views, recache_clips, refuse_views

if TYPE_CHECKING:
    from ...inputs.input import FoundInputs

Inputs = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="INPUT", help="Video files, folders of videos or of frame folders, lists, or quoted patterns of them."
    ),
]
OutCache = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The cache to write or to go on with; .zarr or .h5 chooses the store."),
]
Labels = Annotated[
    str,
    typer.Option(
        "--labels",
        help="none; folders: a clip's label is the name of its folder; or a regular expression searched in a clip's path, whose group is "
        r"the label: '(?P<subject>S\d+)_(?P<label>\w+)' gives both (also split, fold). Lists bring their own.",
    ),
]
Subjects = Annotated[
    str,
    typer.Option(
        "--subjects",
        help="Who is shown: none; folders: SUBJECT/LABEL/clip.mp4 with --labels folders, else SUBJECT/clip.mp4; or a regular expression, "
        r"as of --labels: '(s\d+)_', or with names '(?P<subject>s\d+)_(?P<label>\w+)'.",
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", help="Only the first N inputs.")]
Shard = Annotated[
    str | None, typer.Option("--shard", metavar="I/N", help="Only every N-th input, from the I-th: one machine's part.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Show what would be read, what it would take by a trial of two seconds, and what is in its way; write nothing.",
    ),
]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Try inputs again that failed in an earlier run.")]
Compare = Annotated[
    int | None,
    typer.Option(
        "--compare-detectors", metavar="N", help="Run the detectors at hand on N inputs, show them, and stop."
    ),
]
Detector = Annotated[
    str | None,
    typer.Option(
        "--detector",
        help="retinaface, insightface:PACK (non-commercial weights), or none: frames are crops. "
        "[default: retinaface; none for the face crops of a --dataset]",
    ),
]
DetectSize = Annotated[
    int, typer.Option("--detect-size", help="Longer side of the picture that the detector sees; 0 is full size.")
]
DetectEvery = Annotated[int, typer.Option("--detect-every", help="Detect in every K-th frame, interpolate between.")]
Threshold = Annotated[float, typer.Option("--score-threshold", help="Score from which a detection counts.")]
Face = Annotated[
    str, typer.Option("--face", help="main: longest and largest track; largest; all: a clip for each face.")
]
Smooth = Annotated[float, typer.Option("--smooth", help="Smoothing of boxes over time, in frames; 0 is off.")]
Align = Annotated[
    str, typer.Option("--align", help="box: a square with a margin; 5point: eyes, nose and mouth on a template.")
]
Margin = Annotated[
    float | None,
    typer.Option(
        "--margin", help="Margin around the face, as a part of its longer side. [default: 0.2 with box, else 0]"
    ),
]
Size = Annotated[int, typer.Option("--size", help="Side of the crop in pixels.")]
Crops = Annotated[
    bool, typer.Option("--crops", help="Keep the crops as JPEG; features are computed from exactly these.")
]
Quality = Annotated[int, typer.Option("--crop-quality", help="JPEG quality of the crops.")]
WeightsName = Annotated[
    str,
    typer.Option(
        "--weights",
        help="imagenet, synface (for rendered faces only), random, a checkpoint FILE, or a RUN that tuned its backbone.",
    ),
]
Normalize = Annotated[
    str | None,
    typer.Option("--normalize", help="Pixels of a FILE: none, imagenet or MEAN,STD. FER+ weights take none."),
]
Features = Annotated[
    str,
    typer.Option(
        "--features",
        help="gap, layer1 to layer4, pyramid4x4; cls of vision transformers; flow of --modality flow; commas between. "
        "A cache that lacks one is given it.",
    ),
]
Flip = Annotated[bool, typer.Option("--flip", help="Also cache the features of mirrored crops.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float16 or float32.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, or several: cuda:0,cuda:1.")]
ModelsDir = Annotated[Path | None, typer.Option("--models-dir", help="Where downloaded weights lie.")]
Workers = Annotated[int | None, typer.Option("--workers", help="Decoding processes; one a core when left out.")]
Decoder = Annotated[
    str, typer.Option("--decoder", help="auto: opencv, and pyav for a file that OpenCV cannot decode; opencv; pyav.")
]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds in which a decoder must get somewhere.")]
Incomplete = Annotated[str, typer.Option("--incomplete", help="Fewer frames than the file declares: keep or fail.")]
NoFace = Annotated[str, typer.Option("--no-face", help="A clip without any face: keep, skip or fail.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse to go on in another environment than the cache was begun in.")
]


def extract(
    screen: Screen,
    context: typer.Context,
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
    dtype: Dtype = "float16",
    precision: EncoderPrecision = "auto",
    engine: EngineOption = Engines.auto,
    device: Device = "auto",
    models_dir: ModelsDir = None,
    workers: Workers = None,
    decoder: Decoder = "auto",
    timeout: Timeout = 120.0,
    incomplete: Incomplete = "keep",
    no_face: NoFace = "keep",
    strict: Strict = False,
) -> int:
    """Find the face in every frame of videos and cache its features, once; the same command goes on where it stopped."""
    # Decoders and torch share the cores: threads that spin while they wait would take them from each other. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if list_datasets:
        from ...inputs.published import DATASETS

        screen.result(datasets_data(DATASETS), datasets_text(DATASETS))
        return 0
    from ...extract.config import ExtractConfig
    from ...inputs.input import find_inputs, parse_shard

    config = ExtractConfig(
        **flow_settings(modality, flow_frames),
        detector=detector or "retinaface",
        detect_size=detect_size,
        detect_every=detect_every,
        score_threshold=score_threshold,
        face=face,  # ty: ignore[invalid-argument-type]
        across_cuts=across_cuts.value,
        min_track=min_track,
        min_face_size=min_face_size,
        smooth=smooth,
        align=align,  # ty: ignore[invalid-argument-type]
        margin=margin,
        size=size,
        crops=crops,
        crop_quality=crop_quality,
        weights=weights,
        normalize=normalize,
        features=tuple(part.strip() for part in features.split(",")),
        flip=flip,
        dtype=dtype,  # ty: ignore[invalid-argument-type]
        precision=precision,
        engine=engine.value,
        device=device,
        models_dir=models_dir,
        workers=workers,
        decoder=decoder,  # ty: ignore[invalid-argument-type]
        timeout=timeout,
        incomplete=incomplete,  # ty: ignore[invalid-argument-type]
        no_face=no_face,  # ty: ignore[invalid-argument-type]
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
            screen.note(f"{dataset}: the frames are face crops, and so --detector none, unless another is given")
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
        raise UsageError("Where to? --out names the cache.", remedy="--out cache.zarr")
    for finding in found.check.findings if found.check else ():
        (screen.note if finding.is_expected else screen.warn)(finding.line())
    return run(screen, found, out, config, retry_failed=retry_failed)


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
