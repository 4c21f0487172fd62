"""The table of MEGC 2019 for people: on a terminal, in summary.md and on the page of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..megc import MegcRow, MegcTable
    from ..metrics import Spread

TITLE = "Table of MEGC 2019"
POOLED = "TP, FP and FN are pooled over all folds, then F1 is taken; it is never averaged over subjects."


def megc_cells(table: MegcTable) -> tuple[list[str], list[list[str]]]:
    """Return header and rows."""
    sd = " ± sd" if table.seeds > 1 else ""
    header = [
        "database",
        "clips",
        "subjects",
        f"UF1{sd}",
        "95 %",
        f"UAR{sd}",
        "95 %",
        *(f"F1 {label}" for label in table.labels),
    ]
    return header, [_cells(row) for row in table.rows]


def megc_notes(table: MegcTable) -> list[str]:
    """Return how the table is made, and what is shown with it."""
    fewer = [row.name for row in table.rows if not row.scores.present.all()]
    notes = [POOLED, *table.remarks]
    if fewer:
        notes.append(f"The clips of {', '.join(fewer)} lack classes: UF1 and UAR are means of those that there are.")
    return [*notes, *(f"published: {line}" for line in table.published)]


def megc_lines(table: MegcTable) -> list[str]:
    """Return the table as a terminal shows it."""
    header, rows = megc_cells(table)
    seeds = f", mean of {table.seeds} seeds" if table.seeds > 1 else ""
    cells = [header, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
    return [f"{TITLE}{seeds}", *lines, *(f"  {note}" for note in megc_notes(table))]


def _cells(row: MegcRow) -> list[str]:
    cells = [row.name, str(row.scores.total), str(row.people)]
    for name in ("uf1", "uar"):
        ends = row.intervals.get(name)
        cells += [_written(row.over_seeds[name]), f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else "–"]
    return [*cells, *(_share(value) for value in row.f1.values())]


def _written(value: Spread) -> str:
    return _share(value.mean) if value.sd is None else f"{value.mean:.4f} ± {value.sd:.4f}"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"
