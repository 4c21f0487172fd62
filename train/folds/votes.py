"""What people voted for: a table with a line for each clip and a column for each class, of counts or of shares.

A line names its clip by `id` or `path`, as the lists of `est cache relabel` do; columns that such lists have besides are left alone. A
table that makes no sense is refused as a whole, with line and column. Clips without a line are learnt by their label; lines of clips that
are not in the cache are counted.

Legend: N lines, C classes of a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from ...errors import UsageError, some
from ...inputs.csvlist import ALIASES, Row
from ...inputs.listmatch import NO_SUCH_CLIP, Line, match_lines
from ...inputs.stills.tables import header_of, read_table
from .annotations import Annotations

OF_LISTS = {word: name for name, words in ALIASES.items() for word in words.split()}
KEYS = ("id", "path")


@dataclass(frozen=True, kw_only=True, eq=False)
class Votes:
    """A table of votes, its lines matched to clips."""

    path: Path
    digest: str  # of the file
    columns: tuple[str, ...]  # those that count something
    counts: np.ndarray  # (N, columns)
    line: Mapping[str, int]  # clip → which of N
    foreign: int = 0  # lines of clips that the cache does not have

    @classmethod
    def read(cls, path: Path, table: Annotations) -> Self:
        """Read a table of votes on clips, or say which line of it makes no sense."""
        digest = digest_of(path)
        keys, columns = _columns(path)
        lines, counts = [], []
        for number, cells in read_table(path):
            named = {kind: cells[name] for name, kind in keys.items()}
            lines.append(Line(list=path, row=Row(line=number, path=named.get("path", ""), id=named.get("id", ""))))
            counts.append([_count(cells[name], f"{path}, line {number}", name) for name in columns])
            if not sum(counts[-1]):
                raise UsageError(
                    f"{path}, line {number}: nobody voted for any class of {lines[-1].says!r}.",
                    remedy="remove the line: a clip without a line is learnt by its label",
                )
        if not lines:
            raise UsageError(f"{path} has a header, and no line with votes.", remedy="a line for each clip")
        clips = list(zip(table.ids.tolist(), table.path.tolist(), strict=True))
        matched, foreign = _matched(lines, clips)
        return cls(path=path, digest=digest, columns=columns, counts=np.array(counts), line=matched, foreign=foreign)

    def shares(self, labels: Sequence[str]) -> np.ndarray:
        """Return the share of each class in each line, or refuse columns that are not the classes.  # → (N, C)"""
        place = {_plain(name): number for number, name in enumerate(self.columns)}
        classes = [_plain(name) for name in labels]
        if unknown := [name for name in self.columns if _plain(name) not in classes]:
            named = some(map(repr, unknown))
            told = f"the columns {named} are no classes" if len(unknown) > 1 else f"the column {named} is no class"
            raise UsageError(
                f"{self.path}: {told} of the run, which has {', '.join(labels)}.",
                remedy="remove such columns, or name them as the cache names its classes",
            )
        if missing := [name for name in labels if _plain(name) not in place]:
            raise UsageError(
                f"{self.path} has no column for {some(missing)}; it has {', '.join(self.columns)}.",
                remedy="a column for each class of the run, with 0 where nobody voted for it",
            )
        counts = self.counts[:, [place[name] for name in classes]]
        return (counts / counts.sum(1, keepdims=True)).astype(np.float32)


def digest_of(path: Path) -> str:
    """Return a digest of a table of votes, or say that it is not there."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    except OSError as error:
        raise UsageError(
            f"The votes {path} cannot be read.",
            remedy="--votes with a table: id, and a column for each class",
        ) from error


def _columns(path: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return which columns name the clip, and which hold votes."""
    header = [name for name in header_of(path) if name]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise UsageError(f"{path} has the column {twice[0]!r} twice.", remedy="remove one")
    kinds = {name: OF_LISTS.get(_plain(name), "") for name in header}
    keys = {name: kind for name, kind in kinds.items() if kind in KEYS}
    columns = tuple(name for name, kind in kinds.items() if not kind)
    if not keys or not columns:
        raise UsageError(
            f"{path}: a table of votes has a column id or path and one for each class, found {', '.join(header) or 'nothing'}.",
            remedy="the first line: id, then the names of the classes",
        )
    return keys, columns


def _count(text: str, where: str, column: str) -> float:
    """Return a number of votes, or a share."""
    try:
        found = float(text or 0)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise UsageError(
            f"{where}, column {column!r}: votes are numbers from 0, found {text!r}.",
            remedy="counts or shares; columns beside id and path are classes",
        )
    return found


def _matched(lines: Sequence[Line], clips: Sequence[tuple[str, str]]) -> tuple[dict[str, int], int]:
    """Return which line is that of each clip, and how many lines are of clips that are not here: tables are of whole data sets."""
    matches, others = match_lines(lines, clips)
    foreign = sum(one.why == NO_SUCH_CLIP for one in others)
    if refused := [one for one in others if one.why != NO_SUCH_CLIP or foreign == len(lines)]:
        first, beside = refused[0], len(refused) - 1
        why = "" if first.why == NO_SUCH_CLIP else f" for certain ({first.why})"
        more = (
            f", nor do {beside} others of {len(lines)} lines"
            if beside > 1
            else ", nor does another line"
            if beside
            else ""
        )
        raise UsageError(
            f"{first.line.where}: {first.line.says!r} names no clip of the cache{why}{more}.",
            remedy="name clips as est cache ls does",
        )
    number = {line.row.line: place for place, line in enumerate(lines)}
    found: dict[str, int] = {}
    for match in matches:
        for clip in match.ids:
            if clip in found:
                earlier = lines[found[clip]].row.line
                raise UsageError(
                    f"{match.line.where}: {clip!r} has votes in line {earlier} already.",
                    remedy="one line for each clip",
                )
            found[clip] = number[match.line.row.line]
    return found, foreign


def _plain(name: str) -> str:
    return "".join(sign for sign in name if sign.isalnum()).casefold()
