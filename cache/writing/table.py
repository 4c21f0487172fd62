"""A table in memory while it is written: columns that grow, and changes of committed rows that wait for their commit.

A row that is not committed yet is simply changed. A committed one is not touched: its new values are `edits`, which the next
commit carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..checksum import of_table_row
from ..schema import CHECKSUMS, NO_NUMBER, ROW_CHECKSUM, ArraySpec
from ..stores.snapshot import Column, Snapshot

FIRST_CAPACITY = 1024


class GrowingColumn:
    """A numeric column whose room doubles."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        self._length = len(values)

    def append(self, value: Any) -> None:
        if self._length == len(self._values):
            room = np.zeros((max(FIRST_CAPACITY, 2 * self._length), *self._values.shape[1:]), self._values.dtype)
            room[: self._length] = self._values
            self._values = room
        self._values[self._length] = value
        self._length += 1

    def __getitem__(self, where: Any) -> Any:
        return self._values[: self._length][where]

    def __setitem__(self, row: int, value: Any) -> None:
        self._values[: self._length][row] = value


class Table:
    """The rows of clips or of failures, committed ones first."""

    def __init__(
        self,
        specs: Mapping[str, ArraySpec],
        columns: Mapping[str, Column],
        committed: int,
        first_rows: Mapping[str, int],
    ) -> None:
        self.first_rows = dict(first_rows)  # per column; rows before it lie in an HDF5 file and stay as they are
        self.specs = dict(specs)
        self.columns: dict[str, Any] = {
            name: list(values) if isinstance(values, list) else GrowingColumn(values)
            for name, values in columns.items()
        }
        self.committed = committed
        self.length = committed
        self.edits: dict[str, dict[int, Any]] = {}  # of committed rows, since the last commit

    @classmethod
    def open(cls, snapshot: Snapshot, specs: Mapping[str, ArraySpec]) -> Table:
        """Read the committed rows of a table."""
        columns = {name: snapshot.column(spec) for name, spec in specs.items()}
        some = specs["id"]
        first_rows = {name: snapshot.segments[-1].first_row(spec) for name, spec in specs.items()}
        return cls(specs, columns, snapshot.manifest.commit.counts.of(some.axis), first_rows)

    def add_column(self, name: str, spec: ArraySpec, values: np.ndarray) -> None:
        """Add a column of checksums, which does not change the rows' own."""
        assert name.startswith(CHECKSUMS), f"{name} would change the checksum of every row"
        assert len(values) == self.length, "a new column has a value for every row"
        self.specs[name] = spec
        self.columns[name] = GrowingColumn(values)
        self.first_rows[name] = 0  # it was filled from the first clip on

    def append(self, row: dict[str, Any]) -> int:
        """Add a row, its checksum computed here; return its place."""
        row[ROW_CHECKSUM] = self._checksum(row)
        for name, column in self.columns.items():
            column.append(row[name])
        self.length += 1
        return self.length - 1

    def value(self, name: str, row: int) -> Any:
        """Return a cell, an uncommitted change included."""
        changed = self.edits.get(name)
        if changed and row in changed:
            return changed[row]
        return self.columns[name][row]

    def change(self, row: int, values: Mapping[str, Any]) -> None:
        """Change cells of a row, and its checksum with them."""
        current = {name: self.value(name, row) for name in self.specs}
        values = {**values, ROW_CHECKSUM: self._checksum({**current, **values})}
        for name, value in values.items():
            if row < self.committed:
                self.edits.setdefault(name, {})[row] = value
            else:
                self.columns[name][row] = value

    def next_edits(self, carried: Mapping[str, Mapping[int, Any]]) -> dict[str, dict[int, Any]]:
        """Return what the next commit carries: new edits, and those of rows in an HDF5 file, which only a fold can take in."""
        found = {
            name: {row: value for row, value in rows.items() if row < self.first_rows[name]}
            for name, rows in carried.items()
        }
        for name, rows in self.edits.items():
            found[name] = {**found.get(name, {}), **{row: plain(value) for row, value in rows.items()}}
        return {name: rows for name, rows in found.items() if rows}

    def settle(self) -> None:
        """After a commit: its edits become the columns' values."""
        for name, rows in self.edits.items():
            for row, value in rows.items():
                self.columns[name][row] = value
        self.edits = {}
        self.committed = self.length

    def live_rows(self, name: str) -> dict[str, int]:
        """Map a column's values to the rows that have not been removed."""
        values = self.columns[name]
        return {values[row]: row for row in np.flatnonzero(self.columns["live"][:]).tolist()}

    def checksum_of(self, row: int) -> int:
        """Compute the checksum that a row should have."""
        return self._checksum({name: self.value(name, row) for name in self.specs})

    def _checksum(self, row: Mapping[str, Any]) -> int:
        return of_table_row(row, self.specs)


def plain(value: Any) -> Any:
    """Return a cell as JSON holds it: NaN is null."""
    if isinstance(value, np.ndarray) and value.ndim:
        return [plain(number) for number in value]
    if isinstance(value, np.ndarray | np.generic):
        return None if value.dtype.kind == "f" and np.isnan(value) else value.item()
    return value


def shown(value: Any) -> Any:
    """Return a cell as a message shows it: an extra number that no list gave is None."""
    found = plain(value)
    return None if found == NO_NUMBER else found


def same_cell(one: Any, other: Any) -> bool:
    """Return whether two cells hold the same; NaN is NaN."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")
