"""Coding tables: which frames of a recording are a micro-expression's onset, apex and offset, and which emotion it was taken for.

They are released as .xlsx; a CSV export beside it is taken in its place. Notes may stand above the header. The numbers are those of the
recording's frames, not of the clip's.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ....errors import UsageError
from ...csvlist import DELIMITERS, read_text
from ..tree import Tree, folders, names
from .workbook import read_workbook

UNKNOWN = frozenset(("", "/", "-", "?", "-1", "nan", "none", "n/a", "na", "unknown"))
HEADER_ROWS = 60  # in which the header is looked for

# What is needed → what releases and exports call it, in small letters and digits.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "subject": ("subject", "participant", "subjectid"),
    "file": ("filename", "file", "clip"),
    "onset": ("onsetframe", "onset"),
    "apex": ("apexframe", "apex"),
    "offset": ("offsetframe", "offset"),
    "emotion": ("estimatedemotion", "emotion"),
}


@dataclass(frozen=True, kw_only=True)
class Coded:
    """One row of a coding table; frames as the recording numbers them, −1 where not known."""

    where: str
    subject: str
    file: str
    onset: int
    apex: int
    offset: int
    emotion: str


def find_table(tree: Tree, pattern: str, near: Path | None = None) -> Path | None:
    """Return the table whose name matches: beside the clips, in the root, or one or two folders below; a CSV before an .xlsx."""
    places = [tree.root, *folders(tree.root, 64)]
    places += [inner for folder in places[1:] for inner in folders(folder, 64)]
    if near is not None:
        places = [near, near.parent, *places]
    wanted = re.compile(rf"{pattern}.*\.(csv|tsv|txt|xlsx)", re.IGNORECASE)
    for place in places:
        met = [place / name for name in names(place) if wanted.fullmatch(name) and not name.startswith("~$")]
        if met:
            exports = [path for path in met if path.suffix.lower() != ".xlsx"] or met
            if len(exports) > 1:
                raise UsageError(
                    f"{tree.dataset}: {' and '.join(tree.show(path) for path in sorted(exports)[:2])} may both be the coding table.",
                    remedy="keep one of them there",
                )
            return exports[0]
    return None


def read_coding(path: Path) -> list[Coded]:
    """Read a coding table, or say which column or cell of it is not as expected."""
    for rows in _sheets(path):
        for place, (_, cells) in enumerate(rows[:HEADER_ROWS]):
            if columns := _columns(cells):
                return [_coded(path, number, cells, columns) for number, cells in _clips(rows[place + 1 :], columns)]
    nearest = max((cells for rows in _sheets(path) for _, cells in rows[:HEADER_ROWS]), key=_likeness, default=[])
    lacking = [names_of[0] for names_of in COLUMNS.values() if not set(names_of) & {_plain(cell) for cell in nearest}]
    raise UsageError(
        f"{path}: a coding table has the columns Subject, Filename, Onset Frame, Apex Frame, Offset Frame and Estimated Emotion; "
        f"found {', '.join(repr(cell) for cell in nearest if cell) or 'an empty file'}, which lacks {', '.join(lacking)}.",
        remedy="take the table as it was released, or export it as CSV with its header",
    )


def _sheets(path: Path) -> Sequence[Sequence[tuple[int, list[str]]]]:
    if path.suffix.lower() == ".xlsx":
        return read_workbook(path)
    text = read_text(path)
    start = "\n".join(text.splitlines()[:HEADER_ROWS])
    delimiter = max(DELIMITERS, key=start.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [[(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(map(str.strip, cells))]]
    except csv.Error as error:
        raise UsageError(
            f"{path}, line {reader.line_num}: {error}.", remedy="export the table as CSV once more"
        ) from error


def _columns(cells: Sequence[str]) -> dict[str, int]:
    """Return which column holds what; nothing where the row is no header."""
    plain = [_plain(cell) for cell in cells]
    found = {
        column: plain.index(name) for column, called in COLUMNS.items() for name in reversed(called) if name in plain
    }
    return found if found.keys() == COLUMNS.keys() else {}


def _clips(rows: Iterable[tuple[int, list[str]]], columns: Mapping[str, int]) -> list[tuple[int, list[str]]]:
    """Leave out rows that name no clip: notes below the table."""
    last = max(columns.values())
    padded = [(number, [*cells, *[""] * (last + 1 - len(cells))]) for number, cells in rows]
    return [(number, cells) for number, cells in padded if cells[columns["file"]] and cells[columns["subject"]]]


def _coded(path: Path, number: int, cells: Sequence[str], columns: Mapping[str, int]) -> Coded:
    where = f"{path.name}, row {number}"
    values = {column: cells[at] for column, at in columns.items()}
    return Coded(
        where=where,
        subject=values["subject"],
        file=values["file"],
        emotion=values["emotion"].casefold(),
        **{name: _frame(values[name], f"{path}, row {number}: {name}") for name in ("onset", "apex", "offset")},
    )


def _frame(text: str, where: str) -> int:
    if text.casefold() in UNKNOWN:
        return -1
    if not re.fullmatch(r"\d{1,9}(\.0+)?", text):
        raise UsageError(
            f"{where}: expected the number of a frame, or / where it is not known; found {text!r}.",
            remedy="correct the cell in a CSV export beside the table, which is used instead",
        )
    return int(float(text))


def _likeness(cells: Sequence[str]) -> int:
    return sum(bool(set(called) & {_plain(cell) for cell in cells}) for called in COLUMNS.values())


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())
