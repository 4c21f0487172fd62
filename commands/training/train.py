"""`est train`: a cache → a run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ...cache.remote.address import shown
from ...errors import UsageError
from ..options import examples
from ..screen import Screen
from .modelflags import with_model_flags
from .protocoloptions import By, Folds, Holdout, Loso, Protocol, Settings, protocol_options
from .trainoptions import (
    Balanced,
    Batch,
    Board,
    CachePath,
    Config,
    Control,
    Describe,
    Device,
    Epochs,
    Feature,
    Finetune,
    Flip,
    Focal,
    Init,
    Leak,
    ListModels,
    ListProtocols,
    Model,
    Normalize,
    Only,
    OutRun,
    Precision,
    Preset,
    Rate,
    Resume,
    Seeds,
    Select,
    Smoothing,
    Stack,
    Start,
    Threads,
    Views,
    Votes,
    Weights,
    parse_seeds,
)

BEHIND = {  # settings of numbers that have an option
    "loop.epochs": "--epochs",
    "loop.batch": "--batch",
    "loop.learning_rate": "--lr",
    "loop.threads": "--threads",
    "data.label_smoothing": "--label-smoothing",
    "loss.focal": "--focal",
}


@examples(
    "est train --cache cache.zarr --out runs/est",
    "est train --cache dfew.zarr --protocol dfew --model gru --seeds 1,2,3",
    "est train --cache cache.zarr --folds 5 --finetune all --preset modern",
)
@with_model_flags
def train(
    screen: Screen,
    *,
    cache: CachePath = None,
    out: OutRun = None,
    resume: Resume = False,
    model: Model = None,
    finetune: Finetune = None,
    weights: Start = None,
    normalize: Normalize = None,
    init: Init = None,
    describe: Describe = False,
    preset: Preset = None,
    epochs: Epochs = None,
    batch: Batch = None,
    lr: Rate = None,
    seeds: Seeds = None,
    config: Config = None,
    settings: Settings = None,
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
    """Train a model on a cache, every fold and seed, and score it. After Ctrl-C --resume continues."""
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
        from ...train.runs.run import Run, latest_unfinished

        out = out or latest_unfinished()
        base = Run.open(out).config
    try:
        wanted = resolve(preset, config, settings or (), options, base=base)
    except UsageError as error:
        raise in_words_of_options(error, options) from None
    if not resume:
        wanted.expect_effective()
    if describe:
        return show_model(screen, wanted, cache)
    if cache is None and not resume:
        raise UsageError("No cache is given: --cache names it.", remedy="est train --cache cache.zarr")
    from ...train.fitting import fit
    from ...train.results.pages.megc import megc_lines
    from ...train.results.pages.summary import headline, part_lines
    from ...train.runs.place import is_first

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
            raise UsageError(f"None of {len(opened)} clips of {shown(cache)} has a label.", remedy="leave --cache out")
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
