"""One writer per cache: an exclusive lock on `<cache>.lock`, held for as long as the process lives.

The kernel frees the lock when its process ends, however it ends, so what is left behind by a killed writer is a file without a lock: it is
taken over. Some network file systems grant every lock; that is found out by asking twice, and refused.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...errors import CacheError, CacheLocked, NoLocks
from ..remote.address import expect_writable

SUFFIX = ".lock"
PATIENCE = 3  # times that a lock is asked for again
ATTEMPTS = 20  # a file that its holder removes while it is being opened is opened again


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a lock, as it has signed its file."""

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


class WriterLock:
    """The right to write a cache."""

    def __init__(self, cache: Path) -> None:
        expect_writable(cache)
        self.path = cache.with_name(cache.name + SUFFIX)
        self.stale: str | None = None  # the holder, if it died
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, or raise an error that names its holder."""
        for _ in range(ATTEMPTS):
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise self._cannot_be_created(error) from error
            try:
                self._lock(descriptor)
                if self._is_current(descriptor):
                    self._take_name_away(descriptor)
                    self._expect_locks_that_work()
                    self._sign(descriptor)
                    self._descriptor = descriptor
                    os.register_at_fork(after_in_child=self._forget)
                    return
            except BaseException as error:
                os.close(descriptor)
                if isinstance(error, OSError):
                    raise self._cannot_be_created(error) from error
                raise
            os.close(descriptor)
        raise CacheLocked(
            f"{self.path} could not be locked: other writers keep starting and stopping on this cache.",
            remedy="try again",
        )

    def release(self) -> None:
        """Give the lock back; its file may stay where the disk refuses to remove it, and keeps nobody out."""
        if self._descriptor is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _forget(self) -> None:
        """Close the lock in a forked child, which would hold it beyond its parent's death."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _lock(self, descriptor: int) -> None:
        try:
            for _ in range(PATIENCE):  # a process that only asks, as `writer_of`, holds it for a moment
                with suppress(BlockingIOError):
                    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                time.sleep(0.01)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CacheLocked(
                f"{self.path.stem} is being written by {_holder(descriptor) or 'another process'}.",
                remedy="wait for it, or end it; readers may open the cache meanwhile",
            ) from error
        except OSError as error:
            raise self._no_locks() from error

    def _is_current(self, descriptor: int) -> bool:
        """Return whether the locked file is still the one of that name."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return False
        mine = os.fstat(descriptor)
        return (found.st_ino, found.st_dev) == (mine.st_ino, mine.st_dev)

    def _expect_locks_that_work(self) -> None:
        second = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._no_locks() from error
        finally:
            os.close(second)
        raise self._no_locks()

    def _cannot_be_created(self, error: OSError) -> CacheError:
        return CacheError(
            f"{self.path} cannot be created, so {self.path.stem} cannot be written: {error.strerror}.",
            remedy="check the permissions and the free space of its folder; reading needs neither",
        )

    def _no_locks(self) -> NoLocks:
        return NoLocks(
            f"The file system of {self.path.parent} has no working locks, so two writers could destroy what is there.",
            remedy="write to a local disk, and copy it when it is done",
        )

    def _take_name_away(self, descriptor: int) -> None:
        """Remove the name of a holder that died at once: who asks whom to stop must not find it."""
        holder = _holder(descriptor)
        self.stale = None if holder is None else str(holder)
        os.ftruncate(descriptor, 0)

    def _sign(self, descriptor: int) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now}).encode(), 0)


def writer_of(cache: Path) -> str | None:
    """Name the process that writes a cache right now, if one does; asking does not block others."""
    is_held, holder = _looked_up(cache)
    return str(holder or "another process") if is_held else None


def holder_of(path: Path) -> Holder | None:
    """Return who holds the lock of a path now; None if nobody does, or if its file does not name the holder."""
    is_held, holder = _looked_up(path)
    return holder if is_held else None


def _looked_up(path: Path) -> tuple[bool, Holder | None]:
    """Return whether the lock of a path is held, and by whom."""
    try:
        descriptor = os.open(path.with_name(path.name + SUFFIX), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False, None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True, _holder(descriptor)
    except OSError:  # a file system without locks, on which nothing is written
        return False, None
    finally:
        os.close(descriptor)
    return False, None


def _holder(descriptor: int) -> Holder | None:
    """Read who signed a lock file; None where it is damaged, or not signed yet."""
    try:
        signature = json.loads(os.pread(descriptor, 1000, 0))
        pid, host, since = signature["pid"], signature["host"], signature["since"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_sound = type(pid) is int and pid > 0 and isinstance(host, str) and isinstance(since, str)
    return Holder(pid=pid, host=host, since=since) if is_sound else None
