"""The options of `est extract`, except those of one subject in modules of their own: data sets, flow, persons, another cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..choices import Dtype
from ..panels import FACES, FEATURES, INPUT, MACHINE, OUTPUT

Inputs = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="INPUT",
        help="Videos, folders of them or of frame folders, lists, or patterns.\n\n"
        "Patterns such as 'videos/*.mp4' are quoted. Videos may lie below s3:// and gs:// URLs.",
        rich_help_panel=INPUT,
    ),
]
OutCache = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        "--output",
        help="The cache to write or to resume; .zarr or .h5 chooses the store.",
        rich_help_panel=OUTPUT,
    ),
]
Labels = Annotated[
    str,
    typer.Option(
        "--labels",
        metavar="FROM",
        help="Labels: none, folders or a regular expression.\n\n"
        "folders: a clip's label is the name of its folder; a regular expression is searched in a clip's path, its group is "
        r"the label: '(?P<subject>S\d+)_(?P<label>[a-z]+)' gives both (also split, fold). Lists bring their own.",
        rich_help_panel=INPUT,
    ),
]
Subjects = Annotated[
    str,
    typer.Option(
        "--subjects",
        metavar="FROM",
        help="Subjects: none, folders or a regular expression.\n\n"
        "folders: SUBJECT/LABEL/clip.mp4 with --labels folders, else SUBJECT/clip.mp4; a regular expression as in --labels: "
        r"'(s\d+)_', or with names '(?P<subject>s\d+)_(?P<label>[a-z]+)'.",
        rich_help_panel=INPUT,
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", help="Only the first N inputs.", rich_help_panel=INPUT)
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Only every N-th input, from the I-th: one machine's part.",
        rich_help_panel=INPUT.rare,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Show inputs, time, size and problems; write nothing.\n\nTime and size come from a trial of two seconds.",
        rich_help_panel=OUTPUT,
    ),
]
Retry = Annotated[
    bool,
    typer.Option("--retry-failed", help="Try inputs again that failed in an earlier run.", rich_help_panel=INPUT),
]
Compare = Annotated[
    int | None,
    typer.Option(
        "--compare-detectors",
        metavar="N",
        help="Run the available detectors on N inputs, show the results and exit.",
        rich_help_panel=FACES.rare,
    ),
]
Detector = Annotated[
    str | None,
    typer.Option(
        "--detector",
        metavar="NAME",
        help="retinaface (default), insightface:PACK, or none for face crops.\n\n"
        "Packs of insightface have non-commercial weights. Face crops of a --dataset take none by default.",
        rich_help_panel=FACES,
    ),
]
DetectSize = Annotated[
    int,
    typer.Option(
        "--detect-size",
        metavar="PIXELS",
        help="Longer side of the image that the detector gets; 0 is full size.",
        rich_help_panel=FACES.rare,
    ),
]
DetectEvery = Annotated[
    int,
    typer.Option(
        "--detect-every",
        metavar="K",
        help="Detect in every K-th frame and interpolate the frames between.",
        rich_help_panel=FACES.rare,
    ),
]
Threshold = Annotated[
    float,
    typer.Option("--score-threshold", help="Least score of a detection.", rich_help_panel=FACES.rare),
]
Face = Annotated[
    Literal["main", "largest", "all"],
    typer.Option(
        "--face",
        help="The main face, the largest, or a clip for each.\n\n"
        "main: the longest and largest track; largest: the largest face of each frame; all: a clip for each face.",
        rich_help_panel=FACES,
    ),
]
Smooth = Annotated[
    float,
    typer.Option(
        "--smooth",
        metavar="FRAMES",
        help="Smoothing of boxes over time, in frames; 0 is off.",
        rich_help_panel=FACES.rare,
    ),
]
Align = Annotated[
    Literal["box", "5point"],
    typer.Option(
        "--align",
        help="box: square with a margin; 5point: by landmarks.\n\n"
        "5point moves eyes, nose and mouth to the places of a template.",
        rich_help_panel=FACES,
    ),
]
Margin = Annotated[
    float | None,
    typer.Option(
        "--margin",
        help="Margin around the face, as a part of its longer side. [default: 0.2 with box, else 0]",
        rich_help_panel=FACES.rare,
    ),
]
Size = Annotated[
    int, typer.Option("--size", metavar="PIXELS", help="Side of the crop in pixels.", rich_help_panel=FACES)
]
Crops = Annotated[
    bool,
    typer.Option(
        "--crops",
        help="Keep the crops as JPEG: for fine-tuning and pictures.\n\nFeatures are computed from exactly these.",
        rich_help_panel=FACES,
    ),
]
Quality = Annotated[
    int, typer.Option("--crop-quality", metavar="1-100", help="JPEG quality of the crops.", rich_help_panel=FACES.rare)
]
WeightsName = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="NAME|FILE|RUN",
        help="imagenet, hsemotion:b0, …, a file or a run.\n\n"
        "A run is one that tuned its backbone. Other names: synface (for rendered faces only), random, "
        "hsemotion:b2, timm:NAME, torchvision:NAME, clip:NAME, hub:ORG/NAME.",
        rich_help_panel=FEATURES,
    ),
]
Normalize = Annotated[
    str | None,
    typer.Option(
        "--normalize",
        help="Pixel normalisation of a FILE: none, imagenet or MEAN,STD. FER+ weights take none.",
        rich_help_panel=FEATURES.rare,
    ),
]
Features = Annotated[
    str,
    typer.Option(
        "--features",
        metavar="NAME,…",
        help="gap, layer1 to layer4, pyramid4x4, cls, flow.\n\n"
        "Several have commas between them. cls is of vision transformers, flow of --modality flow. Arrays "
        "that a cache lacks are added to it.",
        rich_help_panel=FEATURES,
    ),
]
Flip = Annotated[
    bool, typer.Option("--flip", help="Also cache the features of mirrored crops.", rich_help_panel=FEATURES)
]
DtypeOption = Annotated[
    Dtype, typer.Option("--dtype", help="Type of the cached numbers.", rich_help_panel=FEATURES.rare)
]
Device = Annotated[
    str,
    typer.Option("--device", help="auto, cpu, cuda, or several: cuda:0,cuda:1.", rich_help_panel=MACHINE),
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
Decoder = Annotated[
    Literal["auto", "opencv", "pyav"],
    typer.Option(
        "--decoder",
        help="auto: opencv, and pyav for a file that OpenCV cannot decode.",
        rich_help_panel=INPUT.rare,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help="Fail a file whose decoder makes no progress for this long.",
        rich_help_panel=INPUT.rare,
    ),
]
Incomplete = Annotated[
    Literal["keep", "fail"],
    typer.Option("--incomplete", help="Clips with fewer frames than their file declares.", rich_help_panel=INPUT.rare),
]
NoFace = Annotated[
    Literal["keep", "skip", "fail"],
    typer.Option("--no-face", help="Clips without any face.", rich_help_panel=FACES.rare),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse to resume in an environment other than the one in which the cache was started.",
        rich_help_panel=MACHINE.rare,
    ),
]
