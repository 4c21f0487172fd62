"""A table of many rows: all of them in the page as JSON, one page of them on the screen; searched, filtered and sorted by a script.

Texts that repeat are kept once, so that 100,000 rows are a few megabytes. Numbers keep every digit: filters compare them as they are, and
fractions are shown with four. Without a script the first rows are there as a plain table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from numbers import Integral
from typing import Any, Literal

from .page import MISSING, number_words
from .svg import clean

CHOICES = 60  # different texts of a column, up to which it has a list to choose from
SHOWN = (25, 50, 100, 500)  # rows on a page
FIRST = 50
EXACT = 2**53  # beyond it JavaScript's numbers are not exact: such columns are written as texts and read as BigInt


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: texts, numbers (None: unknown), shares of 1 that are shown as per cent, or pictures as data URLs."""

    name: str
    values: Sequence[Any]
    kind: Literal["text", "number", "share", "picture"] = "text"


def paged_table(name: str, columns: Sequence[Column], *, caption: str, noun: str) -> str:
    """Return the table with its controls and its data; `name` tells it from others on the page, `noun` says what a row is."""
    count = len(columns[0].values) if columns else 0
    data = {"noun": noun, "columns": [_packed(column) for column in columns]}
    packed = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    head = "".join(
        f'<th scope="col"{_class(column)}>{_plain(column.name)}</th>'
        if column.kind == "picture"
        else f'<th scope="col"{_class(column)} aria-sort="none"><button type="button">{_plain(column.name)}</button></th>'
        for column in columns
    )
    body = "".join(
        "<tr>" + "".join(_cell(columns, place, row) for place in range(len(columns))) + "</tr>"
        for row in range(min(count, FIRST))
    )
    return "\n".join(
        [
            f'<div class="paged" id="{name}">',
            f'<div class="controls" role="search" aria-label="{_plain(caption)}" hidden>{_controls(columns, name)}</div>',
            f'<p class="muted" role="status">{_plain(f"Rows 1 to {min(count, FIRST):,} of {count:,}")}</p>',
            f'<div class="scroll" tabindex="0" role="region" aria-label="{_plain(caption)}"><table>',
            f"<caption>{_plain(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>",
            '<div class="controls pages" hidden><button type="button" class="back">Previous page</button>'
            '<label>Page <input type="number" class="at" min="1" value="1" style="width:6em"></label>'
            '<button type="button" class="on">Next page</button></div>',
            f'<script type="application/json">{packed}</script></div>',
        ]
    )


def _controls(columns: Sequence[Column], name: str) -> str:
    parts = [f'<label>Search <input type="search" class="words" id="{name}-words"></label>']
    for place, column in enumerate(columns):
        words = _choices(column) if place else None  # the first column names the row
        if words is not None and len(words) > 1:
            options = "".join(f'<option value="{_plain(one)}">{_plain(one or "(none)")}</option>' for one in words)
            parts.append(
                f'<label>{_plain(column.name)} <select class="choice" data-column="{place}">'
                f'<option value="all" data-all="1">all</option>{options}</select></label>'
            )
    numbers = [(place, column) for place, column in enumerate(columns) if column.kind in ("number", "share")]
    if numbers:
        options = "".join(f'<option value="{place}">{_plain(_unit(column))}</option>' for place, column in numbers)
        parts.append(
            f'<label>Number <select class="column">{options}</select></label><label>is <select class="sign">'
            '<option value="le">at most</option><option value="ge">at least</option></select></label>'
            '<label>value <input type="number" class="bound" step="any" style="width:8em"></label>'
        )
    options = "".join(f"<option{' selected' if one == FIRST else ''}>{one}</option>" for one in SHOWN)
    parts.append(f'<label>Rows <select class="rows">{options}</select></label>')
    parts.append('<button type="button" class="reset">Show all</button>')
    return "".join(parts)


def _packed(column: Column) -> dict[str, Any]:
    """Return a column as it stands in the page's JSON."""
    if column.kind in ("number", "share"):
        numbers = [_number(value) for value in column.values]
        whole = [number for number in numbers if isinstance(number, int)]
        if len(whole) + numbers.count(None) == len(numbers) and any(abs(number) > EXACT for number in whole):
            long = [number if number is None else str(number) for number in numbers]
            return {"name": column.name, "kind": column.kind, "long": True, "values": long}
        return {"name": column.name, "kind": column.kind, "values": numbers}
    if column.kind == "picture":
        return {"name": column.name, "kind": column.kind, "values": list(column.values)}
    values = [clean(value or "") for value in column.values]
    words = {value: place for place, value in enumerate(dict.fromkeys(values))}
    if len(words) > len(values) / 2:
        return {"name": column.name, "kind": "text", "values": values}
    return {"name": column.name, "kind": "text", "words": list(words), "values": [words[value] for value in values]}


def _choices(column: Column) -> list[str] | None:
    """Return the different texts of a column, None where a list of them would be too long."""
    if column.kind != "text":
        return None
    words = sorted({clean(value or "") for value in column.values})
    return words if len(words) <= CHOICES else None


def _number(value: Any) -> float | int | None:
    """Return a number as it is in the page's JSON: every digit, because filters compare it."""
    if value is None or (not isinstance(value, Integral) and not math.isfinite(value)):
        return None
    return int(value) if value == int(value) else float(value)


def _cell(columns: Sequence[Column], place: int, row: int) -> str:
    column, value = columns[place], columns[place].values[row]
    name = "td" if place else 'th scope="row"'
    if column.kind == "picture":
        alt = f"face of {columns[0].values[row]}"
        words = f'<img src="{value}" alt="{_plain(alt)}" width="48" height="48">' if value else MISSING
    else:
        words = _plain(_words(column, value))
    return f"<{name}{_class(column)}>{words}</{name[:2]}>"


def _words(column: Column, value: Any) -> str:
    """Write a value as the script does."""
    if column.kind == "text":
        return value or MISSING
    number = _number(value)
    if number is None:
        return MISSING
    return f"{100 * number:.1f} %" if column.kind == "share" else number_words(number)


def _unit(column: Column) -> str:
    return f"{column.name}, %" if column.kind == "share" else column.name


def _class(column: Column) -> str:
    return ' class="number"' if column.kind in ("number", "share") else ""


def _plain(words: str) -> str:
    return escape(clean(words))
