"""The files of a run: replaced whole and durably, read back with errors that say what to do. Sweeps and predictions use them, too."""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...cache.stores.disk import Disk
from ...errors import EstError

RESTORE = "restore it, or train again"


def write(path: Path, text: str) -> None:
    """Replace a file, whole and durably."""
    disk = Disk()
    with writing(path):
        disk.make_folder(path.parent)
        disk.write(path, text.encode())
        disk.flush_folder(path.parent)


def append(path: Path, text: str) -> None:
    """Add to a file."""
    with writing(path), open(path, "a", encoding="utf-8") as file:
        file.write(text)


@contextmanager
def writing(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        reason = "no space is left" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        raise EstError(
            f"{path} could not be written: {reason}.",
            remedy="fix that, then run the command again; est train resumes with --resume",
        ) from error


def write_json(path: Path, data: Any) -> None:
    """Replace a JSON file."""
    write(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise EstError(f"{path} cannot be read.", remedy=RESTORE) from error
    if not isinstance(found, dict):
        raise damaged(path, "an object", found)
    return found


def damaged(path: Path, expected: str, found: Any) -> EstError:
    return EstError(f"{path} is damaged: expected {expected}, found {str(found)[:60]!r}.", remedy=RESTORE)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Replace a CSV file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write(path, text.getvalue())


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Replace a file of arrays."""
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)  # ty: ignore[invalid-argument-type]
    disk = Disk()
    with writing(path):
        disk.write(path, held.getvalue())
        disk.flush_folder(path.parent)


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read the records of a part; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        found = [json.loads(line) for line in lines[:-1]]
    except (OSError, ValueError, RecursionError) as error:
        raise EstError(f"{path} cannot be read.", remedy=RESTORE) from error
    if wrong := [record for record in found if not isinstance(record, dict)]:
        raise damaged(path, "an object in each line", wrong[0])
    return found


def lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Take a lock; return whether it was free. On file systems without locks it always is."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
    return True
