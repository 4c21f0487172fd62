"""The data sets that clips of a cache are from: sharing clips, or testing on them, needs all of them."""

from __future__ import annotations

from ..environment import datasets_in
from .reader import Cache

COLUMN = "database"  # the extra column that says it of single clips


def datasets_of(cache: Cache) -> list[str]:
    """Name the data sets, as far as the extraction, a merge or the column extra:database says it."""
    return sorted({*datasets_in(cache.environment), *map(str, cache.clips.extra.get(COLUMN, ()))} - {""})
