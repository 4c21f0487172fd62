"""`est recache --tune`: a cache → encoders trained on it, fold by fold → a cache of their features; with --train → a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from ...cache.remote.address import shown
from ...errors import UsageError, quoted
from ..choices import AutoPrecision, Dtype, RowsPrecision
from ..engineoptions import EngineOption, Engines
from ..options import examples
from ..panels import DATA, FEATURES, MACHINE, MODEL, OUTPUT, PROTOCOL, RECIPE
from ..screen import Screen
from ..training.protocoloptions import By, Folds, Holdout, Loso, Protocol, protocol_options
from ..training.trainoptions import PresetName
from . import tuneoptions as options
from .extractreport import show_report

if TYPE_CHECKING:
    from ...tune import TuneConfig

CachePath = Annotated[
    Path, typer.Argument(metavar="CACHE", help="The cache whose clips are used.", rich_help_panel=DATA)
]
OutCache = Annotated[
    Path,
    typer.Option(
        "--out", "-o", "--output", help="The new cache; .zarr or .h5 chooses the store.", rich_help_panel=OUTPUT
    ),
]
Tune = Annotated[
    bool,
    typer.Option(
        "--tune",
        help="Tune encoders on the training half of each fold; required.\n\n"
        "One for each fold, and one for each part of --cross-fit.",
        rich_help_panel=MODEL,
    ),
]
CrossFit = Annotated[
    int | None,
    typer.Option(
        "--cross-fit",
        metavar="K",
        help="Parts of a training half, with an encoder each. [default: 5]\n\n"
        "Features of training clips come from encoders trained on K − 1 of K parts, without these clips; 0: "
        "from the fold's one encoder.",
        rich_help_panel=MODEL,
    ),
]
Views = Annotated[
    int,
    typer.Option(
        "--views", metavar="K", help="Also K sets of features of changed crops, for training.", rich_help_panel=FEATURES
    ),
]
Encoders = Annotated[
    Path | None,
    typer.Option(
        "--encoders", help="The folder of the encoders' weights. [default: beside --out]", rich_help_panel=OUTPUT.rare
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--fold", metavar="NAME", help="For this fold alone; may be repeated.", rich_help_panel=PROTOCOL),
]
Features = Annotated[
    str,
    typer.Option(
        "--features",
        help="gap, layer1 to layer4, pyramid4x4; commas between.",
        metavar="NAME,…",
        rich_help_panel=FEATURES,
    ),
]
Flip = Annotated[bool, typer.Option("--flip", help="Also the features of mirrored crops.", rich_help_panel=FEATURES)]
Crops = Annotated[bool, typer.Option("--crops", help="Copy the crops into the new cache.", rich_help_panel=OUTPUT.rare)]
DtypeOption = Annotated[
    Dtype, typer.Option("--dtype", help="Type of the cached numbers.", rich_help_panel=FEATURES.rare)
]
TuningPrecision = Annotated[
    str | None,  # int8 has an answer of its own, below
    typer.Option(
        "--precision",
        metavar="NAME",
        autocompletion=lambda: list(get_args(AutoPrecision)),
        help="fp32, bf16, fp16, or auto: bf16 where it is fast. [default: auto]",
        rich_help_panel=MACHINE,
    ),
]
RowsPrecisionOption = Annotated[
    RowsPrecision | None,
    typer.Option(
        "--rows-precision",
        help="Precision of the new features: auto, fp32, bf16, fp16 or int8. [default: that of --precision]",
        metavar="NAME",
        rich_help_panel=MACHINE.rare,
    ),
]
Train = Annotated[bool, typer.Option("--train", help="Then train on it, and evaluate the run.", rich_help_panel=OUTPUT)]
RunPath = Annotated[
    Path | None,
    typer.Option(
        "--run", help="With --train: the folder of the run. [default: beside --out]", rich_help_panel=OUTPUT.rare
    ),
]
Preset = Annotated[
    PresetName | None,
    typer.Option(
        "--preset",
        help="With --train: a preset of est train. [default: official]",
        metavar="NAME",
        rich_help_panel=RECIPE.rare,
    ),
]

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="With --train: set any setting of it by its name; may be repeated.",
        rich_help_panel=RECIPE.rare,
    ),
]


@examples(
    "est recache cache.zarr --tune --out tuned.zarr --folds 5 --views 3",
    "est recache cache.zarr --tune --out tuned.zarr --protocol dfew --train",
)
def recache(
    screen: Screen,
    *,
    cache: CachePath,
    out: OutCache,
    tune: Tune = False,
    cross_fit: CrossFit = None,
    views: Views = 0,
    encoders: Encoders = None,
    protocol: Protocol = None,
    folds: Folds = None,
    loso: Loso = False,
    holdout: Holdout = False,
    by: By = None,
    fold: Only = None,
    weights: options.Weights = None,
    normalize: options.Normalize = None,
    epochs: options.Epochs = None,
    batch: options.Batch = None,
    lr: options.Rate = None,
    encoder_rate: options.Share = None,
    label_smoothing: options.Smoothing = None,
    average: options.Average = None,
    batch_norm: options.Norms = None,
    frames_per_clip: options.FramesPerClip = None,
    together: options.Together = None,
    apex: options.Apex = None,
    select: options.Select = None,
    seed: options.Seed = None,
    features: Features = "gap",
    flip: Flip = False,
    crops: Crops = False,
    dtype: DtypeOption = "float16",
    precision: TuningPrecision = None,
    rows_precision: RowsPrecisionOption = None,
    engine: EngineOption = Engines.auto,
    device: options.Device = None,
    threads: options.Threads = None,
    workers: options.Workers = None,
    train: Train = False,
    run: RunPath = None,
    preset: Preset = None,
    settings: Settings = None,
) -> int:
    """Tune an encoder for each fold and cache its features. No fold learns from its test clips. The same command resumes.

    est tune: one encoder alone; est train --finetune: encoder and model together.
    """
    if not tune:
        raise UsageError(
            "No encoder is given: --tune trains encoders on the clips themselves.",
            remedy=f"--tune; with existing weights: est extract --from {quoted(shown(cache))} --weights FILE --out {quoted(out)}",
        )
    of_train = {"--run": run, "--preset": preset, "--set": settings}
    if not train and (given := [name for name, value in of_train.items() if value]):
        raise UsageError(
            f"{', '.join(given)} can be used only with --train.", remedy=f"--train, or leave out {' and '.join(given)}"
        )
    from ...cache import open_cache
    from ...encoders.device import parse_device
    from ...encoders.precision import resolve_precision
    from ...extract.config import ExtractConfig
    from ...extract.recaching import expect_recachable
    from ...extract.recaching import recache as make_cache
    from ...train.config.protocol import ProtocolConfig
    from ...tune import TuneConfig, tune_folds
    from ...tune.crossfit import PARTS

    named = protocol_options(protocol, folds, loso=loso, holdout=holdout)
    protocol_settings: dict[str, Any] = {
        "kind": named["protocol.kind"],
        "folds": named["protocol.folds"],
        "by": by,
        "only": tuple(fold) if fold else None,
    }
    protocol_settings = {name: value for name, value in protocol_settings.items() if value is not None}
    if precision == "int8":
        raise UsageError(
            "Encoders are tuned in auto, fp32, bf16 or fp16, and not in int8; the rows of the new cache may be.",
            remedy="--rows-precision int8 in place of --precision int8",
        )
    chosen = {
        "weights": weights,
        "normalize": normalize,
        "epochs": epochs,
        "batch": batch,
        "learning_rate": lr,
        "rate": encoder_rate,
        "label_smoothing": label_smoothing,
        "average": average,
        "batch_norm": batch_norm,
        "frames_per_clip": frames_per_clip,
        "together": together,
        "apex": apex,
        "select": select,
        "seed": seed,
        "by": by,
        "precision": precision,
        "device": device,
        "threads": threads,
        "workers": workers,
    }
    given_tune: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    config = TuneConfig(**given_tune)
    extract = ExtractConfig(
        features=tuple(part.strip() for part in features.split(",")),
        flip=flip,
        crops=crops,
        dtype=dtype,
        precision=rows_precision or config.precision,
        engine=engine.value,
        device=config.device,
        workers=workers,
    )
    source = open_cache(cache)
    resolve_precision(config.precision, parse_device(config.device))  # refused before encoders are tuned
    expect_recachable(source, out, extract, views=views, crops=crops, option="--rows-precision")
    wanted = training(config, protocol_settings, preset, settings, views=views, flip=flip) if train else None
    trained = run or out.with_name(f"{out.stem}-run")
    if wanted is not None and not trained.exists():
        # refused before encoders are tuned
        remedy = "--set loop.precision=fp32, which is the precision of the training"
        resolve_precision(wanted.loop.precision, parse_device(wanted.device), remedy=remedy)
    parts = PARTS if cross_fit is None else cross_fit
    with screen.watching() as watch:
        arrays = tune_folds(
            source,
            out,
            config,
            protocol=ProtocolConfig(**protocol_settings),
            parts=parts,
            taps=extract.features,
            crops=crops,
            encoders=encoders,
            watch=watch,
        )
    with screen.watching() as watch:
        report = make_cache(source, out, arrays, extract, views=views, crops=crops, watch=watch)
    if wanted is None or report.interrupted:
        return show_report(screen, report, out)
    return train_and_score(screen, out, trained, wanted)


def training(
    config: TuneConfig,
    protocol_settings: dict[str, Any],
    preset: str | None,
    settings: list[str] | None,
    *,
    views: int,
    flip: bool,
) -> Any:
    """Return how the new cache is learnt from: the same folds, and all looks at its clips."""
    from ...train.config.configfile import resolve

    same = {f"protocol.{name}": value for name, value in protocol_settings.items()}
    looks = {"data.views": True if views else None, "data.mirrored": True if flip else None}
    ours = {"seeds": (config.seed,), "device": config.device, "loop.threads": config.threads or None}
    return resolve(preset, None, settings or (), {**same, **looks, **ours})


def train_and_score(screen: Screen, cache: Path, path: Path, config: Any) -> int:
    """Train, or resume the run, and evaluate it."""
    from ...train import evaluate, fit
    from ...train.results.pages.summary import headline, part_lines
    from ...train.runs.run import FACTS, Run
    from ..results.evaluate import lines

    begun = (path / FACTS).exists()
    with screen.watching() as watch:
        if begun and Run.open(path).complete:
            watch.say(f"{path} is trained already")
            found = evaluate(path, watch=watch)
            screen.result({"cache": str(cache), **found.to_json()}, "\n".join(lines(found)))
            return 0
        results = fit(cache, path, config, resume=begun, watch=watch)
        again = evaluate(path, watch=watch)
    if (again.scores.right, again.scores.total) != (results.scores.right, results.scores.total):
        screen.warn("Scoring the models again gives other predictions than before.")
    shown = [results.run.facts["heading"], *headline(results), *part_lines(results)]
    shown += [f"summary: {path / 'summary.md'}", f"cache: {cache}"]
    screen.result({"cache": str(cache), "run": str(path), **results.to_json()}, "\n".join(shown))
    return 0
