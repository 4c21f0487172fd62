"""`est sweep`: settings searched on a cache, chosen for each outer fold without its test half."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import UsageError
from ...train.models.registry import MODELS
from ..choices import Stacking
from ..options import examples, with_options_of
from ..panels import DATA, MACHINE, MODEL, OUTPUT, SEARCH
from ..screen import Screen
from .modelflags import MODEL_LIST, with_model_flags
from .protocoloptions import By, Folds, Holdout, Loso, Protocol, Settings, protocol_options
from .trainoptions import (
    MODEL_NAMES,
    Balanced,
    Config,
    Device,
    Feature,
    Leak,
    Only,
    Precision,
    Preset,
    Threads,
)

if TYPE_CHECKING:
    from ...sweep.search.settings import SweepConfig
    from ...sweep.space.space import Space
    from ...train.config.config import TrainConfig


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


CachePath = Annotated[Path, typer.Option("--cache", "-c", help="The cache to search on.", rich_help_panel=DATA)]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        "--output",
        help="The folder of the sweep. [default: sweeps/<cache>]\n\n"
        "An unfinished sweep of the same settings is resumed, or joined.",
        rich_help_panel=OUTPUT,
    ),
]
SpaceFile = Annotated[
    Path | None,
    typer.Option(
        "--space", help="A TOML file of the search space. [default: that of the model]", rich_help_panel=SEARCH
    ),
]
Model = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME",
        autocompletion=lambda: list(MODELS),
        help=f"{MODEL_NAMES}\n\n[default: est] May be repeated: one space of several models. {MODEL_LIST}.",
        rich_help_panel=MODEL,
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials",
        help="Trials of each outer fold. [default: 20]\n\nWith --minutes no limit by default, of a grid all.",
        rich_help_panel=SEARCH,
    ),
]
Minutes = Annotated[
    float,
    typer.Option(
        "--minutes",
        help="Begin no trial after N minutes. [default: no limit]",
        metavar="N",
        show_default=False,
        rich_help_panel=SEARCH,
    ),
]
SamplerName = Annotated[
    Sampler,
    typer.Option(
        "--sampler", help="How settings are drawn.\n\ntpe uses the results of earlier trials.", rich_help_panel=SEARCH
    ),
]
PrunerName = Annotated[
    Pruner, typer.Option("--pruner", help="Which trials are stopped early.", rich_help_panel=SEARCH.rare)
]
ObjectiveName = Annotated[
    Objective, typer.Option("--objective", help="The score that trials are compared by.", rich_help_panel=SEARCH)
]
Inner = Annotated[
    int,
    typer.Option(
        "--inner",
        help="Folds of the inner validation, by subject; 1: one part. [default: 3 below 500 training clips, else 1]",
        show_default=False,
        rich_help_panel=SEARCH.rare,
    ),
]
Keep = Annotated[
    int, typer.Option("--keep", help="Checkpoints kept, of the best trials of each study.", rich_help_panel=OUTPUT.rare)
]
SearchControl = Annotated[
    bool,
    typer.Option(
        "--control/--no-control", help="Search the control too, with as many trials.", rich_help_panel=SEARCH.rare
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of what the studies draw.", rich_help_panel=SEARCH.rare)]
Storage = Annotated[
    str,
    typer.Option(
        "--storage",
        metavar="URL",
        help="Keep the studies in a database, which several machines may share. [default: --out]",
        rich_help_panel=SEARCH.rare,
    ),
]
WorkersNumber = Annotated[
    int,
    typer.Option(
        "--workers",
        "--num-workers",
        help="Searching processes. [default: one per core on a CPU, else 1]",
        show_default=False,
        rich_help_panel=MACHINE,
    ),
]
StackName = Annotated[
    Stacking | None,
    typer.Option(
        "--stack",
        help="Train models of one shape as one stacked model: auto: if that is faster; on: wherever possible; off. "
        "[default: auto]",
        rich_help_panel=MACHINE.rare,
    ),
]
Retrain = Annotated[
    bool,
    typer.Option(
        "--retrain-best/--no-retrain-best",
        help="Train and score each fold's choice once.\n\n"
        "Each is trained on its whole training half with several seeds, and scored on the test half.",
        show_default=False,
        rich_help_panel=SEARCH,
    ),
]
Seeds = Annotated[
    int, typer.Option("--seeds", min=1, max=1000, help="Seeds of --retrain-best.", metavar="N", rich_help_panel=SEARCH)
]


Sweeping = Callable[..., int]  # (screen, cache, folder, base, space, config, models=…) → exit status


@with_model_flags
def asked(
    screen: Screen,
    then: Sweeping,
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
    """Turn options into a base configuration and a space, refuse what does not go together, and `then` sweep."""
    from ...train.config.configfile import resolve

    names = tuple(model or ())
    options: dict[str, Any] = {
        "loop.precision": precision,
        "loop.threads": threads,
        "loop.stack": stack,
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
    from ...sweep.search.settings import TRIALS, SweepConfig
    from ...sweep.search.sweeping import own_base
    from ...sweep.space.tables import read_space

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
    more = {"models": names, "storage": storage, "workers": workers, "retrain_seeds": seeds if retrain_best else 0}
    return then(screen, cache, out or default_folder(cache), base, searched, how, **more)


@examples(
    "est sweep --cache cache.zarr --trials 30 --retrain-best",
    "est sweep --cache cache.zarr --model est --model gru --minutes 60",
    "est sweep --cache cache.zarr --space space.toml --out sweeps/mine",
)
@with_options_of(asked)
def sweep(screen: Screen, **options: Any) -> int:
    """Search settings for each fold inside its training half. The same command resumes."""
    return asked(screen, run, **options)


def run(
    screen: Screen,
    cache: Path,
    out: Path,
    base: TrainConfig,
    space: Space | None,
    config: SweepConfig,
    **more: Any,
) -> int:
    """Sweep, and show what was found."""
    from ...sweep.search.begun import HTML
    from ...sweep.search.sweeping import sweep_cache
    from .sweepview import closing, watching_sweep

    with watching_sweep(screen) as watch:
        found = sweep_cache(cache, out, base, space, config, **more, watch=watch)
    lines = [*closing(found, cache, out), f"page: {out / HTML}"]
    screen.result({"sweep": str(out), **found.to_json()}, "\n".join(lines))
    return 0


def default_folder(cache: Path) -> Path:
    """Return the folder of the sweep of a cache."""
    return Path("sweeps") / cache.resolve().name.removesuffix(".zarr").removesuffix(".h5")
