"""All tables by their names, in the order of the paper."""

from __future__ import annotations

import difflib
from typing import Any

from ....errors import UsageError
from ....inputs.published.est_paper import CLIPS, datasets_of
from ..table import Table
from .components import ABLATION, ATTENTION, FUSION, ORDER_ACCURACY, POSITION, ZERO_MIDDLE
from .sizes import LAYERS_HEADS, ORDERS, SNIPPETS
from .systems import (
    ATTENTION_INDEX,
    COMPLEXITY,
    CONFUSION,
    CONVERGENCE,
    CROSS_DATABASE,
    DATASETS,
    EMBEDDING,
    OVERALL,
    START_FRAMES,
)

ALL = "all"
CROSS = CROSS_DATABASE.name
TABLES = {
    table.name: table
    for table in (
        DATASETS,
        OVERALL,
        ABLATION,
        ATTENTION,
        ORDER_ACCURACY,
        ZERO_MIDDLE,
        COMPLEXITY,
        CROSS_DATABASE,
        FUSION,
        POSITION,
        CONFUSION,
        CONVERGENCE,
        START_FRAMES,
        ATTENTION_INDEX,
        ORDERS,
        SNIPPETS,
        LAYERS_HEADS,
        EMBEDDING,
    )
}


def tables_named(what: str) -> tuple[Table, ...]:
    """Return the table of a name, or all of them."""
    if what == ALL:
        return tuple(TABLES.values())
    if what not in TABLES:
        near = difflib.get_close_matches(what.lower(), (*TABLES, ALL), n=1, cutoff=0.4)
        raise UsageError(
            f"There is no table {what!r}; there are {', '.join(TABLES)}, and {ALL}.",
            remedy=f"est reproduce {near[0]}" if near else "est reproduce --list",
        )
    return (TABLES[what],)


def list_tables() -> list[dict[str, Any]]:
    """Return every table: its name, what it shows, what it trains and needs, and for which data sets the paper prints numbers."""
    return [
        {
            "name": table.name,
            "paper": table.number,
            "what": table.title,
            "rows": [row.label for row in table.rows],
            "trains": len({str(sorted(row.settings.items())) for row in table.rows}) if table.trains else 0,
            "needs": table.needs,
            "paper_numbers": list(datasets_of(table.source))
            or (list(CLIPS) if table.classes or table.name == "datasets" else []),
        }
        for table in TABLES.values()
    ]
