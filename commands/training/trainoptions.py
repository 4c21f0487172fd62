"""The options of `est train`, most of which the other commands that train take, too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ...errors import UsageError
from ...train.config.config import ALIASES, PRESETS
from ..choices import AutoPrecision, Learns, Selection, Stacking
from ..panels import DATA, MACHINE, MODEL, OUTPUT, PROTOCOL, RECIPE
from .modelflags import MODEL_LIST, ModelName

PresetName = Literal[(*PRESETS, *ALIASES)]  # ty: ignore[invalid-type-form]
MODEL_NAMES = "est, gru, …: see est train --list-models."

CachePath = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        "-c",
        help="The cache to train on.\n\nWith --resume the default is the run's own.",
        rich_help_panel=DATA,
    ),
]
OutRun = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        "--output",
        help="The folder of the run. [default: runs/<time>]\n\nWith --resume the latest unfinished run.",
        rich_help_panel=OUTPUT,
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Resume an unfinished run.\n\nIts own settings are kept.", rich_help_panel=OUTPUT),
]
Describe = Annotated[
    bool, typer.Option("--describe", help="Show the model's parameters and MACs and exit.", rich_help_panel=MODEL.rare)
]
Preset = Annotated[
    PresetName | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="official (default), small, fast, modern, …\n\n"
        "official: the authors' code; paper-text: the paper's text where it differs; fast: fewer epochs; small: a small model "
        "for tens to hundreds of clips; modern: for --finetune; published: as a model's authors train it (slstt).",
        rich_help_panel=RECIPE,
    ),
]
Finetune = Annotated[
    Learns | None,
    typer.Option(
        "--finetune",
        help="Also train the encoder: whole, or layer4.\n\n"
        "all: from the cache's crops or the sources; layer4: the last stage of a ResNet-18, from cached maps of layer3; none: "
        "not at all. est tune trains the encoder alone, before extraction; est recache --tune does so for each fold.",
        rich_help_panel=MODEL,
    ),
]
Start = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="NAME|FILE|RUN",
        help="With --finetune: the initial encoder.\n\n[default: the cache's] "
        "imagenet (not for commercial use), synface, random, an encoder such as timm:resnet10t, a file or a run. With --model "
        "former-dfer the file that the cache was made with, or random, for its layer4; with --model r3d18 kinetics400 or random.",
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
Init = Annotated[
    str | None,
    typer.Option(
        "--init",
        metavar="RUN",
        help="With --finetune: start from the models of a run on the same folds.",
        rich_help_panel=MODEL.rare,
    ),
]
Leak = Annotated[
    bool | None,
    typer.Option(
        "--allow-leak/--no-allow-leak",
        help="Score clips that the features were trained on; every table says so.",
        rich_help_panel=PROTOCOL.rare,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", help="A TOML file of settings.\n\nFor example a run's config.toml.", rich_help_panel=RECIPE
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", help="Training epochs. [default: 160]", rich_help_panel=RECIPE),
]
Batch = Annotated[
    int | None,
    typer.Option("--batch", "--batch-size", help="Clips per step. [default: 8]", rich_help_panel=RECIPE),
]
Rate = Annotated[
    float | None,
    typer.Option("--lr", "--learning-rate", help="The highest learning rate. [default: 1e-4]", rich_help_panel=RECIPE),
]
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", metavar="N,N…", help="Train once for each seed. [default: 3456]", rich_help_panel=RECIPE),
]
Model = Annotated[
    ModelName | None,
    typer.Option(
        "--model", metavar="NAME", help=f"{MODEL_NAMES}\n\n[default: est] {MODEL_LIST}.", rich_help_panel=MODEL
    ),
]
Feature = Annotated[
    str | None,
    typer.Option(
        "--feature",
        "--features",
        metavar="NAME",
        help="Feature array of the cache. [default: gap]",
        rich_help_panel=DATA,
    ),
]
Flip = Annotated[
    bool | None,
    typer.Option("--flip/--no-flip", help="Also use cached features of mirrored crops.", rich_help_panel=DATA),
]
Views = Annotated[
    bool | None,
    typer.Option(
        "--views/--no-views",
        help="Also use the cached views.\n\nOne is drawn for each clip and epoch.",
        rich_help_panel=DATA,
    ),
]
Balanced = Annotated[
    bool | None,
    typer.Option("--balanced/--no-balanced", help="Draw every class equally often.", rich_help_panel=DATA),
]
Weights = Annotated[
    bool | None,
    typer.Option(
        "--class-weights/--no-class-weights",
        help="Weight rare classes more in the loss.",
        rich_help_panel=RECIPE.rare,
    ),
]
Smoothing = Annotated[
    float | None,
    typer.Option("--label-smoothing", help="Share of the target given to all classes.", rich_help_panel=RECIPE.rare),
]
Votes = Annotated[
    Path | None,
    typer.Option(
        "--votes",
        metavar="FILE",
        help="Train on a table of votes: id or path, and a column for each class.",
        rich_help_panel=DATA.rare,
    ),
]
Focal = Annotated[
    float | None,
    typer.Option(
        "--focal",
        metavar="GAMMA",
        help="Focal loss: well classified clips count less.",
        rich_help_panel=RECIPE.rare,
    ),
]
ListProtocols = Annotated[
    bool,
    typer.Option(
        "--list-protocols",
        help="Show the protocols and the published results of each and exit.",
        rich_help_panel=PROTOCOL.rare,
    ),
]
ListModels = Annotated[
    bool,
    typer.Option(
        "--list-models",
        help="Show the models and exit: input, parameters, source, fidelity to the published model.\n\n"
        "With --cache also what the cache lacks for each model; with --model only that model.",
        rich_help_panel=MODEL.rare,
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--fold", metavar="NAME", help="Run this fold alone; may be repeated.", rich_help_panel=PROTOCOL),
]
Select = Annotated[
    Selection | None,
    typer.Option(
        "--select",
        help="Score the last epoch, or the best on val.\n\n"
        "val: an inner validation half; never the test half. [default: last]",
        rich_help_panel=PROTOCOL,
    ),
]
Precision = Annotated[
    AutoPrecision | None,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="fp32, bf16, fp16 or auto. [default: fp32]\n\nauto: bf16 where it is fast.",
        rich_help_panel=MACHINE,
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="auto, cpu, cuda or cuda:N. [default: auto]", rich_help_panel=MACHINE),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", help="CPU threads; the same number gives the same bits.", rich_help_panel=MACHINE.rare),
]
Stack = Annotated[
    Stacking | None,
    typer.Option(
        "--stack",
        help="Train folds and seeds as one stacked model: auto: if that is faster; on: wherever possible; off. [default: auto]",
        rich_help_panel=MACHINE.rare,
    ),
]
Control = Annotated[
    bool | None,
    typer.Option(
        "--control/--no-control",
        help="Also fit the baseline that ignores frame order: pooled statistics and a linear classifier.",
        rich_help_panel=OUTPUT.rare,
    ),
]
Board = Annotated[
    bool | None,
    typer.Option(
        "--tensorboard/--no-tensorboard",
        help="Write curves for TensorBoard into the run.",
        rich_help_panel=OUTPUT.rare,
    ),
]


def parse_seeds(text: str | None) -> tuple[int, ...] | None:
    """Read 1,2,3."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"--seeds is whole numbers with commas between, found {text!r}.", remedy="--seeds 1,2,3"
        ) from error
