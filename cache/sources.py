"""The videos that clips came from: their size, time and digest, and whether they are still the same."""

from __future__ import annotations

import os
from pathlib import Path

import xxhash

from ..errors import EstError
from . import checksum
from .clip import Source
from .remote.address import url_of


def source_of(path: Path, *, digest: bool = True) -> Source:
    """Describe a file, or a folder of frames by all that is in it."""
    if path.is_dir():
        files = sorted(entry for entry in path.iterdir() if entry.is_file())
        found = [entry.stat() for entry in files]
        return Source(
            num_bytes=sum(stat.st_size for stat in found),
            mtime_ns=max((stat.st_mtime_ns for stat in found), default=0),
            digest=_of_folder(files) if digest else bytes(16),
        )
    stat = os.stat(path)
    return Source(
        num_bytes=stat.st_size, mtime_ns=stat.st_mtime_ns, digest=checksum.of_file(path) if digest else bytes(16)
    )


def source_problem(path: str, num_bytes: int, digest: bytes) -> str | None:
    """Return what is wrong with a source, by its content where a digest is known."""
    if not path:
        return "the cache has no record of its source"
    if url := url_of(path):
        return _remote_problem(url, num_bytes)
    try:
        known = any(digest)
        found = source_of(Path(path), digest=known)
    except OSError as error:
        return f"its source cannot be read: {error}"
    if found.num_bytes != num_bytes:
        return f"its source {path} has {found.num_bytes} bytes, and had {num_bytes}"
    if known and found.digest != digest:
        return f"its source {path} has changed"
    return None


def _remote_problem(url: str, num_bytes: int) -> str | None:
    """Say what is wrong with a source in an object store, by its size: it is not downloaded."""
    from .remote.client import ObjectStore  # here: an extra

    folder, _, name = url.rpartition("/")
    try:
        found = ObjectStore(folder).describe(name).size
    except EstError as error:
        return f"its source cannot be read: {error.message}"
    return None if found == num_bytes else f"its source {url} has {found} bytes, and had {num_bytes}"


def _of_folder(files: list[Path]) -> bytes:
    digest = xxhash.xxh3_128()
    for file in files:
        digest.update(file.name.encode(errors="surrogateescape") + b"\0" + checksum.of_file(file))
    return digest.digest()
