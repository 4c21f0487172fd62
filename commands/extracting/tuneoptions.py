"""The options of `est tune`, most of which `est recache --tune` takes, too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..choices import AutoPrecision, Selection
from ..panels import AUGMENTATION, DATA, MACHINE, MODEL, OUTPUT, PROTOCOL, RECIPE

OutFile = Annotated[
    Path,
    typer.Option("--out", "-o", "--output", help="The file of weights to write: .safetensors.", rich_help_panel=OUTPUT),
]
CachePath = Annotated[
    Path | None,
    typer.Option(
        "--cache", "-c", help="Train on a cache's crops, each frame with its clip's label.", rich_help_panel=DATA
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR|CSV",
        help="Train on labelled images: a folder for each class, or a CSV.\n\nAlso fer2013.csv, RAF-DB and AffectNet.",
        rich_help_panel=DATA,
    ),
]
Votes = Annotated[
    Path | None,
    typer.Option("--votes", metavar="CSV", help="FER+'s votes on fer2013.csv: soft labels.", rich_help_panel=DATA),
]
Only = Annotated[
    str | None,
    typer.Option(
        "--fold", metavar="NAME", help="Train on the training half of this fold alone.", rich_help_panel=PROTOCOL
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="Train on the clips of this split alone, such as train.",
        metavar="NAME",
        rich_help_panel=PROTOCOL,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="The initial encoder. [default: the cache's]\n\n"
        "imagenet (not for commercial use), synface, random, a name such as timm:resnet10t, a file or a run. The "
        "default with --images is imagenet.",
        metavar="NAME|FILE|RUN",
        rich_help_panel=MODEL,
    ),
]
Normalize = Annotated[
    str | None,
    typer.Option(
        "--normalize",
        help="Pixel normalisation of a file of weights: none, imagenet, or MEAN,STD.",
        rich_help_panel=MODEL.rare,
    ),
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Training epochs. [default: 12]", rich_help_panel=RECIPE)]
Batch = Annotated[
    int | None, typer.Option("--batch", "--batch-size", help="Frames per step. [default: 32]", rich_help_panel=RECIPE)
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--lr",
        "--learning-rate",
        help="The highest learning rate, of the head. [default: 1e-3]",
        rich_help_panel=RECIPE,
    ),
]
Share = Annotated[
    float | None,
    typer.Option(
        "--encoder-rate",
        help="Rate of the encoder, as a part of the head's. [default: 0.3]",
        rich_help_panel=RECIPE.rare,
    ),
]
Smoothing = Annotated[
    float | None,
    typer.Option(
        "--label-smoothing",
        help="Share of the target given to all classes. [default: 0.1]",
        rich_help_panel=RECIPE.rare,
    ),
]
Norms = Annotated[
    Literal["train", "frozen"] | None,
    typer.Option(
        "--batch-norm",
        help="Whether the encoder's batch norms are trained. [default: train]",
        rich_help_panel=RECIPE.rare,
    ),
]
Balanced = Annotated[
    bool | None,
    typer.Option(
        "--balanced/--no-balanced",
        help="Draw every class equally often. [default: balanced]",
        rich_help_panel=DATA.rare,
    ),
]
FramesPerClip = Annotated[
    int | None,
    typer.Option(
        "--frames-per-clip",
        help="Frames drawn of a clip in an epoch, on average. [default: 8]",
        rich_help_panel=DATA.rare,
    ),
]
Together = Annotated[
    int | None,
    typer.Option(
        "--together",
        help="Frames of a clip that are judged together. [default: 4]\n\n"
        "The mean of their outputs is compared with the clip's label; 1: each frame by itself.",
        metavar="K",
        rich_help_panel=RECIPE,
    ),
]
Average = Annotated[
    float | None,
    typer.Option(
        "--average",
        help="Decay per step of a running mean of the weights. [default: 0, off]",
        rich_help_panel=RECIPE.rare,
    ),
]
Apex = Annotated[
    Literal["auto", "uniform", "middle", "late", "end"] | None,
    typer.Option(
        "--apex",
        help="Where expressions are strongest and frames are drawn more often. [default: auto]\n\n"
        "auto: by the data set of the cache.",
        rich_help_panel=DATA.rare,
    ),
]
Mirror = Annotated[
    bool | None,
    typer.Option(
        "--mirror/--no-mirror", help="Mirror half of the pictures. [default: mirror]", rich_help_panel=AUGMENTATION.rare
    ),
]
Shift = Annotated[
    float | None,
    typer.Option("--shift", help="Move pictures, up to this share. [default: 0.06]", rich_help_panel=AUGMENTATION.rare),
]
Zoom = Annotated[
    float | None,
    typer.Option("--zoom", help="Scale pictures, up to this share. [default: 0.1]", rich_help_panel=AUGMENTATION.rare),
]
Brightness = Annotated[
    float | None,
    typer.Option(
        "--brightness",
        help="Change the brightness, up to this share. [default: 0.25]",
        rich_help_panel=AUGMENTATION.rare,
    ),
]
Occlusion = Annotated[
    float | None,
    typer.Option(
        "--occlusion",
        help="Hide squares in half of the pictures, up to this share. [default: 0.25]",
        rich_help_panel=AUGMENTATION.rare,
    ),
]
Select = Annotated[
    Selection | None,
    typer.Option(
        "--select",
        help="Keep the best epoch on inner clips, or the last. [default: val]\n\n"
        "The inner clips are a part of those that are trained on, held out to choose the epoch.",
        rich_help_panel=PROTOCOL,
    ),
]
Size = Annotated[
    int | None, typer.Option("--size", help="Side of images in pixels. [default: 224]", rich_help_panel=DATA.rare)
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        help="Seed of everything random, folds included. [default: 3456]\n\n"
        "The same seed assigns folds as est train does.",
        rich_help_panel=RECIPE,
    ),
]
Precision = Annotated[
    AutoPrecision | None,
    typer.Option(
        "--precision",
        help="fp32, bf16, fp16, or auto: bf16 where it is fast. [default: auto]",
        metavar="NAME",
        rich_help_panel=MACHINE,
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N. [default: auto]", rich_help_panel=MACHINE)
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", help="CPU threads; the same number gives the same bits.", rich_help_panel=MACHINE.rare),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "--num-workers", help="Decoding threads. [default: one per core]", rich_help_panel=MACHINE
    ),
]
AllowLeak = Annotated[
    bool,
    typer.Option(
        "--allow-leak",
        help="Start from weights trained on clips that are tested or choose the epoch; the card says so.",
        rich_help_panel=PROTOCOL.rare,
    ),
]
