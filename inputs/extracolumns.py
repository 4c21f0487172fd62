"""Extra columns of lists, `extra:NAME`: text, whole numbers, numbers, or rows of numbers, by what stands in all their cells."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cache.schema import ColumnSpec
from ..errors import UsageError, some

if TYPE_CHECKING:
    from .csvlist import ClipList

PREFIX = "extra:"
BETWEEN = re.compile(r"[\s;]+")  # numbers of a row
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
CODE = re.compile(r"[+-]?(0\d+|\d{19,})", re.ASCII)  # 007, and numbers too long to be kept as such: text
MOST = 0.8  # of the cells: then the others look like slips
EMPTY = frozenset(("", "nan", "none", "null", "na", "n/a"))


def column_specs(
    cells: Iterable[Mapping[str, str]], known: Mapping[str, ColumnSpec] | None = None
) -> dict[str, ColumnSpec]:
    """Return the columns that lines of lists have; those that are known already keep their type."""
    texts: dict[str, list[str]] = {}
    for line in cells:
        for name, text in line.items():
            texts.setdefault(name, []).append(text)
    known = known or {}
    told = {name: found for name, found in texts.items() if name in known or not all(map(_is_empty, found))}
    return {name: known.get(name) or _spec(found) for name, found in told.items()}


def typed_cells(line: Mapping[str, str], specs: Mapping[str, ColumnSpec], where: str) -> dict[str, Any]:
    """Return the cells of one line in the types of their columns; empty ones are left out."""
    return {
        name: _typed(text, specs[name], f"{where}: {PREFIX}{name}")
        for name, text in line.items()
        if not _is_empty(text)
    }


def _spec(texts: Iterable[str]) -> ColumnSpec:
    """Return the narrowest type that all cells of a column have."""
    there = [text for text in texts if not _is_empty(text)]
    rows = [_numbers(text) for text in there]
    if not there or any(row is None for row in rows):
        return ColumnSpec(dtype="string", failures=True)
    lengths = {len(row) for row in rows if row is not None}
    if lengths == {1}:
        whole = all(re.fullmatch(r"[+-]?\d{1,18}", text) for text in there)
        return ColumnSpec(dtype="int64" if whole else "float64")
    return (
        ColumnSpec(dtype="float64", shape=(lengths.pop(),))
        if len(lengths) == 1
        else ColumnSpec(dtype="string", failures=True)
    )


def _typed(text: str, spec: ColumnSpec, where: str) -> Any:
    if spec.dtype == "string":
        return text
    numbers = _numbers(text)
    if spec.dtype == "int64" and re.fullmatch(r"[+-]?\d{1,18}", text):
        return int(text)
    if spec.dtype == "float64" and numbers is not None and len(numbers) == (spec.shape or (1,))[0]:
        return tuple(numbers) if spec.shape else numbers[0]
    wanted = "a whole number" if spec.dtype == "int64" else "a number" if not spec.shape else f"{spec.shape[0]} numbers"
    raise UsageError(
        f"{where} is {wanted} in this cache, found {text!r}.", remedy="another name for the column, or correct the cell"
    )


def _numbers(text: str) -> list[float] | None:
    """Read numbers with spaces or semicolons between them; none where something else stands there."""
    parts = BETWEEN.split(text.strip())
    if not all(NUMBER.fullmatch(part) and not CODE.fullmatch(part) for part in parts):
        return None
    found = [float(part) for part in parts]
    return found if all(map(math.isfinite, found)) else None


def _is_empty(text: str) -> bool:
    return text.casefold() in EMPTY


def text_columns(path: Path, read: ClipList, known: Collection[str] = ()) -> list[str]:
    """Warn of columns, those that a cache knows left out, that are text because of a few cells among numbers."""
    warnings = []
    for name in read.extra:
        cells = [(row.line, row.extra[name]) for row in read.rows if not _is_empty(row.extra[name])]
        odd = [(line, text) for line, text in cells if _numbers(text) is None]
        numbers = len(cells) - len(odd)
        if name not in known and odd and numbers >= 2 and numbers >= MOST * len(cells):
            (line, text), beside = odd[0], len(odd) - 1
            more = f" and {beside} more" if beside else ""
            warnings.append(
                f"{path}: {PREFIX}{name} holds text in line {line} ({text!r}){more}: the column is text, not numbers"
            )
    return warnings


def expect_names(names: Iterable[str], where: str) -> None:
    """Refuse names of columns that a cache cannot have, and one name twice."""
    seen = list(names)
    wrong = [name for name in seen if not (name.isidentifier() and name.isascii())]
    twice = sorted({name for name in seen if seen.count(name) > 1})
    if wrong or twice:
        what = f"names {some(map(repr, wrong))}" if wrong else f"{some(twice)} twice"
        raise UsageError(
            f"{where}: extra columns have names of letters, digits and _, each once; found {what}.",
            remedy="extra:site, extra:age",
        )


def names_of(found: ClipList) -> set[str]:
    """Return the names of a list's columns that have a meaning."""
    return {*found.columns, *(PREFIX + name for name in found.extra)}


def listed_names(lists: Iterable[ClipList]) -> str:
    """Name the columns of lists, those without a meaning too."""
    names = [(*found.columns, *(PREFIX + name for name in found.extra), *found.unused) for found in lists]
    return ", ".join(dict.fromkeys(repr(name) for found in names for name in found))
