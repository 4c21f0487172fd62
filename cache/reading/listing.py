"""Clips as a list to choose from: filtered by conditions, sorted by a column, cut to so many; whole columns at a time.

A cache of format 2 keeps coverage and box jitter of each clip; for one of format 1 they are computed from states and boxes, and how many
faces its sources show is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...errors import UsageError, nearest, some
from ..schema import NO_FOLD, NO_NUMBER, UNKNOWN
from .cliptracks import clip_quality
from .reader import Cache
from .where import named, unknown, where

TEXTS = ("id", "label", "subject", "split", "path", "decoder")
COUNTS = ("count", "declared", "decoded", "tracks", "identity_changes", "decode_errors")
COLUMNS = (
    *("id", "label", "subject", "split", "fold", "count", "fps", "declared", "decoded"),
    *("coverage", "box_jitter", "tracks", "identity_changes", "decoder", "decode_errors", "path"),
)
EXTRA = "extra:"  # before the names of extra columns, as in lists


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which clips of a cache, and in which order: those of the ids that meet all conditions, sorted, and of these the first."""

    ids: Sequence[str] | None = None  # in their order, where nothing is sorted by
    label: Sequence[str] | None = None
    subject: Sequence[str] | None = None
    split: Sequence[str] | None = None
    fold: Sequence[int] | None = None
    where: str | None = None
    sort: str | None = None
    reverse: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            raise UsageError(f"--limit is 0 or more, found {self.limit}.", remedy="--limit 20")
        if self.reverse and self.sort is None:
            raise UsageError("--reverse needs --sort, whose order it reverses.", remedy="--sort coverage --reverse")


class Listing:
    """The clips of a cache as columns of numbers (NaN: unknown), whole numbers (NO_NUMBER: unknown) and texts (empty: none)."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def __len__(self) -> int:
        return len(self.cache)

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns by name, extra columns of a cell a clip behind the others."""
        stored, found = self.cache.clips.columns, {}
        quality = {} if "coverage" in stored else clip_quality(self.cache)
        for name in COLUMNS:
            if name == "label":
                found[name] = _texts([label or "" for label in self.cache.clips.label_names])
            elif name in TEXTS:
                found[name] = _texts(list(stored.get(name, [""] * len(self))))
            else:
                values = np.asarray(quality.get(name, stored.get(name, np.full(len(self), np.nan))), np.float64)
                unknown = {"fold": NO_FOLD}.get(name, UNKNOWN) if name in ("fold", *COUNTS) else None
                found[name] = values if unknown is None else np.where(values == unknown, np.nan, values)
        for name, values in self.cache.clips.extra.items():
            if isinstance(values, list):
                found[EXTRA + name] = _texts(values)
            elif np.ndim(values) == 1:
                found[EXTRA + name] = np.asarray(values)
        return found

    def choose(self, choice: Choice) -> np.ndarray:
        """Return the places of the clips that were chosen, in their order."""
        cache = self.cache
        for name in ("subject", "split", "fold"):
            self._expect_known(name, getattr(choice, name))
        chosen = cache.select(label=choice.label, subject=choice.subject, split=choice.split, fold=choice.fold)
        if choice.ids is not None:
            places = list(dict.fromkeys(cache.clips.index(clip) for clip in choice.ids))
            chosen = np.array(places, np.int64)[np.isin(places, chosen)]
        if choice.where is not None:
            chosen = chosen[where(choice.where, self.columns, len(self))[chosen]]
        if choice.sort is not None:
            chosen = self._sorted(chosen, choice.sort, reverse=choice.reverse)
        return chosen[: choice.limit]

    def values(self, name: str, places: Sequence[int] | np.ndarray) -> list[Any]:
        """Return a column of some clips as `rows` has it."""
        return _plain(name, self.columns[name][np.asarray(places, np.int64)])

    def rows(self, places: Sequence[int] | np.ndarray) -> Iterator[dict[str, Any]]:
        """Yield clips as plain values: None for a number that is not known and for no label; no fold is −1."""
        columns = {name: self.values(name, places) for name in self.columns}
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))

    def _expect_known(self, name: str, wanted: Sequence[Any] | None) -> None:
        """Refuse to look for what no clip has: it is misspelt, or of another cache."""
        column = np.asarray(self.cache.clips.columns[name]).tolist()
        there = sorted({value for value in column if value not in ("", NO_FOLD)})
        for value in wanted or ():
            if value not in column:
                near = nearest(str(value), there) or (there[0] if there else None)
                raise UsageError(
                    f"No clip has the {name} {value!r}; {f'there are {some(there, 8)}' if there else f'no {name} is known'}.",
                    remedy=f"leave out --{name}" if near is None else f"--{name} {near}",
                )

    def _sorted(self, places: np.ndarray, name: str, *, reverse: bool) -> np.ndarray:
        """Sort by a column; equal ones keep their order, and what is unknown stands last in either direction."""
        column = self.columns[named(name, self.columns, "--sort")][places]
        missing = unknown(column)
        known = np.flatnonzero(~missing)
        if reverse:
            order = known[::-1][np.argsort(column[known[::-1]], kind="stable")][::-1]
        else:
            order = known[np.argsort(column[known], kind="stable")]
        return places[np.concatenate([order, np.flatnonzero(missing)])]


def _texts(values: Sequence[str]) -> np.ndarray:
    """Return texts as objects: one long id among many short ones costs no room, and comparing is as quick."""
    found = np.empty(len(values), object)
    found[:] = values
    return found


def _plain(name: str, column: np.ndarray) -> list[Any]:
    """Return a column as values of Python: counts whole, None where nothing is known."""
    if column.dtype.kind == "i":
        return [None if value == NO_NUMBER else value for value in column.tolist()]
    if column.dtype.kind != "f":
        return [value or None for value in column.tolist()] if name == "label" else column.tolist()
    if name == "fold":
        return [NO_FOLD if value != value else int(value) for value in column.tolist()]
    whole = name in COUNTS
    return [None if value != value else int(value) if whole else value for value in column.tolist()]
