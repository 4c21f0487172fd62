"""`est tune`: labelled frames → better weights for `est extract`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import UsageError
from ..screen import Screen
from ..training.protocoloptions import By, Folds, Holdout, Loso, Protocol, protocol_options

OutFile = Annotated[Path, typer.Option("--out", "-o", help="The file of weights to write: .safetensors.")]
CachePath = Annotated[
    Path | None, typer.Option("--cache", "-c", help="Learn from a cache's crops, each frame with its clip's label.")
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR|CSV",
        help="Learn from labelled images: fer2013.csv, RAF-DB, AffectNet, a folder for each class, or a CSV.",
    ),
]
Votes = Annotated[Path | None, typer.Option("--votes", metavar="CSV", help="FER+'s votes on fer2013.csv: soft labels.")]
Only = Annotated[
    str | None, typer.Option("--fold", metavar="NAME", help="Learn from the training half of this fold alone.")
]
Split = Annotated[str | None, typer.Option("--split", help="Learn from the clips of this split alone: train.")]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="Where it starts: imagenet (not for commercial use), synface, random, a file or a run. "
        "[default: as the cache's features; imagenet for images]",
    ),
]
Normalize = Annotated[
    str | None, typer.Option("--normalize", help="Of pixels, for a file of weights: none, imagenet, or MEAN,STD.")
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="[default: 12]")]
Batch = Annotated[int | None, typer.Option("--batch", help="Frames in a step. [default: 64]")]
Rate = Annotated[float | None, typer.Option("--lr", help="The highest learning rate, of the head. [default: 1e-3]")]
Share = Annotated[
    float | None, typer.Option("--encoder-rate", help="Of the encoder, in rates of the head. [default: 0.1]")
]
Smoothing = Annotated[
    float | None, typer.Option("--label-smoothing", help="Share of the target given to all classes. [default: 0.1]")
]
Norms = Annotated[
    str | None, typer.Option("--batch-norm", help="train: the encoder's learn too; frozen. [default: train]")
]
Balanced = Annotated[
    bool | None, typer.Option("--balanced/--no-balanced", help="Draw every class equally often. [default: balanced]")
]
FramesPerClip = Annotated[
    int | None, typer.Option("--frames-per-clip", help="Frames drawn of a clip in an epoch, on average. [default: 8]")
]
Apex = Annotated[
    str | None,
    typer.Option(
        "--apex",
        help="Where clips are strongest, and frames drawn more often: uniform, middle, late, end. "
        "[default: auto, by the data set of the cache]",
    ),
]
Mirror = Annotated[
    bool | None, typer.Option("--mirror/--no-mirror", help="Mirror half of the pictures. [default: mirror]")
]
Shift = Annotated[float | None, typer.Option("--shift", help="Move pictures, up to this share. [default: 0.06]")]
Zoom = Annotated[float | None, typer.Option("--zoom", help="Scale pictures, up to this share. [default: 0.1]")]
Brightness = Annotated[float | None, typer.Option("--brightness", help="Light them, up to this share. [default: 0.25]")]
Occlusion = Annotated[
    float | None, typer.Option("--occlusion", help="Hide squares in half, up to this share. [default: 0.25]")
]
Select = Annotated[
    str | None,
    typer.Option("--select", help="val: the best epoch on an inner part of the clips; last. [default: val]"),
]
Size = Annotated[int | None, typer.Option("--size", help="Side of images in pixels. [default: 224]")]
Seed = Annotated[
    int | None, typer.Option("--seed", help="Of everything random; assigns folds as est train does. [default: 3456]")
]
Precision = Annotated[
    str | None, typer.Option("--precision", help="fp32, bf16, fp16, or auto: bf16 where it is fast. [default: auto]")
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Threads = Annotated[int | None, typer.Option("--threads", help="CPU threads; the same number gives the same bits.")]
Workers = Annotated[int | None, typer.Option("--workers", help="Threads that decode; one a core when left out.")]
AllowLeak = Annotated[
    bool,
    typer.Option(
        "--allow-leak",
        help="Start from weights that have learnt from clips to be chosen by or tested; the card says so.",
    ),
]


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
    batch_norm: Norms = None,
    balanced: Balanced = None,
    frames_per_clip: FramesPerClip = None,
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
    """Let the frame encoder learn on single labelled frames, for est extract --weights; Ctrl-C saves, the same command goes on."""
    of_clips = {
        "--protocol": protocol,
        "--folds": folds,
        "--loso": loso,
        "--holdout": holdout,
        "--fold": fold,
        "--split": split,
        "--frames-per-clip": frames_per_clip,
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
        "batch_norm": batch_norm,
        "balanced": balanced,
        "frames_per_clip": frames_per_clip,
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
        raise UsageError("A cache and images are two sources to learn from.", remedy="--cache or --images, not both")
    if cache is None and images is None:
        raise UsageError("Learn from what?", remedy="--cache cache.zarr, or --images DIR or CSV")
    others, source = (of_images, "--images") if cache is not None else (of_clips, "--cache")
    given = [name for name, value in others.items() if value is not None and value is not False]
    if given:
        raise UsageError(f"{', '.join(given)} go with {source}.", remedy=f"leave out {' and '.join(given)}")


def protocol_config(protocol: str | None, folds: int | None, *, loso: bool, holdout: bool, fold: str | None) -> Any:
    """Return the protocol that is asked for; none where none is."""
    from ...train.config.protocol import ProtocolConfig

    found = protocol_options(protocol, folds, loso=loso, holdout=holdout)
    kind, number = found["protocol.kind"], found["protocol.folds"]
    if kind is None and fold is None:
        return None
    return ProtocolConfig(kind=kind or "auto", folds=number, only=(fold,) if fold is not None else ())


def scores(card: dict[str, Any]) -> list[str]:
    """Say how well the weights that are kept do."""
    lines = [card["trained_on"]]
    for what, found in card["validation"].items():
        share = f"WAR {found['war']:.1%} ({found['right']}/{found['total']}), UAR {found['uar']:.1%}"
        lines.append(f"validation, {what}: {share}, epoch {card['kept']['epoch']}")
    return [*lines, *(f"leak, allowed: {words}" for words in card["leaks"])]
