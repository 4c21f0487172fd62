"""`est reproduce`: the tables and figures of the EST paper on a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import STATUS_PARTIAL, UsageError
from ..cachenames import is_cache_name
from ..options import examples
from ..panels import INPUT, OUTPUT, PROTOCOL, RECIPE
from ..screen import Screen, columns
from .protocoloptions import By, Folds, Holdout, Loso, Protocol, Settings, protocol_options
from .trainoptions import Batch, Config, Device, Feature, Leak, Precision, PresetName, Rate, Stack, Threads, parse_seeds

What = Annotated[
    str | None,
    typer.Argument(
        metavar="WHAT",
        help="A table or figure of the paper, or all; --list lists them.",
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
CachePath = Annotated[
    Path | None, typer.Option("--cache", "-c", help="The cache to use.", show_default=False, rich_help_panel=INPUT)
]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        "--output",
        help="The folder of runs and tables. [default: reproduced/<cache>]\n\n"
        "Other tables of the same settings may be there already.",
        rich_help_panel=OUTPUT,
    ),
]
ListTables = Annotated[
    bool,
    typer.Option(
        "--list",
        help="Show the tables, or WHAT alone, and exit.\n\nWith what they train and what they need.",
        rich_help_panel=INPUT,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show what would be trained and for how long, and exit.", rich_help_panel=OUTPUT),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        metavar="N,N…",
        help="Train once for each. [default: 1,2,3, or those of --config]",
        rich_help_panel=RECIPE,
    ),
]
Preset = Annotated[
    PresetName | None,
    typer.Option(
        "--preset",
        help="official (full width), small, fast, paper-text. [default: small]\n\n"
        "With --dataset the default is official.",
        metavar="NAME",
        rich_help_panel=RECIPE,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        help="Training epochs. [default: the preset's]\n\n60 of small, 160 of official.",
        rich_help_panel=RECIPE,
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="The data set of the cache: dfew, afew, bu4dfe or mmi.\n\n"
        "Its protocol is used, and the paper's numbers are shown beside these.",
        rich_help_panel=PROTOCOL,
    ),
]
TestCache = Annotated[
    Path | None,
    typer.Option(
        "--test-cache", help="For cross-database: another cache, with the same features.", rich_help_panel=INPUT.rare
    ),
]
NoModel = Annotated[
    str | None, typer.Option("--model", hidden=True, help="The rows of a table decide the model.")
]  # an answer to those who try it


@examples(
    "est reproduce --list",
    "est reproduce ablation --cache cache.zarr --dry-run",
    "est reproduce all --cache dfew.zarr --dataset dfew",
)
def reproduce(
    screen: Screen,
    *,
    what: What = None,
    cache: CachePath = None,
    out: OutFolder = None,
    list_tables: ListTables = False,
    dry_run: DryRun = False,
    dataset: Dataset = None,
    test_cache: TestCache = None,
    seeds: Seeds = None,
    preset: Preset = None,
    config: Config = None,
    settings: Settings = None,
    epochs: Epochs = None,
    batch: Batch = None,
    lr: Rate = None,
    feature: Feature = None,
    protocol: Protocol = None,
    folds: Folds = None,
    loso: Loso = False,
    holdout: Holdout = False,
    by: By = None,
    precision: Precision = None,
    device: Device = None,
    threads: Threads = None,
    stack: Stack = None,
    allow_leak: Leak = None,
    model: NoModel = None,
) -> int:
    """Make a table or figure of the EST paper on a cache. Trains, compares and draws. The same command resumes."""
    from ...sweep.reproduce.tables import catalogue

    if is_cache_name(what):
        raise UsageError(
            f"WHAT is a table, found {what!r}, which has the name of a cache.",
            remedy=f"est reproduce all --cache {what}; est reproduce --list shows the tables",
        )
    if list_tables:
        found = catalogue.list_tables(what)
        screen.result({"tables": found}, "\n".join(table_lines(found)))
        return 0
    if model is not None:
        raise UsageError(
            "The rows of a table say which models are trained: est reproduce has no --model.",
            remedy=f"est train --model {model} trains one model; est reproduce overall compares all",
        )
    if what is None:
        raise UsageError("Which table?", remedy="est reproduce ablation --cache CACHE; est reproduce --list shows all")
    catalogue.tables_named(what)  # refuses what is not there, before a cache is asked for
    if cache is None:
        raise UsageError("No cache is given: --cache names it.", remedy=f"est reproduce {what} --cache cache.zarr")
    from ...sweep.reproduce.recipe import Recipe
    from ...sweep.reproduce.reproducing import reproduce as make

    options: dict[str, Any] = {
        "loop.epochs": epochs,
        "loop.batch": batch,
        "loop.learning_rate": lr,
        "loop.precision": precision,
        "loop.threads": threads,
        "loop.stack": stack,
        "data.feature": feature,
        **protocol_options(protocol, folds, loso=loso, holdout=holdout),
        "protocol.by": by,
        "seeds": parse_seeds(seeds) if seeds is not None else None,
        "device": device,
        "allow_leak": allow_leak,
    }
    recipe = Recipe(preset=preset, file=config, settings=tuple(settings or ()), options=options)
    with screen.watching() as watch:
        made = make(
            what,
            cache,
            out,
            recipe,
            dataset=dataset or "",
            test_cache=test_cache,
            dry_run=dry_run,
            watch=watch,
        )
    screen.result(made.to_json(), "\n".join(made.lines).rstrip("\n"))
    return STATUS_PARTIAL if made.failed else 0


def table_lines(found: list[dict[str, Any]]) -> list[str]:
    """Format the tables as text."""
    rows = [("WHAT", "paper", "shows", "runs", "needs")]
    for one in found:
        trains = str(one["trains"]) if one["trains"] else "none"
        rows.append((one["name"], one["paper"], one["what"], trains, one["needs"] or "–"))
    if len(found) > 1:
        rows.append(("all", "", "all of these; rows of one configuration share a run", "", ""))
    return columns(rows)
