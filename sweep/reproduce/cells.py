"""Cells that several tables have: scores over seeds, intervals, paired differences, numbers of the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...train.results.metrics import Spread, spread
from ...train.results.pages.summary import interval, plus_minus
from ...train.results.paired import Difference
from .sheet import Cell


def named(label: str) -> Cell:
    """Return the first cell of a line."""
    return Cell(words=label, values={"row": label})


def over_seeds(name: str, value: Spread) -> Cell:
    """Return a share as mean ± sd over seeds."""
    return Cell(
        words=plus_minus(value), values={name: value.mean, f"{name}_sd": value.sd, f"{name}_seeds": value.number}
    )


def share(name: str, values: Sequence[float]) -> Cell:
    """Return a share of each seed as mean ± sd."""
    return over_seeds(name, spread(values)) if values else Cell()


def ends(name: str, found: tuple[float, float] | None) -> Cell:
    """Return a 95 % interval."""
    low, high = found or (None, None)
    return Cell(words=interval(found), values={f"{name}_low": low, f"{name}_high": high})


def difference(name: str, found: Difference | None, against: str) -> Cell:
    """Return a paired difference in points, with its interval and p; a dash where there is nothing to compare with."""
    if found is None:
        return Cell()
    words = signed(found.value)
    if found.low is not None and found.high is not None:
        words += f" ({signed(found.low)} to {signed(found.high)}), p {probability(found.p)}"
    else:
        words += f", p {probability(found.p)}"
    values = {"value": found.value, "low": found.low, "high": found.high, "p": found.p, "better": found.better}
    return Cell(words=words, values={"against": against, **{f"{name}_{key}": value for key, value in values.items()}})


def number(name: str, value: float | None, words: str) -> Cell:
    """Return a number that is no share."""
    return Cell(words=words, values={name: value}) if value is not None else Cell()


def millions(name: str, value: int | None) -> Cell:
    """Return a count in millions."""
    return Cell() if value is None else Cell(words=f"{value / 1e6:.3f} M", values={name: value})


def signed(value: float) -> str:
    """Write a difference of shares in points, with its sign."""
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "−")


def probability(value: float) -> str:
    """Write p."""
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
