"""The folder of the user in which exported graphs and calibrations are kept, by the digest of what they were made of.

A file begins with a checksum; one that is damaged is made again, and a line says so. Where nothing can be written, each process makes
its own. Of each kind of files the folder holds so many bytes, those that were used last; what this process has used stays in any case,
because it is read again when an engine is built, and a cross-fitted re-caching has dozens of encoders.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
import xxhash

from ...cache.stores.disk import PARTIAL, Disk
from ..backbone import FrameEncoder
from .graph import OPSET

MADE_BY = 1  # counted up when the same weights give another graph
HEAD = b"est engine 1\n"
DIGEST_BYTES = 16
MOST = {".onnx": 2 * 10**9, ".ranges": 10**7}  # bytes of each kind of files
LEFT_AFTER = 24 * 3600  # seconds: nothing is written for so long
Say = Callable[[str], None]

_used_here: set[Path] = set()  # by this process


def engines_folder() -> Path | None:
    """Return the folder; None where the user has none."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    except RuntimeError:  # nothing says where home is
        return None
    return root / "est" / "engines"


def digest_of(backbone: FrameEncoder, size: int) -> str:
    """Return a name for everything that a graph is made of."""
    about = (MADE_BY, OPSET, backbone.name, backbone.normalization.name, size, backbone.tap_names)
    digest = xxhash.xxh3_128(repr(about).encode())
    for name, tensor in sorted(backbone.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def kept(name: str, make: Callable[[], bytes], say: Say) -> bytes:
    """Return the content of a file of the folder, made and written where it is not there whole."""
    folder = engines_folder()
    if folder is None:
        return make()
    path = folder / name
    _used_here.add(path)
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    body = data[len(HEAD) + DIGEST_BYTES :]
    if data and data[: len(HEAD) + DIGEST_BYTES] == HEAD + xxhash.xxh3_128(body).digest():
        with suppress(OSError):
            os.utime(path)
        return body
    if data:
        say(f"{path} is damaged, so it is made again")
    body = make()
    _write(path, HEAD + xxhash.xxh3_128(body).digest() + body, say)
    return body


def _write(path: Path, data: bytes, say: Say) -> None:
    """Write a file, and make room for it; what cannot be written is made again next time."""
    own = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")  # two may make the same
    disk = Disk()
    try:
        disk.make_folder(path.parent)
        disk.write(own, data)
        disk.rename(own, path)
    except OSError as error:
        for left in (own, own.with_name(own.name + PARTIAL)):
            with suppress(OSError):
                left.unlink(missing_ok=True)
        say(f"{path} could not be written ({error.strerror}), so each run makes it again")
        return
    _remove_oldest(path.parent, path.suffix)


def _remove_oldest(folder: Path, suffix: str) -> None:
    """Remove the files of a kind that were not used for longest, and what a kill left half written; others may do the same meanwhile."""
    found: dict[Path, os.stat_result] = {}
    with suppress(OSError):
        for path in folder.glob(f"*{suffix}"):
            with suppress(FileNotFoundError):
                found[path] = path.stat()
        total = sum(about.st_size for about in found.values())
        for path in sorted(found.keys() - _used_here, key=lambda path: found[path].st_mtime):
            if total <= MOST[suffix]:
                break
            path.unlink(missing_ok=True)
            total -= found[path].st_size
        for path in folder.glob(f"*{suffix}.*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - LEFT_AFTER:
                    path.unlink()
