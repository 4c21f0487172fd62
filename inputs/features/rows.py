"""The rows of one clip as a file, or a part of a table, holds them: features, and what else is said of each row."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import SourceError
from .arrays import choose, heads, load, row_shape
from .columns import ROLES, Columns
from .config import ImportConfig
from .tables import Table, open_table


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Rows as they were found: NaN is still in them."""

    features: np.ndarray  # (rows, *shape) float32
    told: Mapping[str, np.ndarray]  # (rows,) float64, by what it means: time, state, …
    names: tuple[str, ...] = ()  # of the columns of features, where they have names
    first: int = 0  # row of the table

    def __len__(self) -> int:
        return len(self.features)

    def place(self, row: int, column: int = -1) -> str:
        """Name a cell as a message does."""
        name = self.names[column] if self.names and column >= 0 else f"number {column + 1}" if column >= 0 else ""
        return f"row {self.first + row + 1}" + (
            f", column {name!r}" if self.names and name else f", {name}" if name else ""
        )


@dataclass(frozen=True, kw_only=True)
class Span:
    """Rows of a table that are one clip."""

    first: int
    count: int


def read_array(path: Path, config: ImportConfig) -> Rows:
    """Read a file of arrays; of an .npz what is told of rows are arrays of the same length."""
    found = heads(path)
    name = choose(found, config.array)
    shape = row_shape(found[name])
    given = {role: column for role in ROLES if (column := getattr(config, f"{role}_column"))}
    if given and "" in found:
        role, column = next(iter(given.items()))
        raise SourceError(
            f"an .npy has no column {column!r} (--{role}-column): save an .npz with arrays of these names"
        )
    rows = np.asarray(load(path, name)).reshape(-1, *shape)
    told = {role: _one_axis(path, column, role, len(rows), found.keys()) for role, column in given.items()}
    return Rows(features=_narrow(rows), told=told)


def read_table(path: Path, columns: Columns) -> Rows:
    """Read a table that is one clip."""
    parts = list(_cut(open_table(path), columns, None))
    if not parts:
        raise SourceError("the table has a header and no rows")
    return _joined(parts)


def read_spans(path: Path, columns: Columns, spans: Sequence[Span]) -> Iterator[Rows]:
    """Read parts of a table in one pass; spans ascend."""
    waiting = iter(spans)
    span = next(waiting, None)
    parts: list[Rows] = []
    for part in _cut(open_table(path), columns, spans):
        assert span is not None
        parts.append(part)
        if part.first + len(part) == span.first + span.count:
            yield _joined(parts)
            parts, span = [], next(waiting, None)
    assert span is None, "the table became shorter after its ids were read"


def spans_of_ids(table: Table, column: str) -> dict[str, Span]:
    """Return the rows of each clip of a table, in one pass; those of a clip stand together."""
    first: dict[str, int] = {}
    count: dict[str, int] = {}
    last = ""
    for block in table.blocks((), column):
        for row, name in enumerate(block.texts, start=block.first):
            if not name:
                raise SourceError(f"row {row + 1}, column {column!r}: the id is empty")
            if name != last:
                if name in first:
                    raise SourceError(
                        f"the rows of {name!r} do not stand together: from row {first[name] + 1}, and again from row {row + 1}; "
                        "sort the table by its id"
                    )
                first[name], count[name], last = row, 0, name
            count[name] += 1
    if not first:
        raise SourceError("the table has a header and no rows")
    return {name: Span(first=first[name], count=count[name]) for name in first}


def _cut(table: Table, columns: Columns, spans: Sequence[Span] | None) -> Iterator[Rows]:
    """Yield rows block by block, and cut where a span begins or ends; without spans all of them."""
    roles, number = columns.roles, len(columns.features)
    names = list(dict.fromkeys([*columns.features, *roles.values()]))
    place = {name: index for index, name in enumerate(names)}
    left = deque(spans or ())
    for block in table.blocks(names):
        stop = block.first + len(block.numbers)
        for first, last in [(block.first, stop)] if spans is None else _pieces(block.first, stop, left):
            numbers = block.numbers[first - block.first : last - block.first]
            told = {role: numbers[:, place[name]] for role, name in roles.items()}
            yield Rows(features=_narrow(numbers[:, :number]), told=told, names=columns.features, first=first)


def _pieces(start: int, stop: int, left: deque[Span]) -> Iterator[tuple[int, int]]:
    """Yield what spans share with the rows start … stop − 1; those that end there are taken off."""
    while left and left[0].first < stop:
        end = left[0].first + left[0].count
        yield max(start, left[0].first), min(stop, end)
        if end > stop:
            return
        left.popleft()


def _joined(parts: Sequence[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    told = {role: np.concatenate([part.told[role] for part in parts]) for role in parts[0].told}
    features = np.concatenate([part.features for part in parts])
    return Rows(features=features, told=told, names=parts[0].names, first=parts[0].first)


def _one_axis(path: Path, name: str, role: str, count: int, there: Iterable[str]) -> np.ndarray:
    if name not in there:
        raise SourceError(f"it has the arrays {', '.join(there)}, and none named {name!r} (--{role}-column)")
    found = load(path, name)
    if found.ndim > 1 or found.dtype.kind not in "fiub" or len(np.atleast_1d(found)) != count:
        raise SourceError(f"{name!r} holds {found.dtype} of shape {found.shape}, and there are {count} rows")
    return np.atleast_1d(found).astype(np.float64)


def _narrow(rows: np.ndarray) -> np.ndarray:
    """Return rows in float32; what is too large for it becomes an infinity, which is refused later."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(rows, dtype=np.float32)
