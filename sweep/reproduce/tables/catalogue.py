"""All tables by their names, in the order of the paper."""

from __future__ import annotations

import re
from typing import Any

from ....errors import UsageError, nearest
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
        near = next(iter(_numbered(what)), None) or nearest(what, (*TABLES, ALL), cutoff=0.4)
        raise UsageError(
            f"There is no table {what!r}; there are {', '.join(TABLES)}, and {ALL}.",
            remedy=f"est reproduce {near}" if near else "est reproduce --list",
        )
    return (TABLES[what],)


def _numbered(what: str) -> list[str]:
    """Return the tables of a number of the paper, as people write it (table6, Fig. 4): those of this number alone first."""
    kind, *numbers = _number(what)
    found = {table.name: _number(table.number) for table in TABLES.values()}
    names = [name for name, (one, *of) in found.items() if one == kind and len(numbers) == 1 and numbers[0] in of]
    return sorted(names, key=lambda name: len(found[name]))


def _number(text: str) -> list[str]:
    """Return the kind and the numbers of what the paper counts: Tables 2 to 5 → t 2 3 4 5."""
    words = re.findall(r"[a-z§]+|[0-9]+", text.lower())
    numbers = [int(word) for word in words if word.isdigit()]
    if "to" in words:
        numbers = list(range(numbers[0], numbers[-1] + 1))
    return ["".join(words)[:1], *map(str, numbers)]


def list_tables(what: str | None = None) -> list[dict[str, Any]]:
    """Return every table, or those of a name: what each shows, trains and needs, and for which data sets the paper prints numbers."""
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
        for table in tables_named(what or ALL)
    ]
