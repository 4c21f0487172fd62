"""The end of a growing array: rows that wait for a commit, and the last chunk that they continue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..interrupt import uninterrupted
from ..schema import ArraySpec
from ..stores.disk import Data
from ..stores.snapshot import Snapshot
from ..stores.zarr_format import METADATA, array_document, chunk_key, encode_document, encode_rows, encode_strings
from .table import Table


class Appender:
    """Appends rows to a numeric array; only chunks from the last one on are written."""

    def __init__(self, spec: ArraySpec, first_row: int, committed: int, tail: np.ndarray) -> None:
        self.spec = spec
        self.first_row = first_row  # where this directory's part of the array begins
        self.committed = committed
        self._tail = tail  # committed rows of a chunk that is not full
        self._pending: list[np.ndarray] = []
        self.pending_rows = 0

    @classmethod
    def open(cls, snapshot: Snapshot, spec: ArraySpec, committed: int) -> Appender:
        """Resume after the committed rows of an array."""
        first_row = snapshot.segments[-1].first_row(spec)
        chunk_start = first_row + (committed - first_row) // spec.chunk_rows * spec.chunk_rows
        return cls(spec, first_row, committed, snapshot.rows(spec, chunk_start, committed))

    @property
    def rows(self) -> int:
        """Count the rows, pending ones included."""
        return self.committed + self.pending_rows

    def append(self, rows: np.ndarray) -> None:
        """Add rows; they are copied, so that the caller may use its buffer again."""
        if len(rows):
            self._pending.append(np.array(rows, self.spec.dtype, order="C", copy=True))
            self.pending_rows += len(rows)

    def files(self, root: Path) -> Iterator[tuple[Path, Data]]:
        """Yield the chunk files and the metadata that the next commit needs."""
        if not self.pending_rows:
            return
        rows = self._join()
        chunk = (self.committed - self.first_row) // self.spec.chunk_rows
        for start in range(0, len(rows), self.spec.chunk_rows):
            yield (
                root / self.spec.name / chunk_key(self.spec, chunk),
                encode_rows(self.spec, rows[start : start + self.spec.chunk_rows]),
            )
            chunk += 1
        yield metadata_file(root, self.spec, self.rows - self.first_row)

    def settle(self) -> None:
        """After a commit: what was pending is committed."""
        if self.pending_rows:
            total = self.rows
            kept = (total - self.first_row) % self.spec.chunk_rows
            rows = self._join()
            self._tail = rows[len(rows) - kept :].copy()
            self.committed = total
            self._pending, self.pending_rows = [], 0

    def _join(self) -> np.ndarray:
        """Return tail and pending rows as one array, and keep them so until the commit is through."""
        if len(self._pending) > 1 or len(self._tail):
            with uninterrupted():
                self._pending = [np.concatenate([self._tail, *self._pending])]
                self._tail = self._tail[:0]
        return self._pending[0]


def changed_files(
    root: Path, arrays: Iterable[Appender], tables: Mapping[str, Table], edits: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[Path, Data]]:
    """Yield the files that a commit writes before its attributes; `edits` are those of the commit before, by table."""
    for array in arrays:
        yield from array.files(root)
    for name, table in tables.items():
        yield from table_files(root, table, edits.get(name, {}))


def table_files(root: Path, table: Table, edited: Mapping[str, Mapping[int, object]]) -> Iterator[tuple[Path, Data]]:
    """Yield the chunks of a table that hold uncommitted rows, or edits of the last commit."""
    for name, spec in table.specs.items():
        first_row = table.first_rows[name]
        chunks = {(row - first_row) // spec.chunk_rows for row in edited.get(name, {}) if row >= first_row}
        if table.length > table.committed:
            chunks |= set(
                range(
                    (table.committed - first_row) // spec.chunk_rows, -(-(table.length - first_row) // spec.chunk_rows)
                )
            )
            yield metadata_file(root, spec, table.length - first_row)
        for chunk in sorted(chunks):
            start = first_row + chunk * spec.chunk_rows
            values = table.columns[name][start : start + spec.chunk_rows]
            data = encode_strings(spec, values) if isinstance(values, list) else encode_rows(spec, values)
            yield root / spec.name / chunk_key(spec, chunk), data


def metadata_file(root: Path, spec: ArraySpec, rows: int) -> tuple[Path, Data]:
    """Return the zarr.json of an array of some length."""
    return root / spec.name / METADATA, encode_document(array_document(spec, rows))
