"""A cache without clips takes any settings: it is removed, and made again under those that are asked for.

All that it can hold is failures, and other settings try these inputs again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ..reading.reader import Cache, open_cache
from ..recipe import Recipes
from ..schema import ColumnSpec
from ..stores.disk import Disk, writing
from ..stores.lock import WriterLock
from ..stores.snapshot import staging_path


def has_clips(path: Path) -> bool:
    """Return whether there is a cache of that name that holds clips."""
    return (path.exists() or staging_path(path).exists()) and len(open_cache(path)) > 0


def remove_empty(path: Path) -> bool:
    """Remove a cache that holds no clip, with the failures in it; say whether it was removed."""
    return _remove(path, lambda cache: not len(cache))


def remove_without_clips(path: Path, recipes: Recipes, columns: Mapping[str, ColumnSpec]) -> bool:
    """Remove a cache that holds no clip and was made by other recipes or columns; say whether it was removed."""

    def is_other(cache: Cache) -> bool:
        fits = cache.recipes == recipes and all(cache.schema.extra.get(name) == spec for name, spec in columns.items())
        return not len(cache) and not fits

    return _remove(path, is_other)


def _remove(path: Path, is_wanted: Callable[[Cache], bool]) -> bool:
    """Remove a cache without clips, where that is wanted; say whether it was removed."""
    if has_clips(path) or not (path.exists() or staging_path(path).exists()):
        return False
    lock, disk = WriterLock(path), Disk()
    lock.acquire()
    try:
        if not is_wanted(open_cache(path)):  # read again: another process may have written before the lock was taken
            return False
        with writing(path):
            for place in (staging_path(path), path):
                if place.exists():
                    disk.remove(place)
        return True
    finally:
        lock.release()
