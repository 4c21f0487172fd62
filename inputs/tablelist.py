"""Lists of clips that a Python caller holds: data frames, or mappings from a column's name to its cells; and several lists at once.

A data frame says what the same table would say as a file in the folder in which Python works: its columns have the names of `csvlist`, and
relative paths begin there. pandas is not imported: whatever has named columns will do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from ..errors import UsageError
from .csvlist import ClipList, make_list, read_list
from .extracolumns import PREFIX

if TYPE_CHECKING:
    import pandas

    Table = pandas.DataFrame | Mapping[str, Sequence[Any]]
    Named = Path | str | Table  # one thing that names clips
    Given = Named | Sequence[Named]  # or several

NAME = "data frame"  # in messages, in the place of a file's name


def is_table(given: object) -> TypeGuard[Table]:
    """Return whether something has named columns."""
    return isinstance(given, Mapping) or (hasattr(given, "columns") and hasattr(given, "__getitem__"))


def each(given: Given) -> list[Named]:
    """Return several paths and tables as they are, and one as a list of it."""
    several = isinstance(given, Iterable) and not (isinstance(given, Path | str) or is_table(given))
    named: list[Any] = list(given) if several else [given]
    for one in named:
        if not isinstance(one, Path | str) and not is_table(one):
            raise UsageError(f"Clips are named by paths, lists and data frames, found {one!r}.", remedy='"videos"')
    return named


def read_lists(given: Given, *, keys: tuple[str, ...] = ("path",), counted: bool = False) -> dict[Path, ClipList]:
    """Read lists by the names that messages give them, each file once."""
    found: dict[Path, ClipList] = {}
    number = 0
    for one in each(given):
        if isinstance(one, Path | str):
            if (path := Path(one)) not in found:
                found[path] = read_list(path, keys=keys, counted=counted)
            continue
        number += 1
        name = Path(NAME if number == 1 else f"{NAME} {number}")
        header, cells = _texts(one)
        found[name] = make_list(header, enumerate(cells, start=1), str(name), keys=keys, counted=counted)
    return found


def _texts(table: Table) -> tuple[list[str], Iterator[list[str]]]:
    """Return the names of the columns, and the rows as a file would have them; an index with a name is a column, too."""
    frame: Any = table
    if getattr(getattr(frame, "index", None), "name", None) is not None:
        frame = frame.reset_index()
    names = frame.columns if hasattr(frame, "columns") else frame
    columns = {str(name): [_text(cell, str(name)) for cell in frame[name]] for name in names}
    return list(columns), map(list, zip(*columns.values(), strict=True))


def _text(cell: Any, column: str) -> str:
    """Write a cell: nothing where it is missing, and 3.0 as 3, which pandas makes of whole numbers where one is missing."""
    if cell is None or str(cell) == "<NA>" or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, float) and cell.is_integer() and not column.startswith(PREFIX):
        return str(int(cell))
    return str(cell)
