"""`est train`: a cache → a run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import UsageError
from ..screen import Screen
from .modelflags import MODEL_LIST, with_model_flags
from .protocoloptions import By, Folds, Holdout, Loso, Protocol, Settings, protocol_options

CachePath = Annotated[
    Path | None, typer.Option("--cache", "-c", help="The cache to learn from; with --resume the run's own.")
]
OutRun = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The folder of the run. [default: runs/<time>; with --resume the latest]"),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run, under its own settings.")]
Describe = Annotated[bool, typer.Option("--describe", help="Show the model's parameters and MACs, and stop.")]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="official (the default: the authors' code), paper-text (their text where it differs), fast, "
        "small (a small model for tens to hundreds of clips), modern (for --finetune), "
        "or published (as a model's authors train it: slstt).",
    ),
]
Finetune = Annotated[
    str | None,
    typer.Option(
        "--finetune",
        help="Let the backbone learn too: all of it, from the cache's crops or the sources, or layer4, its last stage: "
        "of a ResNet-18 from cached maps of layer3.",
    ),
]
Start = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="With --finetune: where the backbone starts: imagenet (not for commercial use), synface, random, "
        "an encoder such as timm:resnet10t, a file or a run. With --model former-dfer the file that the cache was made with, or random, "
        "for its layer4; with --model r3d18 kinetics400 or random. [default: as the cache's features]",
    ),
]
Normalize = Annotated[
    str | None, typer.Option("--normalize", help="Of pixels, for a file of weights: none, imagenet, or MEAN,STD.")
]
Init = Annotated[
    str | None,
    typer.Option("--init", metavar="RUN", help="With --finetune: start from the models of a run on the same folds."),
]
Leak = Annotated[
    bool | None,
    typer.Option(
        "--allow-leak/--no-allow-leak",
        help="Score clips that the features have learnt from before; every table says so.",
    ),
]
Config = Annotated[Path | None, typer.Option("--config", help="A TOML file; a run's config.toml is one.")]
Epochs = Annotated[int | None, typer.Option("--epochs", help="How often every clip is seen. [default: 160]")]
Batch = Annotated[int | None, typer.Option("--batch", help="Clips in a step. [default: 8]")]
Rate = Annotated[float | None, typer.Option("--lr", help="The highest learning rate. [default: 1e-4]")]
Seeds = Annotated[str | None, typer.Option("--seeds", metavar="N,N…", help="A training for each. [default: 3456]")]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help=f"{MODEL_LIST}. [default: est]")]
Feature = Annotated[str | None, typer.Option("--feature", help="The feature array to read. [default: gap]")]
Flip = Annotated[
    bool | None, typer.Option("--flip/--no-flip", help="Show clips by mirrored crops as often, when cached.")
]
Views = Annotated[
    bool | None,
    typer.Option("--views/--no-views", help="Show clips by the cache's views too, one drawn for each clip and epoch."),
]
Balanced = Annotated[bool | None, typer.Option("--balanced/--no-balanced", help="Draw every class equally often.")]
Weights = Annotated[
    bool | None, typer.Option("--class-weights/--no-class-weights", help="Weigh rare classes more in the loss.")
]
Smoothing = Annotated[float | None, typer.Option("--label-smoothing", help="Share of the target given to all classes.")]
Votes = Annotated[
    Path | None,
    typer.Option(
        "--votes", metavar="FILE", help="Learn from a table of votes: id or path, and a column for each class."
    ),
]
Focal = Annotated[
    float | None, typer.Option("--focal", metavar="GAMMA", help="Focal loss: what is nearly right counts less.")
]
ListProtocols = Annotated[
    bool, typer.Option("--list-protocols", help="Show the protocols and what is published of each, and stop.")
]
ListModels = Annotated[
    bool,
    typer.Option(
        "--list-models",
        help="Show the models: what each reads, its parameters, source and how near it is to the published one, and stop. "
        "With --cache also what that lacks for one; with --model that one alone.",
    ),
]
Only = Annotated[list[str] | None, typer.Option("--fold", metavar="NAME", help="Run this fold alone; may be repeated.")]
Select = Annotated[
    str | None,
    typer.Option("--select", help="last epoch, or the best on an inner val half; never the best on the test."),
]
Precision = Annotated[str | None, typer.Option("--precision", help="fp32, bf16, fp16, or auto: bf16 where it is fast.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Threads = Annotated[int | None, typer.Option("--threads", help="CPU threads; the same number gives the same bits.")]
Stack = Annotated[
    str | None,
    typer.Option(
        "--stack",
        help="Train folds and seeds as one stacked model: auto, where that is faster; on, wherever possible; off. [default: auto]",
    ),
]
Control = Annotated[
    bool | None, typer.Option("--control/--no-control", help="Fit pooled statistics and a linear classifier beside it.")
]
Board = Annotated[
    bool | None, typer.Option("--tensorboard/--no-tensorboard", help="Write curves for TensorBoard into the run.")
]

BEHIND = {  # settings of numbers that have an option
    "loop.epochs": "--epochs",
    "loop.batch": "--batch",
    "loop.learning_rate": "--lr",
    "loop.threads": "--threads",
    "data.label_smoothing": "--label-smoothing",
    "loss.focal": "--focal",
}


@with_model_flags
def train(
    screen: Screen,
    *,
    cache: CachePath = None,
    out: OutRun = None,
    resume: Resume = False,
    describe: Describe = False,
    preset: Preset = None,
    finetune: Finetune = None,
    weights: Start = None,
    normalize: Normalize = None,
    init: Init = None,
    config: Config = None,
    settings: Settings = None,
    epochs: Epochs = None,
    batch: Batch = None,
    lr: Rate = None,
    seeds: Seeds = None,
    model: Model = None,
    feature: Feature = None,
    flip: Flip = None,
    views: Views = None,
    balanced: Balanced = None,
    class_weights: Weights = None,
    label_smoothing: Smoothing = None,
    votes: Votes = None,
    focal: Focal = None,
    protocol: Protocol = None,
    list_protocols: ListProtocols = False,
    list_models: ListModels = False,
    folds: Folds = None,
    loso: Loso = False,
    holdout: Holdout = False,
    by: By = None,
    fold: Only = None,
    select: Select = None,
    precision: Precision = None,
    device: Device = None,
    threads: Threads = None,
    stack: Stack = None,
    control: Control = None,
    allow_leak: Leak = None,
    tensorboard: Board = None,
    **of_model: Any,
) -> int:
    """Train a model on a cache, every fold and seed, and score it; Ctrl-C saves, --resume goes on."""
    if list_protocols:
        return show_protocols(screen)
    if list_models:
        return show_models(screen, cache, model)
    from ...train.config.configfile import resolve

    options: dict[str, Any] = {
        "loop.epochs": epochs,
        "loop.batch": batch,
        "loop.learning_rate": lr,
        "loop.precision": precision,
        "loop.threads": threads,
        "loop.stack": stack,
        "seeds": parse_seeds(seeds),
        "model.name": model,
        **of_model,
        "data.feature": feature,
        "data.mirrored": flip,
        "data.views": views,
        "data.balanced": balanced,
        "data.class_weights": class_weights,
        "data.label_smoothing": label_smoothing,
        "data.votes": str(votes) if votes is not None else None,
        "loss.focal": focal,
        **protocol_options(protocol, folds, loso=loso, holdout=holdout),
        "protocol.by": by,
        "protocol.only": tuple(fold) if fold else None,
        "select": select,
        "device": device,
        "control": control,
        "allow_leak": allow_leak,
        "finetune.learns": finetune,
        "finetune.weights": weights,
        "finetune.normalize": normalize,
        "finetune.init": init,
        "tensorboard": tensorboard,
    }
    base = None
    if resume:
        from ...train.results.run import Run, latest_unfinished

        out = out or latest_unfinished()
        base = Run.open(out).config
    try:
        wanted = resolve(preset, config, settings or (), options, base=base)
    except UsageError as error:
        raise in_words_of_options(error, options) from None
    wanted.expect_read(feature)
    if not resume:
        wanted.expect_effective()
    if describe:
        return show_model(screen, wanted, cache)
    if cache is None and not resume:
        raise UsageError("Which cache? --cache names it.", remedy="est train --cache cache.zarr")
    from ...train.fitting import fit
    from ...train.results.pages.megc import megc_lines
    from ...train.results.pages.summary import headline, part_lines
    from ...train.results.place import is_first

    with screen.watching() if is_first() else nullcontext() as watch:
        results = fit(cache, out, wanted, resume=resume, watch=watch)
    if not is_first():
        return 0  # the first of several processes speaks
    path = results.run.path
    lines = [
        results.run.facts["heading"],
        *headline(results),
        *part_lines(results),
        *(megc_lines(results.megc) if results.megc is not None else []),
        f"summary: {path / 'summary.md'}",
    ]
    screen.result({"run": str(path), **results.to_json()}, "\n".join(lines))
    return 0


def in_words_of_options(error: UsageError, options: Mapping[str, Any]) -> UsageError:
    """Return an error that names an option where one was given, and not the setting behind it."""
    for key, option in BEHIND.items():
        if options[key] is not None and error.message.startswith(f"{key} "):
            remedy = (error.remedy or "").replace(f"--set {key}=", f"{option} ")
            return UsageError(error.message.replace(key, option, 1), remedy=remedy or None)
    return error


def show_model(screen: Screen, config: Any, cache: Path | None) -> int:
    """Show what would be trained: on a cache's own features, crops and classes, else on those of ResNet-18, and 7 classes."""
    from ...train.models.contract import CROPS, WINDOWS
    from ...train.models.description import usual_shape
    from ...train.models.registry import describe_model

    shape, num_classes = usual_shape(WINDOWS if config.model.of_windows else config.model.reads), 7
    side, lengths = 0, []
    if cache is not None:
        from ...cache import open_cache
        from ...encoders.backbone import tap_shape
        from ...encoders.taps import TAPS
        from ...train.data.feature_arrays import expect_read_by

        opened = open_cache(cache)
        side, lengths = opened.recipes.frames.size, [int(one) for one in opened.clips.count]
        if config.model.reads == CROPS:
            shape = (3, side, side)
        elif config.finetune.on and config.feature not in opened.features and config.feature in TAPS:
            shape = tap_shape(config.feature, side)  # computed in training, of the crops
        else:
            expect_read_by(opened, config.model, config.feature)
            shape = opened.recipes.features[config.feature].shape
        num_classes = len({name for name in opened.clips.label_names if name is not None})
        if not num_classes:
            raise UsageError(f"None of {len(opened)} clips of {cache} has a label.", remedy="leave --cache out")
    found = describe_model(config.model, shape[0], num_classes, shape[1:], side=side, lengths=lengths)
    screen.result(found.to_json(), "\n".join(found.lines()))
    return 0


def show_models(screen: Screen, cache: Path | None, only: str | None) -> int:
    """Show every model, or one; what a cache lacks for one stands below the table."""
    from ...cache import open_cache
    from ...train.listing import list_models, listed_lines

    found = list_models(None if cache is None else open_cache(cache), only)
    screen.result({"models": [one.to_json() for one in found]}, "\n".join(listed_lines(found)))
    return 0


def show_protocols(screen: Screen) -> int:
    """Show what --protocol takes: the general protocols, then those of data sets with what is published of each."""
    from ...train.folds.published import convention, list_protocols, result_lines

    rows = list_protocols()
    width = max(len(row["name"]) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{row['name']:<{width}}  {convention(row['name']) or row['what']}")
        lines += [f"{'':<{width}}  {line}" for line in result_lines(row["name"])]
    screen.result({"protocols": rows}, "\n".join(lines))
    return 0


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
