"""Output files of commands: written completely or not at all, and replaced only with --overwrite."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..cache.stores.disk import Disk
from ..errors import EstError, UsageError, quoted


def expect_free(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse, before any work, to write where something is already, and what never can be a file."""
    for path in paths:
        if path.is_dir():
            raise UsageError(
                f"Expected the path of a file to write; {path} is a folder.", remedy=f"--out {quoted(path / 'NAME')}"
            )
        if path.exists() and not overwrite:
            raise UsageError(f"{path} exists already.", remedy="--overwrite, or another name")


def write_output(path: Path, data: bytes | str, *, overwrite: bool) -> Path:
    """Write a file, and its folder where that is missing; return its path."""
    expect_free([path], overwrite=overwrite)
    disk = Disk()
    try:
        disk.make_folder(path.parent)
        disk.write(path, data.encode("utf-8", "replace") if isinstance(data, str) else data)
        disk.flush_folder(path.parent)
    except OSError as error:
        raise EstError(f"{path} could not be written: {error.strerror}.", remedy="another --out") from error
    return path
