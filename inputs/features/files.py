"""Files of features below what a user names: which clip each is of, by its path."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import UsageError, some
from ..folders import NOT_SEARCHED, file_problem, natural_key
from ..input import unicode_text
from .arrays import ARRAYS
from .tables import TABLES

SUFFIXES = (*ARRAYS, *TABLES)


@dataclass(frozen=True, kw_only=True)
class FeatureFile:
    """A file of features."""

    path: Path
    id: str  # path below its SOURCE, without suffix, "/" between folders
    source: int  # which SOURCE it lies in

    @property
    def is_table(self) -> bool:
        """Return whether it has named columns and rows."""
        return self.path.suffix.lower() in TABLES


@dataclass(kw_only=True)
class FoundFiles:
    """What SOURCEs hold: files of features in the natural order of their ids, files that cannot be read, and counts of others by suffix."""

    files: list[FeatureFile] = field(default_factory=list)
    problems: list[tuple[FeatureFile, str]] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


def find_files(sources: Sequence[Path]) -> FoundFiles:
    """Find the files of features in files and folders."""
    found = FoundFiles()
    for number, source in enumerate(sources):
        source = Path(os.path.abspath(source))
        if source.is_dir():
            for path in _below(source):
                _take(found, path, source, number)
        elif not os.path.lexists(source):
            raise UsageError(f"{unicode_text(str(source))} does not exist.")
        elif source.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"{source} is not a file of features: expected {', '.join(SUFFIXES)}.",
                remedy="a folder of such files, or one table with --id-column",
            )
        else:
            _take(found, source, source.parent, number)
    if not found.files and not found.problems:
        rest = ", ".join(f"{count} {suffix}" for suffix, count in found.ignored.most_common()) or "nothing"
        raise UsageError(
            f"No features in {some(map(str, sources))}: looked for {' '.join(SUFFIXES)}; found {rest}.",
            remedy="name a file, or a folder that holds some",
        )
    found.files.sort(key=lambda file: (natural_key(file.id), file.source))
    return found


def _take(found: FoundFiles, path: Path, root: Path, number: int) -> None:
    if path.suffix.lower() not in SUFFIXES:
        found.ignored[path.suffix.lower() or "without suffix"] += 1
        return
    name = path.relative_to(root).with_suffix("").as_posix()
    file = FeatureFile(path=path, id=unicode_text(name), source=number)
    if unicode_text(str(path)) != str(path):
        found.problems.append((file, "its name is not UTF-8 and cannot be stored; rename it"))
    elif problem := file_problem(path):
        found.problems.append((file, problem))
    else:
        found.files.append(file)


def _below(root: Path) -> list[Path]:
    """Return the files below a folder; hidden ones, and caches, are passed over."""
    paths = []
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if not _is_passed(name)]
        paths += [Path(folder, name) for name in files if not name.startswith(".")]
    return paths


def _is_passed(name: str) -> bool:
    return name.startswith(".") or name in NOT_SEARCHED or name.endswith((".zarr", ".staging"))


def two_files(name: str, one: FeatureFile, other: FeatureFile) -> UsageError:
    """Say that two files are of one clip, and what tells them apart: windows of several kinds, or where they lie."""
    if one.source != other.source:
        remedy = "--window 16 --stride 4,8 where each SOURCE holds windows of one kind; else give one file another name"
    elif one.path.suffix != other.path.suffix:
        remedy = f"remove one, or name the files of one kind: {one.path.parent}/*{one.path.suffix}"
    else:
        remedy = "give one of them another name"
    return UsageError(f"Two files are of the clip {name!r}: {one.path} and {other.path}.", remedy=remedy)
