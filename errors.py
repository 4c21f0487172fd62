"""The errors that are a user's business; everything else is a bug and keeps its traceback.

An error says what was expected and what was found (`message`), and the command or change that mends it (`remedy`). The cause is
Python's own: `raise CacheError(...) from error`. The exit status belongs to the class.
"""

from __future__ import annotations

from collections.abc import Iterable

STATUS_FAILED = 1
STATUS_USAGE = 2
STATUS_PARTIAL = 3  # finished, but some inputs failed: returned by a command, never raised
STATUS_INTERRUPTED = 130


class EstError(Exception):
    """Something that a user can mend: `message` says what, `remedy` how."""

    status = STATUS_FAILED

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageError(EstError, ValueError):
    """An argument, option or configuration value that makes no sense, or that the disk contradicts."""

    status = STATUS_USAGE


class CacheError(EstError):
    """A cache that cannot do what was asked of it."""


class CacheVersionError(CacheError):
    """A cache of another format version."""


class CacheLocked(CacheError):
    """Another process writes this cache, or the file system cannot say whether one does."""


class CacheDamaged(CacheError):
    """Committed data that is missing or not what was written."""


class RecipeMismatch(CacheError):
    """A cache made in another way than the one asked for."""


class SourceError(EstError):
    """An input that cannot be read."""


def some(names: Iterable[object], number: int = 3, *, joint: str = ", ") -> str:
    """Name the first few for a message, and how many there are beside: `a, b, c and 4 more`, or with another joint `a; b; and 5 more`."""
    shown = [str(name) for name in names]
    beside = len(shown) - number
    before = " " if joint == ", " else joint
    return joint.join(shown[:number]) + (f"{before}and {beside} more" if beside > 0 else "")
