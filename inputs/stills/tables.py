"""Tables as text: a header and rows of cells, whatever the delimiter and the encoding."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import UsageError
from ..csvlist import DELIMITERS, read_text

LIST_SUFFIXES = (".csv", ".tsv", ".txt")


def header_of(path: Path) -> list[str]:
    """Return the cells of the first line."""
    with open(path, "rb") as file:
        start = file.readline(1 << 20)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):  # UTF-16, whose lines end elsewhere
        first = read_text(path).split("\n", 1)[0]
    else:
        first = start.decode("utf-8-sig", errors="replace")
    return [cell.strip() for _, cells in _records([first.strip()], _delimiter(first), path, 1) for cell in cells]


def read_table(path: Path, wanted: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the lines of a table that are not empty, with their numbers; refuse one that lacks a column."""
    lines = read_text(path).splitlines()
    header = header_of(path)
    if missing := [name for name in wanted if name not in header]:
        raise UsageError(
            f"{path} has the columns {', '.join(header)}, and lacks {', '.join(missing)}.",
            remedy="give the list as released",
        )
    for number, cells in _records(lines[1:], _delimiter(lines[0]) if lines else ",", path, 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise UsageError(
                f"{path}, line {number}: expected {len(header)} cells, found {len(cells)}.",
                remedy='a cell that holds the delimiter is written in quotes: "a, b.jpg"',
            )
        yield number, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}


def _records(lines: Sequence[str], delimiter: str, path: Path, first: int) -> Iterator[tuple[int, list[str]]]:
    """Yield records with their numbers, or say which is none."""
    number = first
    try:
        for number, cells in enumerate(csv.reader(lines, delimiter=delimiter), start=first):
            yield number, cells
    except csv.Error as error:
        raise UsageError(f"{path}, behind line {number}: {error}.", remedy="save the table as CSV once more") from error


def _delimiter(line: str) -> str:
    return max(DELIMITERS, key=line.count)
