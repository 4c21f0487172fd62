"""A video at a URL, for as long as it is decoded: downloaded into a temporary folder (`TMPDIR` moves it), and removed afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ...cache.clip import Source
from ...cache.remote.client import ObjectStore
from ...cache.stores.disk import expect_free_space
from ...errors import SourceError
from ...inputs.input import Input

PREFIX = "est-video-"
SECOND = 10**9  # some stores leave the parts of a second out of one answer and not of another
LEFT_AFTER = 24 * 3600  # seconds: no clip takes so long


@contextmanager
def at_hand(source: Input) -> Generator[Input]:
    """Yield an input whose file is on this machine."""
    if source.remote is None:
        yield source
        return
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder:
        path = Path(folder) / source.path.name
        _download(source.place, source.remote, path)
        yield replace(source, path=path, remote=None)


def _download(url: str, listed: Source, path: Path) -> None:
    """Download a video that is what was listed; its ranges are of one object, which is the same before and after them."""
    size = listed.num_bytes
    expect_free_space(path.parent, size, f"Downloading {url}")
    folder, _, name = url.rpartition("/")
    store = ObjectStore(folder)
    before = store.describe(name)
    if before.size != size:
        raise SourceError(
            f"{url} has {before.size:,} bytes now, and had {size:,} when it was listed.",
            remedy="the same command again",
        )
    if abs(before.mtime_ns - listed.mtime_ns) >= SECOND:
        raise SourceError(f"{url} was replaced since it was listed.", remedy="the same command again")
    with path.open("wb") as file:
        store.read_into(name, size, lambda start, data: os.pwrite(file.fileno(), data, start))
    if store.describe(name) != before:
        raise SourceError(f"{url} was replaced while it was downloaded.", remedy="the same command again")


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed left behind."""
    for left in folder.glob(f"{PREFIX}*"):
        try:
            if left.stat().st_mtime < time.time() - LEFT_AFTER:
                shutil.rmtree(left, ignore_errors=True)
        except OSError:  # another process was faster, or it is another user's
            continue
