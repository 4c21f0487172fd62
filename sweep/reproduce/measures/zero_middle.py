"""Models tested on clips whose middle is black, beside the same models on the whole clips."""

from __future__ import annotations

from collections.abc import Sequence

from ....train.data.feature_arrays import black_row
from ....train.evaluated import Change
from ....train.results.paired import Difference
from ..cells import difference, ends, named, over_seeds
from ..pictures import row_picture
from ..runs import Runs
from ..sheet import Cell, Line
from ..table import Row, Table
from .measured import Measured, compare, compare_changed, conclusions, paper_cell

MIDDLE = Change(zero="middle")


def expect(runs: Runs, rows: Sequence[Row]) -> None:
    """Refuse a cache that does not know what a black crop is."""
    config = runs.config(rows[0])
    if config.looks_at_frames:
        return
    ready = runs.ready(config)
    for which in ready.fold_data.reads.values():
        if plain := getattr(which, "plain", ""):
            black_row(runs.cache, plain)


def measure(table: Table, rows: Sequence[Row], runs: Runs) -> Measured:
    """Train the rows, and score them on both."""
    whole = {row.label: runs.predictions(row) for row in rows}
    empty = {row.label: runs.predictions(row, MIDDLE) for row in rows}
    differences: dict[tuple[str, str], Difference] = {}
    lines: list[Line] = []
    drawn = []
    for row in rows:
        plain, black, rival = whole[row.label], empty[row.label], table.rival(row)
        lost = compare_changed(black, plain)
        line: dict[str, Cell] = {
            "row": named(row.label),
            "WAR, whole": over_seeds("war_whole", plain.over_seeds["war"]),
            "WAR, empty middle": over_seeds("war", black.over_seeds["war"]),
            "95 %": ends("war", black.intervals.get("war")),
            "UAR, empty middle": over_seeds("uar", black.over_seeds["uar"]),
            "lost by emptying, points (95 %)": difference("lost", lost, "whole clips"),
        }
        if rival in empty:
            found = compare(black, empty[rival])
            differences[f"{row.label}, empty middle", f"{rival}, empty middle"] = found
            line[f"empty middle, against {table.baseline} (95 %)"] = difference("difference", found, rival)
        differences[f"{row.label}, empty middle", f"{row.label}, whole"] = lost
        lines.append(line | paper_cell(runs, table, row))
        drawn += [
            (f"{row.label}, {what}", one.over_seeds["war"].mean, one.intervals.get("war"))
            for what, one in (("whole", plain), ("empty middle", black))
        ]
    asked = [pair for pair in differences if pair[1].endswith("empty middle")]
    picture = row_picture(drawn, title=f"{table.number}: {table.title}, WAR")
    return Measured(lines=lines, found=conclusions(differences, asked=asked), pictures={".svg": picture})
