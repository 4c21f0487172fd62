"""What stands above a table: on which cache it was made, what its rows read, how they were trained and what the numbers are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...train.announcement import heading
from ...train.folds.annotations import Annotations
from ...train.folds.published import named
from ...train.models.contract import CROPS
from .measures.measured import Measured
from .runs import Runs
from .table import Row, Table


def caption(table: Table, rows: Sequence[Row], runs: Runs, found: Measured) -> str:
    """Say on what a table was made, and how."""
    name = runs.cache.path.name
    if not table.rows:
        return f"{name}."
    config, plan = runs.recipe.config(), runs.plan
    head = f"{name}; {reads_of(rows, runs)}"
    preset = f"preset {runs.recipe.preset}" if runs.recipe.preset else f"settings of {runs.recipe.file}"
    if table.measure == "complexity":
        return f"{head}; {preset}."
    tested = sum(len(fold.test) for fold in plan.folds)
    seeds, epochs = config.seeds, config.loop.epochs
    said = ["mean ± sd over seeds"] if len(seeds) > 1 else []
    if any("95" in column for line in found.lines for column, cell in line.items() if " to " in cell.words):
        said.append(f"95 % intervals over {units_of(runs)}")
    learns = heading(config) if config.looks_at_frames else "The encoder is frozen"
    learns += "; its last stage learns in models that hold it" * any(runs.config(row).model.last_stage for row in rows)
    learns += "; models of crops have none, and learn from pictures" * any(
        runs.config(row).model.reads == CROPS for row in rows
    )
    return (
        f"{head}; protocol {named(config.protocol.kind, plan.kind)}, {len(plan.folds)} fold{'s' * (len(plan.folds) > 1)}, independence "
        f"{plan.independence}, {tested} tested clips; {preset}, {epochs} epoch{'s' * (epochs > 1)}, seed{'s' * (len(seeds) > 1)} "
        f"{', '.join(map(str, seeds))}{'; ' * bool(said)}{', '.join(said)}. {learns}."
    )


def reads_of(rows: Sequence[Row], runs: Runs) -> str:
    """Return what rows read, and of some that read something else than the most which they are."""
    labels: dict[str, list[str]] = {}
    for row in rows:
        config = runs.config(row)
        labels.setdefault(CROPS if config.model.reads == CROPS else config.feature, []).append(row.label)
    most = max(labels, key=lambda name: len(labels[name]))
    others = [f"{', '.join(labels[name])}: {_encoder(name, runs)}" for name in labels if name != most]
    return "; ".join([_encoder(most, runs), *others])


def units_of(runs: Runs) -> str:
    """Say over what intervals are: people, or clips where not one person is known."""
    people = Annotations.from_cache(runs.cache).subject
    tested = np.concatenate([fold.test for fold in runs.plan.folds])
    return "people" if (people[tested] != "").any() else "clips"


def _encoder(name: str, runs: Runs) -> str:
    made = runs.cache.recipes.features.get(name)
    return f"{name} of {made.backbone} ({made.weights})" if made is not None else name
