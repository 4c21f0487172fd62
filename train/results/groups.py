"""Scores by group: how well the clips of each value of a column are recognised, and how far the two most different groups are apart.

A column is one of the cache: an extra one, or subject, split, fold and what extraction measured. Numbers of more than `MANY` different
values are cut into parts of about equal size; clips without a value are the group `UNKNOWN`, which is shown and takes part in no gap.

The interval of a gap is over people: the variance by leaving out one person at a time, with the clips that the person has in either group
(the jackknife), and Student's t with as many degrees of freedom as the smaller group has people, less one. The largest of many gaps is
large by chance too, and its interval does not correct for that. Gaps in UAR are between groups that have the same classes: the mean
recall of other classes is another number.

Legend: N clips, U units, S seeds, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from ...cache import Cache
from ...cache.schema import NO_NUMBER
from ...errors import UsageError
from .distributions import t_quantile
from .intervals import MIN_UNITS, TAIL, score_intervals, tallies
from .metrics import Scores, mean_scores, score
from .predictions import Predictions

UNKNOWN = "unknown"
MANY, PARTS = 12, 4  # more different numbers than this are cut into so many parts
EXTRA = "extra:"
COLUMNS = (
    "subject",
    "split",
    "fold",
    "decoder",
    "fps",
    "count",
    "coverage",
    "tracks",
    "identity_changes",
    "box_jitter",
)
MEASURES = ("war", "uar")
HEADER = ["column", "group", "clips", "units", "right", "war", "war_low", "war_high", "uar", "classes"]  # of groups.csv


@dataclass(frozen=True, kw_only=True)
class Column:
    """Which group each clip belongs to."""

    name: str
    group: Mapping[str, str]  # by id
    order: tuple[str, ...]  # of the groups
    note: str = ""  # how numbers were cut


@dataclass(frozen=True, kw_only=True)
class Group:
    """The clips with one value of a column, scored; the mean over seeds."""

    name: str
    scores: Scores
    units: int  # people, or clips where people are not known
    interval: tuple[float, float] | None  # of WAR

    @property
    def classes(self) -> tuple[bool, ...]:
        """Return which classes the group has."""
        return tuple(self.scores.present.tolist())

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        scores = self.scores
        return {
            "group": self.name,
            "clips": scores.total,
            "units": self.units,
            "right": scores.right,
            "war": scores.war,
            "war_interval": list(self.interval) if self.interval else None,
            "uar": scores.uar,
            "classes": int(scores.present.sum()),
        }

    def row(self, column: str) -> list[Any]:
        """Return a line of groups.csv."""
        found = self.to_json()
        ends = found.pop("war_interval") or ["", ""]
        values = {"column": column, **found, "war_low": ends[0], "war_high": ends[1]}
        return [values[name] for name in HEADER]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The two groups that lie farthest apart: `best` is above `worst` by `value`."""

    best: str
    worst: str
    value: float
    interval: tuple[float, float] | None  # None below `MIN_UNITS` people in either group
    pairs: int  # of which it is the largest

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        interval = list(self.interval) if self.interval else None
        return {
            "best": self.best,
            "worst": self.worst,
            "value": self.value,
            "interval": interval,
            "pairs": self.pairs,
        }


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The groups of a column, and the largest gap in WAR and in UAR; none in UAR where no two groups have the same classes."""

    column: str
    note: str
    groups: tuple[Group, ...]
    gaps: Mapping[str, Gap]
    unit: str  # subjects or clips

    @property
    def warning(self) -> str:
        """Say that the largest of several gaps is large by chance too; nothing of a single one."""
        pairs = max((gap.pairs for gap in self.gaps.values()), default=0)
        if pairs < 2:
            return ""
        number = sum(one.name != UNKNOWN for one in self.groups)
        return f"The largest of the {pairs} gaps between {number} groups is large by chance too, and its interval does not allow for that."

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        return {
            "column": self.column,
            "note": self.note,
            "groups": [one.to_json() for one in self.groups],
            "largest_gap": {name: gap.to_json() for name, gap in self.gaps.items()},
            "warning": self.warning,
        }


def read_column(cache: Cache, name: str, ids: Sequence[str]) -> Column:
    """Say in which group the clips of these ids are, by a column of their cache; what could not be extracted has few columns."""
    clips = cache.clips
    offered = {one: clips.columns[one] for one in COLUMNS if one in clips.columns}
    offered |= {EXTRA + one: values for one, values in clips.extra.items() if np.ndim(values) == 1}
    plain = name if name in offered else EXTRA + name
    if plain not in offered:
        raise UsageError(
            f"{cache.path} has no column {name!r} to group by.",
            remedy=f"--group with one of {', '.join(offered)}; est cache relabel adds columns",
        )
    value = {one.id: getattr(one, plain) for one in cache.failures} if plain in ("subject", "split", "fold") else {}
    value |= dict(zip(cache.ids, offered[plain], strict=True))
    wanted = set(ids)
    column = make_column(plain, {one: _known(plain, value.get(one)) for one in ids if one in wanted})
    if len(column.order) < 2:
        raise UsageError(
            f"All {len(wanted)} clips that are scored have the same {plain}: {column.order[0] if column.order else UNKNOWN}.",
            remedy="--group with a column of several values",
        )
    return column


def make_column(name: str, values: Mapping[str, str | float | None]) -> Column:
    """Put clips into groups by their values: text and few numbers as they are, many numbers cut; None is unknown."""
    there = [value for value in values.values() if value is not None]
    numbers = sorted({value for value in there if not isinstance(value, str)})
    if not numbers:
        return _column(name, values, sorted({str(value) for value in there}), str)
    if len(numbers) <= MANY:
        return _column(name, values, map(_written, numbers), _written)
    edges = np.unique(np.quantile(np.array(there, float), np.arange(1, PARTS) / PARTS, method="higher"))
    edges = edges[edges > numbers[0]] if edges[-1] > numbers[0] else np.array(numbers[1:2])
    shown = [_written(edge) for edge in edges.tolist()]
    names = [f"below {shown[0]}", *(f"{low} to below {high}" for low, high in pairwise(shown)), f"from {shown[-1]}"]
    note = f"{len(numbers)} different numbers, cut into {len(names)} parts of about equal size"
    return _column(name, values, names, lambda value: names[int(np.searchsorted(edges, value, side="right"))], note)


def group_scores(found: Predictions, column: Column) -> Grouping:
    """Score the clips of each group, and find the largest gaps."""
    member = np.array([column.group[one] for one in found.ids.tolist()], str)
    names = [name for name in column.order if (member == name).any()]
    groups = tuple(_group(found, name, member == name) for name in names)
    compared = [one for one in groups if one.name != UNKNOWN]
    gaps = {measure: gap for measure in MEASURES if (gap := _largest_gap(found, member, compared, measure)) is not None}
    return Grouping(column=column.name, note=column.note, groups=groups, gaps=gaps, unit=found.units)


def gap_interval(tally_a: np.ndarray, tally_b: np.ndarray, measure: str) -> tuple[float, float] | None:
    """Return the 95 % interval of A − B from what the same units have in each group (U, S, 3, C)."""
    in_a, in_b = (tally[:, 0, 1].sum(axis=-1) > 0 for tally in (tally_a, tally_b))
    fewest = int(min(in_a.sum(), in_b.sum()))
    if fewest < MIN_UNITS:
        return None
    both = in_a | in_b
    tally_a, tally_b = tally_a[both], tally_b[both]
    whole_a, whole_b = tally_a.sum(axis=0), tally_b.sum(axis=0)
    value = float(_score(whole_a, measure) - _score(whole_b, measure))
    without = np.sort(_score(whole_a - tally_a, measure) - _score(whole_b - tally_b, measure))  # sorted: the same bits
    units = len(without)
    variance = (units - 1) / units * float(((without - without.mean()) ** 2).sum())
    if variance < 1e-15:  # no person differs from another, which says nothing of their spread
        half = 1 - TAIL ** (1 / fewest)
    else:
        half = float(t_quantile(1 - TAIL, np.array([fewest - 1.0]))[0]) * math.sqrt(variance)
    return max(value - half, -1.0), min(value + half, 1.0)


def _column(
    name: str, values: Mapping[str, Any], order: Iterable[str], text: Callable[[Any], str], note: str = ""
) -> Column:
    group = {one: UNKNOWN if value is None else text(value) for one, value in values.items()}
    used = set(group.values())
    named = [one for one in dict.fromkeys(order) if one in used and one != UNKNOWN]
    return Column(name=name, group=group, order=(*named, *([UNKNOWN] if UNKNOWN in used else [])), note=note)


def _written(value: float) -> str:
    """Write a number, a whole one without a point."""
    return str(int(value)) if value == int(value) else f"{value:.6g}"


def _known(name: str, value: Any) -> str | float | None:
    """Return a cell as text or a number, None where nothing was told."""
    if value is None or isinstance(value, str):
        return value or None
    number = float(value)
    empty = math.isnan(number) or number == NO_NUMBER or (number < 0 and not name.startswith(EXTRA))  # -1: no fold
    return None if empty else number


def _group(found: Predictions, name: str, inside: np.ndarray) -> Group:
    truth, predicted, units = found.truth[inside], found.predicted[:, inside], found.groups[inside]
    return Group(
        name=name,
        scores=mean_scores([score(truth, one, found.labels) for one in predicted]),
        units=len(set(units.tolist())),
        interval=score_intervals(truth, predicted, units, found.labels).get("war"),
    )


def _largest_gap(found: Predictions, member: np.ndarray, groups: Sequence[Group], measure: str) -> Gap | None:
    pairs = [(one, two) for one, two in combinations(groups, 2) if measure != "uar" or one.classes == two.classes]
    if not pairs:
        return None

    def value(one: Group) -> float:
        return getattr(one.scores, measure)

    one, two = max(pairs, key=lambda pair: abs(value(pair[0]) - value(pair[1])))
    best, worst = (one, two) if value(one) >= value(two) else (two, one)
    return Gap(
        best=best.name,
        worst=worst.name,
        value=value(best) - value(worst),
        interval=gap_interval(_tally(found, member == best.name), _tally(found, member == worst.name), measure),
        pairs=len(pairs),
    )


def _tally(found: Predictions, inside: np.ndarray) -> np.ndarray:
    """Count what every unit has in a group; those that have no clip there have zeros.  # (U, S, 3, C)"""
    units = np.unique(found.groups)
    counted = tallies(found.truth[inside], found.predicted[:, inside], found.groups[inside], found.labels)
    whole = np.zeros((len(units), *counted.shape[1:]), counted.dtype)
    whole[np.isin(units, found.groups[inside])] = counted  # both are in the order of the names
    return whole


def _score(tally: np.ndarray, measure: str) -> np.ndarray:
    """Return WAR or UAR (...), the mean over seeds, of tallies (..., S, 3, C)."""
    hits, actual = tally[..., 0, :], tally[..., 1, :]
    if measure == "war":
        return (hits.sum(axis=-1) / np.maximum(actual.sum(axis=-1), 1)).mean(axis=-1)
    present = np.maximum((actual > 0).sum(axis=-1), 1)
    return ((hits / np.maximum(actual, 1)).sum(axis=-1) / present).mean(axis=-1)
