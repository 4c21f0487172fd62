"""`est sweep`: settings searched on a cache, honestly chosen for each outer fold."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import UsageError
from ..screen import Screen
from .modelflags import MODEL_LIST, with_model_flags
from .protocoloptions import By, Folds, Holdout, Loso, Protocol, Settings, protocol_options
from .train import Balanced, Config, Device, Feature, Leak, Only, Precision, Preset, Threads


class Sampler(StrEnum):
    """How settings are drawn."""

    tpe = "tpe"
    random = "random"
    grid = "grid"


class Pruner(StrEnum):
    """Which trials are stopped early."""

    median = "median"
    hyperband = "hyperband"
    none = "none"


class Objective(StrEnum):
    """What trials are compared by."""

    uar = "uar"
    war = "war"


class Stack(StrEnum):
    """Whether trainings of one shape are trained as one stacked model."""

    auto = "auto"
    on = "on"
    off = "off"


CachePath = Annotated[Path, typer.Option("--cache", "-c", help="The cache to search on.")]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="The folder of the sweep; an unfinished one of the same settings is resumed, or joined. [default: sweeps/<cache>]",
    ),
]
SpaceFile = Annotated[
    Path | None,
    typer.Option("--space", help="A TOML file of what is searched. [default: the built-in space of the model]"),
]
Model = Annotated[
    list[str] | None,
    typer.Option(
        "--model", metavar="NAME", help=f"{MODEL_LIST}; may be repeated: one space of several. [default: est]"
    ),
]
Trials = Annotated[
    int | None,
    typer.Option("--trials", help="Trials of each outer fold. [default: 20; with --minutes no limit; of a grid all]"),
]
Minutes = Annotated[float, typer.Option("--minutes", help="Begin no trial after so many minutes; 0: no limit.")]
SamplerName = Annotated[
    Sampler, typer.Option("--sampler", help="How settings are drawn: tpe learns from earlier trials.")
]
PrunerName = Annotated[Pruner, typer.Option("--pruner", help="Which trials are stopped early.")]
ObjectiveName = Annotated[Objective, typer.Option("--objective", help="The score that trials are compared by.")]
Inner = Annotated[
    int,
    typer.Option(
        "--inner",
        help="Folds of the inner validation, by subject; 1: one part. [default: 3 below 500 training clips, else 1]",
        show_default=False,
    ),
]
Keep = Annotated[int, typer.Option("--keep", help="Checkpoints kept, of the best trials of each study.")]
SearchControl = Annotated[
    bool, typer.Option("--control/--no-control", help="Search the control, too, with as many trials.")
]
Seed = Annotated[int, typer.Option("--seed", help="Of what the studies draw.")]
Storage = Annotated[
    str,
    typer.Option(
        "--storage",
        metavar="URL",
        help="Keep the studies in a database, which several machines may share. [default: --out]",
    ),
]
WorkersNumber = Annotated[
    int,
    typer.Option(
        "--workers", help="Processes that search at once. [default: one a core on a CPU, else 1]", show_default=False
    ),
]
StackName = Annotated[
    Stack | None,
    typer.Option(
        "--stack",
        help="Train models of one shape as one stacked model: auto, where that is faster; on, wherever possible; off. "
        "[default: auto]",
    ),
]
Retrain = Annotated[
    bool,
    typer.Option(
        "--retrain-best/--no-retrain-best",
        help="Train each fold's choice on its whole training half with several seeds, and score it once.",
    ),
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, max=1000, help="How many seeds --retrain-best trains with.")]


@with_model_flags
def sweep(
    screen: Screen,
    *,
    cache: CachePath,
    out: OutFolder = None,
    space: SpaceFile = None,
    model: Model = None,
    trials: Trials = None,
    minutes: Minutes = 0.0,
    sampler: SamplerName = Sampler.tpe,
    pruner: PrunerName = Pruner.median,
    objective: ObjectiveName = Objective.uar,
    inner: Inner = 0,
    keep: Keep = 1,
    seed: Seed = 0,
    storage: Storage = "",
    workers: WorkersNumber = 0,
    stack: StackName = None,
    retrain_best: Retrain = False,
    seeds: Seeds = 3,
    preset: Preset = None,
    config: Config = None,
    settings: Settings = None,
    feature: Feature = None,
    balanced: Balanced = None,
    protocol: Protocol = None,
    folds: Folds = None,
    loso: Loso = False,
    holdout: Holdout = False,
    by: By = None,
    fold: Only = None,
    precision: Precision = None,
    device: Device = None,
    threads: Threads = None,
    control: SearchControl = True,
    allow_leak: Leak = None,
    **of_model: Any,
) -> int:
    """Search settings for each outer fold inside its training half; the same command resumes, or joins in."""
    from ...train.config.configfile import resolve

    names = tuple(model or ())
    options: dict[str, Any] = {
        "loop.precision": precision.value if isinstance(precision, StrEnum) else precision,
        "loop.threads": threads,
        "loop.stack": stack.value if stack is not None else None,
        "model.name": names[0] if names else None,
        **of_model,
        "data.feature": feature,
        "data.balanced": balanced,
        **protocol_options(protocol, folds, loso=loso, holdout=holdout),
        "protocol.by": by,
        "protocol.only": tuple(fold) if fold else None,
        "device": device,
        "allow_leak": allow_leak,
    }
    base = resolve(preset, config, settings or (), options)
    base.expect_read(feature)
    from ...sweep.search.begun import HTML
    from ...sweep.search.settings import TRIALS, SweepConfig
    from ...sweep.search.sweeping import own_base, sweep_cache
    from ...sweep.space.tables import read_space
    from .sweepview import closing, watching_sweep

    if space is not None and len(names) > 1:
        raise UsageError(
            "--space says which models are searched, and several --model do, too.",
            remedy=f"model.name = {list(names)} in {space}, and one --model or none".replace("'", '"'),
        )
    searched = read_space(space, model=base.model.name, base=own_base(base)) if space is not None else None
    num_trials = trials
    if num_trials is None:
        whole_grid = sampler is Sampler.grid and searched is not None and searched.finite
        num_trials = 0 if minutes else searched.size() if whole_grid and searched is not None else TRIALS
    how = SweepConfig(
        trials=num_trials,
        minutes=minutes,
        sampler=sampler.value,
        pruner=pruner.value,
        objective=objective.value,
        inner=inner,
        keep=keep,
        control=control,
        seed=seed,
    )
    out = out or default_folder(cache)
    with watching_sweep(screen) as watch:
        found = sweep_cache(
            cache,
            out,
            base,
            searched,
            how,
            models=names,
            storage=storage,
            workers=workers,
            retrain_seeds=seeds if retrain_best else 0,
            watch=watch,
        )
    lines = [*closing(found, cache, out), f"page: {out / HTML}"]
    screen.result({"sweep": str(out), **found.to_json()}, "\n".join(lines))
    return 0


def default_folder(cache: Path) -> Path:
    """Return the folder of the sweep of a cache."""
    return Path("sweeps") / cache.resolve().name.removesuffix(".zarr").removesuffix(".h5")
