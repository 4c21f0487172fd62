"""Where studies are kept: a journal in the sweep's folder, or a database that several machines share.

The journal is a file of lines, appended under a lock that the kernel frees when a process ends, however it ends. A last line that was cut
short, by a full disk or a loss of power, is removed before the next one is written: a line behind it would make the journal unreadable.
"""

from __future__ import annotations

import fcntl
import os
import re
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import EstError, UsageError
from ...packages import expect_packages

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

JOURNAL, LOCK = "studies.journal", "studies.lock"
JOURNAL_LOCK = f"{JOURNAL}.lock"
DRIVERS = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
}  # what pip calls modules
POSTGRES = "--storage postgresql+psycopg://…, as SQLAlchemy names it"


def optuna() -> Any:
    """Return the package Optuna, quiet; or say how to get it."""
    expect_packages("est sweep needs the package optuna", "optuna", install="'est-fer[sweep]'")
    import optuna as found

    found.logging.set_verbosity(found.logging.ERROR)
    return found


class StudiesUnreachable(EstError):
    """Studies that cannot be read or written: no trial has failed, and the sweep ends."""


class KernelLock:
    """A lock on a file between processes, and the threads of one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: list[int] = []

    def acquire(self) -> bool:
        """Wait for the lock."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._held.append(descriptor)
        return True

    def release(self) -> None:
        """Let others have it."""
        os.close(self._held.pop())

    @contextmanager
    def held(self) -> Generator[None]:
        """Hold the lock for a block."""
        try:
            self.acquire()
        except OSError as error:
            raise StudiesUnreachable(
                f"{self.path} cannot be locked: {error.strerror or error}.",
                remedy="free some space or check the permissions, then run the same command again: finished trials are kept",
            ) from error
        try:
            yield
        finally:
            self.release()


class JournalLock(KernelLock):
    """The lock under which a journal is appended to, which then ends with a whole line."""

    def __init__(self, journal: Path) -> None:
        super().__init__(journal.with_name(JOURNAL_LOCK))
        self.journal = journal

    def acquire(self) -> bool:
        """Wait for the lock, and remove what is left of a line."""
        super().acquire()
        try:
            _cut_torn_line(self.journal)
        except OSError:
            self.release()
            raise
        return True


def open_storage(folder: Path, url: str = "") -> BaseStorage:
    """Open the journal of a folder, or the database of a URL."""
    found = optuna()
    if url:
        return _database(found, url)
    from optuna.storages.journal import JournalFileBackend

    path = folder / JOURNAL
    lock = JournalLock(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        lock.release()
        backend = JournalFileBackend(str(path), lock_obj=lock)  # ty: ignore[invalid-argument-type]
        return found.storages.JournalStorage(backend)
    except (OSError, ValueError, KeyError) as error:
        raise EstError(
            f"The studies in {path} cannot be read.", remedy="restore the file, or --out another folder"
        ) from error


def _database(found: Any, url: str) -> BaseStorage:
    """Open a database."""
    if "://" not in url:
        raise UsageError(
            f"--storage is the URL of a database, found {url!r}.", remedy="--storage sqlite:///studies.db, for example"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", found.exceptions.ExperimentalWarning)
            return found.storages.get_storage(url)
    except ImportError as error:
        cause = error.__cause__ or error
        name = getattr(cause, "name", None)  # none where a library of the driver is missing
        needs = f"needs the package {name}" if name else f"needs a driver, which cannot be imported: {cause}"
        package = DRIVERS.get(name, name) if name else "it with its libraries, as 'psycopg[binary]' has them"
        raise EstError(
            f"The storage {without_password(url)} {needs}.",
            remedy=f"pip install {package}; without --storage the studies are kept in --out",
        ) from error
    # drivers raise errors of kinds of their own, and all of them mean that it cannot be reached
    except Exception as error:
        check = "check that the database runs, and the name, user and password"
        raise EstError(
            f"The storage {without_password(url)} cannot be opened.",
            remedy=f"{POSTGRES if url.startswith('postgres:') else check}; without --storage the studies are kept in --out",
        ) from error


def without_password(url: str) -> str:
    """Hide the password of a URL: behind the user's name, or among the options."""
    url = re.sub(r"(?i)([?&](?:password|passwd|pwd)=)[^&]*", r"\1…", url)
    head, at, tail = url.rpartition("@")
    scheme, between, user = head.partition("://")
    name, colon, _ = user.partition(":")
    return f"{scheme}{between}{name}:…@{tail}" if at and colon else url


def _cut_torn_line(path: Path) -> None:
    """Remove what stands behind the last whole line."""
    if not path.exists():
        return
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        step, end = 65536, size
        while end > 0:
            begin = max(0, end - step)
            file.seek(begin)
            place = file.read(end - begin).rfind(b"\n")
            if place >= 0:
                end = begin + place + 1
                break
            end = begin
        if end < size:
            file.truncate(end)
