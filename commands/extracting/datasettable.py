"""What est extract says of data sets: those that are known, and the check of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..detectortable import table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...inputs.published import Check, CountRow, Dataset


def datasets_data(datasets: Iterable[Dataset]) -> dict[str, Any]:
    """Return the JSON data of the data sets."""
    return {
        "datasets": [
            {
                "name": one.name,
                "aliases": list(one.aliases),
                "title": one.title,
                "labels": list(one.labels),
                "licence": one.licence,
                "layouts": list(one.layouts),
                "protocol": one.protocol,
                "published": {name: list(counts) for name, counts in one.published.items()},
            }
            for one in datasets
        ]
    }


def datasets_text(datasets: Iterable[Dataset]) -> str:
    """Format the data sets as text."""
    lines = []
    for one in datasets:
        lines += [f"{one.name}\t{one.title}" + (f" (also {', '.join(one.aliases)})" if one.aliases else "")]
        lines += [f"    layout    {layout}" for layout in one.layouts]
        lines += [f"    classes   {', '.join(one.labels)}"] if one.labels else []
        lines += [f"    protocol  {one.protocol}", f"    licence   {one.licence}"]
    return "\n".join(lines)


def check_text(check: Check) -> str:
    """Format a check as text: the counts, then everything that was found."""
    cells = [("", "published", "listed", "with files", "")] + [_cells(row) for row in check.rows]
    return "\n".join(
        [
            f"{check.dataset.title}: {check.layout}",
            *table(cells),
            *(found.line() if found.is_expected else f"! {found.line()}" for found in check.findings),
            f"protocol: {check.dataset.protocol}",
        ]
    )


def _cells(row: CountRow) -> tuple[str, ...]:
    published = " / ".join(map(str, row.published)) or "–"
    return (row.name, published, str(row.listed), str(row.present), "← not as published" if row.differs else "")
