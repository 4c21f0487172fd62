"""Durable, atomic file operations: a file is whole or not there, and what was reported as written survives a power failure.

A file is written beside its place, flushed, and renamed; its folder is flushed before the commit that relies on it. Every write of a
cache goes through one `Disk`, so that a test can let the k-th one fail.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ...errors import CacheError

Data = bytes | bytearray | memoryview

PARTIAL = ".partial"
THREADS = 8  # flushes of several files share one journal commit of the file system


class Disk:
    """The real one."""

    def write(self, path: Path, data: Data) -> None:
        """Write a file atomically and flush it; its folder is not flushed."""
        partial = path.with_name(path.name + PARTIAL)
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(partial, path)

    def make_folder(self, path: Path) -> None:
        """Make a folder and its parents."""
        path.mkdir(parents=True, exist_ok=True)

    def flush_file(self, path: Path) -> None:
        """Flush a file that another library wrote."""
        self._flush(path, os.O_RDWR)

    def flush_folder(self, path: Path) -> None:
        """Make the names in a folder durable."""
        self._flush(path, os.O_RDONLY)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file or a folder atomically, and flush the folder that holds it."""
        os.rename(source, target)
        self.flush_folder(target.parent)

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with all that is in it: under its name it is there whole or not at all."""
        if path.is_dir() and not path.is_symlink():
            going = path if path.name.endswith(PARTIAL) else path.with_name(path.name + PARTIAL)
            if going != path:
                if going.exists():
                    shutil.rmtree(going)
                os.rename(path, going)
            shutil.rmtree(going)
        else:
            path.unlink(missing_ok=True)

    def write_all(self, files: Iterable[tuple[Path, Data]]) -> None:
        """Write files in parallel, then flush their folders."""
        folders: set[Path] = set()
        with ThreadPoolExecutor(THREADS) as pool:
            running = []
            for path, data in files:
                folders.add(path.parent)
                running.append(pool.submit(self.write, path, data))
            for job in running:
                job.result()
            list(pool.map(self.flush_folder, sorted(folders)))

    @staticmethod
    def _flush(path: Path, flags: int) -> None:
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Convert an error of the operating system while a cache is written to a message with a remedy."""
    try:
        yield
    except OSError as error:
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                message, remedy = (
                    f"No space is left to write {path}.",
                    "free some space, then run the same command again: it resumes",
                )
            case errno.EACCES | errno.EPERM | errno.EROFS:
                message, remedy = (
                    f"No permission to write {path}.",
                    "check the permissions of the file and of its folder",
                )
            case _:
                message, remedy = (
                    f"Writing {path} failed.",
                    "run the same command again: it resumes from the last commit",
                )
        raise CacheError(f"{message} What was committed is intact.", remedy=remedy) from error


def expect_free_space(folder: Path, needed: int, what: str) -> None:
    """Refuse an operation that needs more space than the disk has."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CacheError(
            f"{what} needs {needed / 1e6:.0f} MB free in {folder}, found {free / 1e6:.0f} MB.",
            remedy="free some space, then run the same command again: it resumes",
        )
