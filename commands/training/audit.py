"""`est audit`: how far a score on a cache may be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import UsageError
from ..choices import Selection
from ..options import examples
from ..panels import DATA, OUTPUT, PROTOCOL, RECIPE
from ..screen import Screen
from .modelflags import with_model_flags
from .protocoloptions import By, Folds, Holdout, Loso, Protocol, Settings, protocol_options
from .trainoptions import (
    Balanced,
    Batch,
    Config,
    Control,
    Device,
    Epochs,
    Feature,
    Leak,
    Model,
    Only,
    Precision,
    Preset,
    Rate,
    Threads,
    parse_seeds,
)

CachePath = Annotated[Path, typer.Argument(metavar="CACHE", help="The cache to audit.", rich_help_panel=DATA)]
OutFolder = Annotated[
    Path,
    typer.Option(
        "--out", "-o", "--output", help="The folder of the audit; an unfinished one is resumed.", rich_help_panel=OUTPUT
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        metavar="N | N,N…",
        help="The number of seeds, or the seeds. [default: 3, from 3456 on]",
        rich_help_panel=RECIPE,
    ),
]
Permutations = Annotated[
    int,
    typer.Option(
        "--permutations",
        help="Trainings of every fold on labels permuted within people.\n\n0 leaves them out.",
        rich_help_panel=PROTOCOL,
    ),
]
Select = Annotated[
    Selection | None,
    typer.Option(
        "--select",
        help="The epoch whose score counts: the last, or the best on an inner val part.",
        rich_help_panel=PROTOCOL,
    ),
]


@examples(
    "est audit cache.zarr --out audit --preset fast",
    "est audit cache.zarr --out audit --model gru --folds 10 --seeds 5 --permutations 40",
)
@with_model_flags
def audit(
    screen: Screen,
    *,
    cache: CachePath,
    out: OutFolder,
    permutations: Permutations = 10,
    seeds: Seeds = None,
    preset: Preset = None,
    config: Config = None,
    settings: Settings = None,
    epochs: Epochs = None,
    batch: Batch = None,
    lr: Rate = None,
    model: Model = None,
    feature: Feature = None,
    balanced: Balanced = None,
    protocol: Protocol = None,
    folds: Folds = None,
    loso: Loso = False,
    holdout: Holdout = False,
    by: By = None,
    fold: Only = None,
    select: Select = None,
    precision: Precision = None,
    device: Device = None,
    threads: Threads = None,
    control: Control = None,
    allow_leak: Leak = None,
    **of_model: Any,
) -> int:
    """Test how far a score may be trusted: seeds, permuted labels. Every fold is trained. The same command resumes."""
    from ...train.config.configfile import resolve

    options: dict[str, Any] = {
        "loop.epochs": epochs,
        "loop.batch": batch,
        "loop.learning_rate": lr,
        "loop.precision": precision,
        "loop.threads": threads,
        "model.name": model,
        **of_model,
        "data.feature": feature,
        "data.balanced": balanced,
        **protocol_options(protocol, folds, loso=loso, holdout=holdout),
        "protocol.by": by,
        "protocol.only": tuple(fold) if fold else None,
        "select": select,
        "device": device,
        "control": control,
        "allow_leak": allow_leak,
    }
    wanted = resolve(preset, config, settings or (), options)
    wanted.expect_effective()
    from dataclasses import replace

    from ...sweep.audit.auditing import PAGE, SEEDS, audit_cache, seeds_from
    from ...sweep.audit.page import lines

    given = how_many_or_which(seeds, wanted.seeds)
    if seeds is None and len(given) == 1:
        given = seeds_from(given[0], SEEDS)
    with screen.watching() as watch:
        found = audit_cache(cache, out, replace(wanted, seeds=given), permutations=permutations, watch=watch)
    screen.result({"audit": str(out), **found.to_json()}, "\n".join([*lines(found), f"page: {out / PAGE}"]))
    return 0


def how_many_or_which(text: str | None, known: tuple[int, ...]) -> tuple[int, ...]:
    """Read 3 as three seeds from the first known one on, and 1,2,3 as these."""
    if text is None:
        return known
    read = parse_seeds(text)
    assert read is not None
    if len(read) > 1 or "," in text:
        return read
    if not 2 <= read[0] <= 1000:
        raise UsageError(f"An audit takes 2 to 1000 seeds, found {read[0]}.", remedy="--seeds 3, or --seeds 1,2,3")
    return tuple(range(known[0], known[0] + read[0]))
