"""Folders that est writes to: whether they can be written, have room, and lock files as caches need it."""

from __future__ import annotations

import errno
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import torch

from .check import Check

GROUP = "folders"
LITTLE_SPACE = 2  # GB: a cache of DFEW with crops has about 20, a run of full EST with five folds about 1
LITTLE_FOR_MODELS, LITTLE_TEMPORARY = 0.5, 0.1  # GB
SHARED = Path("/dev/shm")  # what workers pass frames through
LITTLE_SHARED = 0.25  # GB


def check_folders(folder: Path, models_dir: Path | None = None) -> Iterator[Check]:
    """Check the folder for caches and runs, that of models, and the system's for temporary files."""
    yield _writable(
        "caches and runs", folder, "--folder with another folder, and --out in it", locks=True, space=LITTLE_SPACE
    )
    models = models_dir or Path(torch.hub.get_dir())
    yield _writable("models", models, "--models-dir with another folder", space=LITTLE_FOR_MODELS)
    yield _writable(
        "temporary files", Path(tempfile.gettempdir()), "export TMPDIR=… with another folder", space=LITTLE_TEMPORARY
    )
    yield _shared_memory()


def _shared_memory() -> Check:
    """Make a piece of memory that processes share: extraction passes pictures through it."""
    remedy = "docker run --shm-size=2g, or mount a writable tmpfs at /dev/shm"
    try:
        piece = SharedMemory(create=True, size=1)
    except OSError as error:
        found = f"no memory can be shared between processes: {error.strerror}"
        return Check(group=GROUP, name="shared memory", state="problem", found=found, remedy=remedy)
    piece.close()
    piece.unlink()
    if not SHARED.is_dir():
        return Check(group=GROUP, name="shared memory", found="processes can share memory")
    free = shutil.disk_usage(SHARED).free / 1e9
    small = free < LITTLE_SHARED
    return Check(
        group=GROUP,
        name="shared memory",
        state="problem" if small else "ok",
        found=f"{SHARED}, {free:.1f} GB free",
        remedy=remedy if small else "",
    )


def _writable(name: str, folder: Path, option: str, *, locks: bool = False, space: float = 0.0) -> Check:
    """Write a file below a folder, or below the nearest one above it that exists."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    try:
        with tempfile.NamedTemporaryFile(prefix=".est-doctor-", dir=there) as file:
            file.write(b"est")
            file.flush()
            if locks:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        what = f"{folder} cannot be written: {error.strerror}"
        remedy = f"chmod u+w {there}, or {option}" if error.errno == errno.EACCES else option
        if locks and error.errno is not None and there.is_dir() and _plainly_writable(there):
            what = f"{folder} is on a file system without file locks: {error.strerror}"
            remedy = "use a local disk for caches; est cache convert copies a cache elsewhere"
        return Check(group=GROUP, name=name, state="problem", found=what, remedy=remedy)
    free = shutil.disk_usage(there).free / 1e9
    if free < space:
        found = f"{folder}, {free:.1f} GB free"
        return Check(group=GROUP, name=name, state="problem", found=found, remedy="est cache drop, or another disk")
    return Check(group=GROUP, name=name, found=f"{folder}, {free:.1f} GB free" + ("; locks work" if locks else ""))


def _plainly_writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
