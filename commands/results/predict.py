"""`est predict`: videos → apparent expressions over time, by the models of a run."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import STATUS_PARTIAL, UsageError, quoted
from ..choices import GivenPrecision
from ..engineoptions import Engines
from ..options import Overwrite, examples
from ..panels import FACES, INPUT, MACHINE, MODEL, OUTPUT, TIMELINE
from ..screen import Screen

if TYPE_CHECKING:
    from ...infer.prediction.config import PredictConfig
    from ...infer.prediction.predicting import Predictions

SHOWN = 10  # faces on a terminal
FOLDER = Path("predictions")
LOCK = ".lock"  # the longest ending beside the folder


class Faces(StrEnum):
    """Which faces are predicted."""

    all = "all"
    main = "main"
    largest = "largest"


Inputs = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="VIDEO", help="Videos, folders of them or of frame folders, or CSV lists.", rich_help_panel=INPUT
    ),
]
RunPath = Annotated[Path, typer.Option("--run", "-r", help="The folder that est train made.", rich_help_panel=INPUT)]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        "--output",
        help="The folder to write. [default: predictions/VIDEO]\n\nAn unfinished one is resumed.",
        rich_help_panel=OUTPUT,
    ),
]
Face = Annotated[
    Faces,
    typer.Option(
        "--face",
        help="All faces with a long enough track, the main face, or the largest.\n\nmain: the longest and largest track.",
        rich_help_panel=FACES,
    ),
]
Part = Annotated[
    str | None,
    typer.Option(
        "--part", metavar="NAME", help="One model of the run. [default: the mean of all]", rich_help_panel=MODEL
    ),
]
Window = Annotated[
    float | None,
    typer.Option(
        "--window",
        metavar="SECONDS",
        help="Window of long videos. [default: the median training clip]",
        rich_help_panel=TIMELINE,
    ),
]
Stride = Annotated[
    float | None,
    typer.Option(
        "--stride",
        metavar="SECONDS",
        help="Step between windows. [default: a quarter of the window]",
        rich_help_panel=TIMELINE,
    ),
]
Smooth = Annotated[
    float | None,
    typer.Option(
        "--smooth",
        metavar="SECONDS",
        help="Smoothing of the timeline; 0: off. [default: half the stride]",
        rich_help_panel=TIMELINE,
    ),
]
Video = Annotated[
    bool | None,
    typer.Option(
        "--video/--no-video", help="Write the annotated MP4. [default: for one VIDEO]", rich_help_panel=OUTPUT
    ),
]
Picture = Annotated[
    bool | None,
    typer.Option(
        "--picture/--no-picture", help="Draw the timeline as PNG. [default: for one VIDEO]", rich_help_panel=OUTPUT
    ),
]
Parquet = Annotated[
    bool,
    typer.Option("--parquet", help="Write the tables as Parquet too (needs pyarrow).", rich_help_panel=OUTPUT.rare),
]
WeightsFile = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        help="The encoder's weights, if they are not found.\n\nThose of the run's features; may be repeated.",
        metavar="FILE",
        rich_help_panel=MODEL,
    ),
]
Detector = Annotated[
    str | None,
    typer.Option(
        "--detector",
        help="For runs on face crops, whose detector is none.\n\nIt replaces the run's.",
        metavar="NAME",
        rich_help_panel=FACES,
    ),
]
Precision = Annotated[
    GivenPrecision | None,
    typer.Option(
        "--precision", help="fp32, bf16, fp16 or int8. [default: the run's]", metavar="NAME", rich_help_panel=MACHINE
    ),
]
Engine = Annotated[
    Engines | None,
    typer.Option(
        "--engine",
        help="What computes the encoder of cached features. [default: the run's]",
        rich_help_panel=MACHINE.rare,
    ),
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, or several: cuda:0,cuda:1.", rich_help_panel=MACHINE)
]
ModelsDir = Annotated[
    Path | None, typer.Option("--models-dir", help="The folder of downloaded weights.", rich_help_panel=MACHINE.rare)
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "--num-workers", help="Decoding processes. [default: one per core]", rich_help_panel=MACHINE
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        help="Fail a file whose decoder makes no progress for this long.",
        metavar="SECONDS",
        rich_help_panel=MACHINE.rare,
    ),
]
Camera = Annotated[
    int | None,
    typer.Option(
        "--camera",
        metavar="N",
        help="Watch camera N in a window; stores nothing without --save.",
        rich_help_panel=INPUT,
    ),
]
Save = Annotated[
    bool,
    typer.Option(
        "--save",
        help="Of --camera: write video and timeline to --out.\n\nThe video is annotated.",
        rich_help_panel=OUTPUT,
    ),
]


@examples(
    "est predict talk.mp4 --run runs/mine",
    "est predict videos/ list.csv --run runs/mine --out found --video",
    "est predict --camera 0 --run runs/mine",
)
def predict(
    screen: Screen,
    *,
    videos: Inputs = None,
    run: RunPath,
    out: OutFolder = None,
    face: Face = Faces.all,
    part: Part = None,
    window: Window = None,
    stride: Stride = None,
    smooth: Smooth = None,
    video: Video = None,
    picture: Picture = None,
    parquet: Parquet = False,
    weights: WeightsFile = None,
    detector: Detector = None,
    precision: Precision = None,
    engine: Engine = None,
    device: Device = "auto",
    models_dir: ModelsDir = None,
    workers: Workers = None,
    timeout: Timeout = 120.0,
    camera: Camera = None,
    save: Save = False,
    overwrite: Overwrite = False,
) -> int:
    """Predict apparent expressions in videos by a run. Writes tables, a timeline and an annotated video. The same command resumes."""
    # Decoders and torch share the cores: threads that spin while they wait would take them from each other. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if (camera is None) == (not videos):
        both = "found both" if videos else "found neither"
        raise UsageError(f"Expected VIDEOs or --camera N, {both}.", remedy="est predict VIDEO --run RUN")
    from ...infer.prediction.config import PredictConfig
    from ...infer.prediction.first_note import TEXT, told_before

    if not screen.quiet and not told_before():
        screen.aside(TEXT)
    config = PredictConfig(
        face=face.value,
        part=part,
        window=window,
        stride=stride,
        smooth=smooth,
        weights=tuple(weights or ()),
        detector=detector,
        precision=precision,
        engine=None if engine is None else engine.value,
        device=device,
        models_dir=models_dir,
        workers=workers,
        timeout=timeout,
        video=video,
        picture=picture,
        parquet=parquet,
    )
    if videos:
        if save:
            raise UsageError(
                "--save is for --camera; predictions of files are written anyway.", remedy="leave --save out"
            )
        return predict_files(screen, videos, run, out or default_out(videos), config, overwrite=overwrite)
    assert camera is not None
    return predict_camera(screen, camera, run, out, config, save=save, overwrite=overwrite)


def predict_files(
    screen: Screen, videos: list[Path], run: Path, out: Path, config: PredictConfig, *, overwrite: bool
) -> int:
    """Predict files, and show what was found."""
    from ...infer.prediction.predicting import predict as predict_videos

    with screen.watching() as watch:
        predictions = predict_videos(videos, run, out=out, config=config, overwrite=overwrite, watch=watch)
    screen.result(data(predictions), "\n".join(lines(predictions)))
    return STATUS_PARTIAL if predictions.failures else 0


def predict_camera(
    screen: Screen, camera: int, run: Path, out: Path | None, config: PredictConfig, *, save: bool, overwrite: bool
) -> int:
    """Predict what a camera sees."""
    from ...infer.prediction.camera import watch_camera

    if out is not None and not save:
        raise UsageError("--camera stores nothing without --save, found --out.", remedy=f"--save --out {quoted(out)}")
    place = (out or FOLDER / f"camera{camera}") if save else None
    with screen.watching() as watch:
        seen = watch_camera(camera, run, out=place, config=config, overwrite=overwrite, watch=watch)
    told = f"{seen.pictures} pictures, {seen.faces} faces in {seen.seconds:.1f} s"
    shown = {"pictures": seen.pictures, "faces": seen.faces, "seconds": round(seen.seconds, 2)}
    kept = "nothing was stored" if seen.out is None else f"predictions: {seen.out}"
    screen.result({**shown, "out": None if seen.out is None else str(seen.out)}, f"{told}\n{kept}")
    return 0


def default_out(videos: list[Path]) -> Path:
    """Return where predictions go: a folder named after the first VIDEO."""
    more = f"-and-{len(videos) - 1}-more" if len(videos) > 1 else ""
    from ...infer.prediction.output import short_name

    return FOLDER / (short_name(videos[0].stem or videos[0].resolve().name, len(more + LOCK)) + more)


def data(found: Predictions) -> dict[str, Any]:
    """Return the JSON data."""
    return {
        "out": str(found.out),
        "videos": list(found.videos),
        "windows": len(found),
        "predicted_before": found.before,
        "frames": found.frames,
        "seconds": round(found.seconds, 2),
        "no_face": found.faceless,
        "notes": list(found.lines),
        "failures": [{"id": f.id, "path": f.path, "stage": f.stage, "error": f.error} for f in found.failures],
    }


def lines(found: Predictions) -> list[str]:
    """Format predictions as text."""
    from ...infer.prediction.predicting import NOTE
    from ..screen import columns

    rows = [("video", "face", "seen", "apparent expression", "mean", "also")]
    for video in found.videos:
        for track in video["tracks"]:
            shares = sorted(track["share_of_time"].items(), key=lambda one: -one[1])
            best = track["apparent_expression"]
            also = ", ".join(f"{name} {share:.0%} of the time" for name, share in shares[:3] if share and name != best)
            seen = f"{track['start']:.1f} to {track['end']:.1f} s"
            rows.append(
                (video["id"], str(track["track"]), seen, best, f"{track['probabilities'][best]:.0%}", also or "–")
            )
    told = columns(rows[: SHOWN + 1]) if len(rows) > 1 else []
    if len(rows) > SHOWN + 1:
        told.append(f"… and {len(rows) - SHOWN - 1} more faces in predictions.csv")
    if found.faceless:
        named = ", ".join(found.faceless[:5]) + (" …" if len(found.faceless) > 5 else "")
        told.append(f"no face was found in {len(found.faceless)} of {len(found.videos)} videos: {named}")
    told += found.lines
    told += [f"failed {failure.id}: {failure.stage}: {failure.error}" for failure in found.failures]
    rate = found.frames / found.seconds if found.seconds else 0.0
    kept = f" ({found.before} of them predicted before)" if found.before else ""
    now = (
        f"{found.frames} frames in {found.seconds:.1f} s ({rate:.0f} frames/s)"
        if found.frames
        else "none predicted now"
    )
    told.append(f"{len(found.videos)} video{'s' * (len(found.videos) != 1)}{kept}, {now}")
    told.append(NOTE)
    drawn = [video[kind] for video in found.videos for kind in ("picture", "video") if kind in video]
    return [
        *told,
        f"predictions: {found.out} ({', '.join(['predictions.csv', 'timeline.csv', 'predictions.json', *drawn[:2]])})",
    ]
