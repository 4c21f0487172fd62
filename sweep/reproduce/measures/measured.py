"""What measuring a table gives: its lines, what they say, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ....errors import counted
from ....inputs.published.est_paper import PaperNumber, paper_number
from ....train.folds.published import results_of
from ....train.results.compare import UNITS
from ....train.results.paired import Difference, compare_paired
from ....train.results.predictions import Predictions
from ..cells import probability
from ..runs import Runs
from ..sheet import Cell, Line
from ..table import Row, Table

PAPER = "paper"  # the column


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The result of a table."""

    lines: Sequence[Line]
    found: Sequence[str] = ()
    notes: Sequence[str] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)  # rows that could not be measured, and why


def compare(one: Predictions, other: Predictions, *, one_fixed: bool = False, other_fixed: bool = False) -> Difference:
    """Compare two on the same clips; `fixed` is what has no seed."""
    assert (one.ids == other.ids).all()
    if one_fixed and not other_fixed:
        return negative(compare(other, one, other_fixed=True))
    return compare_paired(one.right, other.right, one.groups, unit=UNITS[one.units], fixed=other_fixed)


def compare_changed(changed: Predictions, plain: Predictions) -> Difference:
    """Compare the same models on changed clips and on those as they are: what a seed does to both is no difference."""
    assert (changed.ids == plain.ids).all()
    gains = changed.right.astype(float) - plain.right
    nothing = np.zeros((1, gains.shape[1]))
    return compare_paired(gains, nothing, plain.groups, unit=UNITS[plain.units], fixed=True)


def negative(found: Difference) -> Difference:
    """Return B − A of A − B."""
    low = None if found.high is None else -found.high
    high = None if found.low is None else -found.low
    return replace(found, value=-found.value, low=low, high=high, seeds=(found.seeds[1], found.seeds[0]))


def conclusions(
    differences: Mapping[tuple[str, str], Difference], *, asked: Sequence[tuple[str, str]] = ()
) -> list[str]:
    """Return the differences that exceed chance, or are asked for; of the others what would have been detected."""
    chosen = {pair: one for pair, one in differences.items() if one.better or pair in asked}
    said = [f"{one.sentence(*pair)} (p {probability(one.p)})" for pair, one in chosen.items()]
    others = [one.detectable for pair, one in differences.items() if pair not in chosen]
    if shown := [100 * one for one in others if one is not None]:
        what = f"{'other ' if said else ''}{counted(len(shown), 'difference').partition(' ')[2]}"
        span = " to ".join(dict.fromkeys(f"{end:.1f}" for end in (min(shown), max(shown))))
        said.append(
            f"{len(shown)} {what} cannot be told from 0: one of {span} points would have been detected with 80 % power"
        )
    if len(shown) < len(others):
        said.append("too few people for intervals of differences")
    if len(differences) > 2:
        said.append(
            f"{len(differences)} comparisons: of twenty between equal models, one is expected to show a difference by chance"
        )
    return said


def paper_cell(runs: Runs, table: Table, row: Row, show: str = "war") -> dict[str, Cell]:
    """Return the column of the paper, where a data set is named and the paper prints a number."""
    if not runs.dataset:
        return {}
    found = paper_line(runs.dataset, table, row)
    if found is None:
        return {PAPER: Cell()}
    words = {
        "war": f"{found.war:.2f} %" if found.war is not None else "",
        "uar": f"UAR {found.uar:.2f} %" if found.uar is not None and show == "war" else "",
        "order": f"order {found.order:.1f} %" if found.order is not None and show in ("war", "order") else "",
        "variance": f"variance {found.variance:g}" if found.variance is not None and show == "variance" else "",
    }
    written = ", ".join(word for word in words.values() if word)
    source = f"{found.source}" + (f", {found.remark}" if found.remark else "")
    values = {f"paper_{name}": getattr(found, name) for name in words}
    return {PAPER: Cell(words=f"{written} ({source})" if written else "–", values={**values, "paper_source": source})}


def paper_line(dataset: str, table: Table, row: Row) -> PaperNumber | None:
    """Return what is printed beside a row: of whole systems as their data set has it, of everything else as the paper's table has it."""
    for one in results_of(dataset) if row.paper and table.classes else ():
        if one.system == row.paper:
            source = one.source.removesuffix(" of the EST paper")
            return PaperNumber(dataset=dataset, source=source, row=row.paper, war=one.war, uar=one.uar)
    return paper_number(dataset, table.source, row.paper) if row.paper else None


def paper_remarks(dataset: str, table: Table, rows: Sequence[Row]) -> list[str]:
    """Say below the table what to know of each whole system whose published numbers stand in it, as of how many clips they are."""
    systems = {row.paper for row in rows if row.paper} if dataset and table.classes else set()
    return [
        f"the paper's {one.system} ({one.source}): {'; '.join(one.remarks)}"
        for one in results_of(dataset)
        if one.system in systems and one.remarks
    ]
