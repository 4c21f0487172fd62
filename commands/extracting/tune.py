"""`est tune`: labelled frames → better weights for `est extract`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import UsageError
from ..options import examples
from ..screen import Screen
from ..training.protocoloptions import By, Folds, Holdout, Loso, Protocol, protocol_options
from .tuneoptions import (
    AllowLeak,
    Apex,
    Average,
    Balanced,
    Batch,
    Brightness,
    CachePath,
    Device,
    Epochs,
    FramesPerClip,
    Images,
    Mirror,
    Normalize,
    Norms,
    Occlusion,
    Only,
    OutFile,
    Precision,
    Rate,
    Seed,
    Select,
    Share,
    Shift,
    Size,
    Smoothing,
    Split,
    Threads,
    Together,
    Votes,
    Weights,
    Workers,
    Zoom,
)


@examples(
    "est tune --cache cache.zarr --out tuned.safetensors",
    "est tune --cache cache.zarr --folds 5 --fold fold1 --out fold1.safetensors",
    "est tune --images fer2013.csv --votes fer2013new.csv --out ferplus.safetensors",
)
def tune(
    screen: Screen,
    *,
    out: OutFile,
    cache: CachePath = None,
    images: Images = None,
    votes: Votes = None,
    protocol: Protocol = None,
    folds: Folds = None,
    loso: Loso = False,
    holdout: Holdout = False,
    by: By = None,
    fold: Only = None,
    split: Split = None,
    weights: Weights = None,
    normalize: Normalize = None,
    epochs: Epochs = None,
    batch: Batch = None,
    lr: Rate = None,
    encoder_rate: Share = None,
    label_smoothing: Smoothing = None,
    average: Average = None,
    batch_norm: Norms = None,
    balanced: Balanced = None,
    frames_per_clip: FramesPerClip = None,
    together: Together = None,
    apex: Apex = None,
    mirror: Mirror = None,
    shift: Shift = None,
    zoom: Zoom = None,
    brightness: Brightness = None,
    occlusion: Occlusion = None,
    select: Select = None,
    size: Size = None,
    seed: Seed = None,
    precision: Precision = None,
    device: Device = None,
    threads: Threads = None,
    workers: Workers = None,
    allow_leak: AllowLeak = False,
) -> int:
    """Train the encoder alone, on labelled frames. Its weights are for est extract --weights. The same command resumes.

    est recache --tune: an encoder for each fold; est train --finetune: encoder and model together.
    """
    of_clips = {
        "--protocol": protocol,
        "--folds": folds,
        "--loso": loso,
        "--holdout": holdout,
        "--fold": fold,
        "--split": split,
        "--frames-per-clip": frames_per_clip,
        "--together": together,
        "--apex": apex,
    }
    expect_one_source(cache, images, of_clips, {"--votes": votes, "--size": size})
    from ...tune import TuneConfig, find_stills, read_card, tune_cache, tune_stills

    options = {
        "weights": weights,
        "normalize": normalize,
        "epochs": epochs,
        "batch": batch,
        "learning_rate": lr,
        "rate": encoder_rate,
        "label_smoothing": label_smoothing,
        "average": average,
        "batch_norm": batch_norm,
        "balanced": balanced,
        "frames_per_clip": frames_per_clip,
        "together": together,
        "apex": apex,
        "mirrored": mirror,
        "shift": shift,
        "zoom": zoom,
        "brightness": brightness,
        "occlusion": occlusion,
        "select": select,
        "by": by,
        "size": size,
        "seed": seed,
        "precision": precision,
        "device": device,
        "threads": threads,
        "workers": workers,
    }
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    config = TuneConfig(**given, allow_leak=allow_leak)
    with screen.watching() as watch:
        if images is not None:
            path = tune_stills(find_stills(images, votes=votes), out, config, watch=watch)
        else:
            assert cache is not None
            wanted = protocol_config(protocol, folds, loso=loso, holdout=holdout, fold=fold)
            path = tune_cache(cache, out, config, protocol=wanted, split=split, watch=watch)
    card = read_card(path)
    screen.result({"weights": str(path), "card": card}, "\n".join([*scores(card), f"weights: {path}"]))
    return 0


def expect_one_source(
    cache: Path | None, images: Path | None, of_clips: dict[str, Any], of_images: dict[str, Any]
) -> None:
    """Refuse two sources, none, and options of the other one."""
    if cache is not None and images is not None:
        raise UsageError(
            "Expected a cache or images to learn from, found both.", remedy="--cache or --images, not both"
        )
    if cache is None and images is None:
        raise UsageError("No training data is given.", remedy="--cache cache.zarr, or --images DIR or CSV")
    others, source = (of_images, "--images") if cache is not None else (of_clips, "--cache")
    given = [name for name, value in others.items() if value is not None and value is not False]
    if given:
        raise UsageError(
            f"{', '.join(given)} can be used only with {source}.", remedy=f"leave out {' and '.join(given)}"
        )


def protocol_config(protocol: str | None, folds: int | None, *, loso: bool, holdout: bool, fold: str | None) -> Any:
    """Return the protocol that is asked for; none where none is."""
    from ...train.config.protocol import ProtocolConfig

    found = protocol_options(protocol, folds, loso=loso, holdout=holdout)
    kind, number = found["protocol.kind"], found["protocol.folds"]
    if kind is None and fold is None:
        return None
    return ProtocolConfig(kind=kind or "auto", folds=number, only=(fold,) if fold is not None else ())


def scores(card: dict[str, Any]) -> list[str]:
    """Return how well the weights that are kept do."""
    lines = [card["trained_on"]]
    for what, found in card["validation"].items():
        share = f"WAR {found['war']:.1%} ({found['right']}/{found['total']}), UAR {found['uar']:.1%}"
        lines.append(f"validation, {what}: {share}, epoch {card['kept']['epoch']}")
    return [*lines, *(f"leak, allowed: {words}" for words in card["leaks"])]
