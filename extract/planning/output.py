"""Whether a cache can be written where it was asked for: refused before anything is loaded, in a dry run as in an extraction."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ...cache.stores.lock import writer_of
from ...cache.stores.snapshot import is_hdf5, no_cache, open_snapshot, replaced_path, staging_path
from ...errors import CacheError, CacheLocked, UsageError, quoted

WAYS_TO_SAVE = "--dtype float16, fewer --features, no --crops"


def expect_out(out: Path) -> None:
    """Refuse a cache that could not be written: by its suffix, its folder, what lies there, the rights, another writer."""
    in_hdf5 = is_hdf5(out)
    folder = out.parent
    if not folder.exists():
        raise UsageError(f"The folder {folder} does not exist.", remedy=f"mkdir -p {quoted(folder)}")
    if not folder.is_dir():
        raise UsageError(
            f"Expected a folder for --out {out}; {folder} is a file.",
            remedy="--out in an existing folder",
        )
    if holder := writer_of(out):
        raise CacheLocked(
            f"{out} is being written by {holder}.",
            remedy="wait for it, or end it; readers may open the cache meanwhile",
        )
    there = [place for place in (out, *([staging_path(out)] if in_hdf5 else [])) if place.exists()]
    if there:
        open_snapshot(out)  # says so where it is no cache
    elif replaced_path(out).exists():
        raise no_cache(out)
    for place in (folder, *(one for one in there if one.is_dir())):
        if not os.access(place, os.W_OK | os.X_OK):
            raise CacheError(
                f"{out} cannot be written: this user has no permission to write to the folder {place}.",
                remedy="--out in another folder, or change the permissions of that one",
            )


def expect_room(out: Path, needed: int, *, at_least: bool = False) -> None:
    """Refuse an extraction for whose rows the disk has no room."""
    free = shutil.disk_usage(out.parent).free
    if needed > free:
        raise CacheError(
            f"{out} will need {'at least' if at_least else 'about'} {told_bytes(needed)}, and {told_bytes(free)} are "
            f"free in {out.parent}.",
            remedy=f"--out on a larger disk, or free some space; less is needed with {WAYS_TO_SAVE}",
        )


def told_bytes(count: float) -> str:
    """Write a number of bytes as people say it: 5.1 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if count >= 9.95 or unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB" if count < 99.5 else f"{count:.0f} TB"
