"""Tables of numbers, CSV or Parquet, read in blocks of rows: a table may be larger than the memory.

A cell is a number, or empty, or says NaN; anything else is refused by row and column. Rows are counted from 1, behind the header.
"""

from __future__ import annotations

import codecs
import csv
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SourceError
from ...packages import what_is_wrong
from ..csvlist import DELIMITERS, EMPTY_NUMBERS

BLOCK_ROWS = 4096
HEAD_BYTES = 65536
TABLES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Some rows of a table."""

    first: int  # row, counted from 0
    numbers: np.ndarray  # (rows, columns) float64, NaN where a cell is empty
    texts: list[str]  # (rows,) of the column that is read as text; empty where none is


class Table(ABC):
    """A table on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Name the columns."""

    @abstractmethod
    def holds_numbers(self) -> dict[str, bool]:
        """Say of each column whether it holds numbers, by its type or its first cell that is not empty."""

    @abstractmethod
    def blocks(self, numbers: Sequence[str], text: str = "") -> Iterator[Block]:
        """Read columns as numbers, and one as text, some rows at a time."""


class CsvTable(Table):
    """A text file with a header: commas, semicolons, tabs or bars between cells."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            with open(path, "rb") as file:
                head = file.read(HEAD_BYTES)
        except OSError as error:
            raise SourceError(f"it cannot be read ({error.strerror})") from error
        if not head.strip():
            raise SourceError("the file is empty")
        self._encoding = _encoding(head)
        try:
            first = next(self._lines(), "")
            self._delimiter = max(DELIMITERS, key=lambda one: len(next(csv.reader([first], delimiter=one), [])))
        except (csv.Error, UnicodeError) as error:
            raise SourceError(f"it is not a text table: {error}") from error
        self._names = tuple(name.strip() for name in next(self._records(), []))
        if twice := [name for name in self._names if name and self._names.count(name) > 1]:
            raise SourceError(f"two columns are named {twice[0]!r}")

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    def holds_numbers(self) -> dict[str, bool]:
        kinds: dict[str, bool] = {}
        for cells in islice(self._records(), 1, 1 + BLOCK_ROWS):
            told = {name: cell for name, cell in zip(self._names, cells, strict=False) if name not in kinds}
            kinds |= {name: _is_number(cell) for name, cell in told.items() if not _is_empty(cell)}
            if len(kinds) == len(self._names):
                break
        return {name: kinds.get(name, True) for name in self._names}

    def blocks(self, numbers: Sequence[str], text: str = "") -> Iterator[Block]:
        records = self._records()
        next(records, None)
        places = [self._names.index(name) for name in numbers]
        of_text, first = self._names.index(text) if text else -1, 0
        while rows := list(islice(records, BLOCK_ROWS)):
            found, error = self._numbers(rows, places, first)
            whole = rows[: len(found)]
            if whole:
                yield Block(
                    first=first, numbers=found, texts=[cells[of_text].strip() for cells in whole] if text else []
                )
            if error is not None:
                raise error
            first += len(rows)

    def _numbers(self, rows: list[list[str]], places: list[int], first: int) -> tuple[np.ndarray, SourceError | None]:
        """Return rows up to the first that makes no sense, and what is wrong with that one."""
        wrong = self._not_whole(rows, first)
        if wrong is not None:
            rows = rows[: wrong[0]]
        error = None if wrong is None else wrong[1]
        if not places or not rows:
            return np.empty((len(rows), len(places))), error
        pick = itemgetter(*places) if len(places) > 1 else lambda cells: (cells[places[0]],)
        picked = [pick(cells) for cells in rows]
        try:
            if "_" not in "".join(chain.from_iterable(picked)):  # float() takes 1_000, which no tool writes
                return np.array([list(map(float, cells)) for cells in picked]), error
        except ValueError:  # an empty cell, or no number: one by one
            pass
        found = np.empty((len(rows), len(places)))
        for number, cells in enumerate(picked):
            for column, cell in enumerate(cells):
                try:
                    found[number, column] = self._number(cell, first + number, self._names[places[column]])
                except SourceError as fault:
                    return found[:number], fault
        return found, error

    def _number(self, cell: str, row: int, name: str) -> float:
        if _is_empty(cell):
            return float("nan")
        try:
            return _float(cell)
        except ValueError:
            raise SourceError(f"row {row + 1}, column {name!r}: expected a number, found {cell!r}") from None

    def _not_whole(self, rows: list[list[str]], first: int) -> tuple[int, SourceError] | None:
        """Return the first row with too few or too many cells, and the error that says so."""
        width = len(self._names)
        for number, cells in enumerate(rows):
            if len(cells) < width or any(cell.strip() for cell in cells[width:]):
                return number, SourceError(f"row {first + number + 1}: expected {width} cells, found {len(cells)}")
        return None

    def _lines(self) -> Iterator[str]:
        with open(self.path, encoding=self._encoding, newline="") as file:
            yield from file

    def _records(self) -> Iterator[list[str]]:
        try:
            for cells in csv.reader(self._lines(), delimiter=self._delimiter, strict=True):
                if any(cell.strip() for cell in cells):
                    yield cells
        except (csv.Error, UnicodeError) as error:
            raise SourceError(f"it is not a text table: {error}") from error


class ParquetTable(Table):
    """A Parquet file, by pyarrow."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        parquet = _pyarrow("pyarrow.parquet")
        try:
            self._file = parquet.ParquetFile(path)
        except (OSError, ValueError) as error:  # pyarrow's errors of files are of both kinds
            raise SourceError(f"it cannot be read as Parquet: {error}") from error
        self._schema = self._file.schema_arrow

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._schema.names)

    def holds_numbers(self) -> dict[str, bool]:
        types = _pyarrow("pyarrow.types")
        return {
            field.name: types.is_integer(field.type) or types.is_floating(field.type) or types.is_boolean(field.type)
            for field in self._schema
        }

    def blocks(self, numbers: Sequence[str], text: str = "") -> Iterator[Block]:
        kinds = self.holds_numbers()
        if wrong := [name for name in numbers if not kinds[name]]:
            raise SourceError(f"column {wrong[0]!r}: expected numbers, found {self._schema.field(wrong[0]).type}")
        first = 0
        for batch in self._file.iter_batches(batch_size=BLOCK_ROWS, columns=[*numbers, *([text] if text else [])]):
            rows = np.empty((batch.num_rows, len(numbers)))
            for column, name in enumerate(numbers):
                rows[:, column] = _floats(batch.column(name))
            texts = [str(cell) if cell is not None else "" for cell in batch.column(text).to_pylist()] if text else []
            yield Block(first=first, numbers=rows, texts=texts)
            first += batch.num_rows


def open_table(path: Path) -> Table:
    """Open a table by its suffix."""
    return ParquetTable(path) if path.suffix.lower() == ".parquet" else CsvTable(path)


def _floats(column: Any) -> np.ndarray:
    """Return a column as float64, NaN for nulls."""
    return column.cast("float64").to_numpy(zero_copy_only=False)


def _pyarrow(module: str) -> Any:
    if wrong := what_is_wrong("pyarrow", install="'est-fer[tables]'"):
        raise SourceError(f"Parquet files are read by pyarrow; {': '.join(wrong)}, or save as .csv")
    return import_module(module)


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head:
        raise SourceError("it is not text; a table is CSV in UTF-8")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _is_number(cell: str) -> bool:
    try:
        _float(cell)
    except ValueError:
        return _is_empty(cell)
    return True


def _is_empty(cell: str) -> bool:
    return cell.strip().casefold() in EMPTY_NUMBERS


def _float(cell: str) -> float:
    if "_" in cell:
        raise ValueError("a name such as 006_1_2 is no number")
    return float(cell)
