"""The frame of every report page, and the pieces that stand in it: one HTML file that needs no other, and no network.

Every piece is a function from plain words to HTML: words are escaped here, and nowhere else. A content security policy in the page
forbids the browser to load anything. Tables sort by their headings, by mouse and by keyboard.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import count
from numbers import Integral, Real
from pathlib import Path

from .privacy import without_folders
from .script import SCRIPT
from .style import STYLE
from .svg import clean

MISSING = "–"  # in a cell: there is no value
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
MAIN = "content"  # the name of what a page says, to which its first link goes
KINDS = {b"\xff\xd8": "image/jpeg", b"\x89P": "image/png"}


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page under a heading of its own, listed in the page's contents."""

    title: str
    parts: Sequence[str]  # HTML, made by the functions below

    @property
    def name(self) -> str:
        """Return what links to it."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "section"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table: what is shown, and the value that it is sorted by; a number stands to the right."""

    words: str
    value: float | str | None = None
    html: str = ""  # made by the functions below, and shown in the place of words


def page(
    title: str,
    sections: Sequence[Section],
    *,
    lead: Sequence[str] = (),
    style: str = "",
    scripts: Sequence[str] = (),
    paths: bool = False,
    begin: Sequence[Path] = (),
) -> str:
    """Return a page: a title, pieces of HTML below it, a list of contents, the sections; rules and scripts behind the page's own.

    Without `paths`, folders of absolute paths are left out; those in the folders `begin` begin there (privacy.py).
    """
    shown = (lambda html: html) if paths else partial(without_folders, begin=begin)
    names = _distinct([section.name for section in sections])
    contents = "".join(
        f'<li><a href="#{name}">{_plain(section.title)}</a></li>' for name, section in zip(names, sections, strict=True)
    )
    return "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{_plain(title)}</title>',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">',
            f'<style>{STYLE}{style}</style></head><body><a class="skip" href="#{MAIN}">Skip to content</a>',
            f"<header><h1>{_plain(title)}</h1>",
            *map(shown, lead),
            "</header>",
            f'<nav class="contents" aria-label="Contents"><ul>{contents}</ul></nav>' if len(names) > 1 else "",
            f'<main id="{MAIN}" tabindex="-1">',
            *(shown(_section(name, section)) for name, section in zip(names, sections, strict=True)),
            "</main>",
            *(f"<script>{script}</script>" for script in (SCRIPT, *scripts)),
            "</body></html>\n",
        ]
    )


def heading(words: str) -> str:
    """Write a heading below that of a section."""
    return f"<h3>{_plain(words)}</h3>"


def text(words: str) -> str:
    """Write a paragraph."""
    return f"<p>{_plain(words)}</p>"


def warning(words: str) -> str:
    """Write a paragraph that a reader should not miss."""
    return f'<p class="warning"><strong>Note:</strong> {_plain(words)}</p>'


def code(words: str) -> str:
    """Write commands as they are typed."""
    return f'<pre tabindex="0"><code>{escape(words)}</code></pre>'


def items(words: Iterable[str]) -> str:
    """Write a list."""
    return "<ul>" + "".join(f"<li>{_plain(one)}</li>" for one in words) + "</ul>"


def facts(known: Mapping[str, object]) -> str:
    """Write names and their values."""
    rows = "".join(f"<dt>{_plain(name)}</dt><dd>{_plain(str(value))}</dd>" for name, value in known.items())
    return f'<dl class="facts">{rows}</dl>'


def details(summary: str, *parts: str) -> str:
    """Write a collapsed block; printing expands it."""
    return f"<details><summary>{_plain(summary)}</summary>{''.join(parts)}</details>"


def figure(svg: str, caption: str) -> str:
    """Show a picture of svg.py, or HTML of `image`, with its caption."""
    return f"<figure>{svg}<figcaption>{_plain(caption)}</figcaption></figure>"


def side_by_side(*parts: str) -> str:
    """Put pieces beside each other, where there is room."""
    return f'<div class="beside">{"".join(parts)}</div>'


def image(data: bytes, alt: str, *, width: int | None = None) -> str:
    """Show a JPEG or PNG, kept in the page itself."""
    kind = KINDS[data[:2]]
    wide = f' width="{width}"' if width else ""
    return f'<img src="data:{kind};base64,{base64.b64encode(data).decode()}" alt="{_plain(alt)}"{wide}>'


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[Cell | str | float | None]],
    *,
    caption: str,
    sortable: bool = True,
    unsorted: Collection[str] = (),
) -> str:
    """Write a table; the first cell of each row is its heading, numbers stand to the right; `unsorted` columns have no button."""
    cells = [[_cell(one) for one in row] for row in rows]
    numbers = [
        any(isinstance(row[place].value, Real) for row in cells)
        and all(isinstance(row[place].value, Real) or row[place].words == MISSING for row in cells)
        for place in range(len(header))
    ]
    sortable = sortable and len(cells) > 1
    head = "".join(
        f'<th scope="col"{_class(number)}'
        + (
            f' aria-sort="none"><button type="button">{_plain(name)}</button></th>'
            if sortable and name not in unsorted
            else f">{_plain(name)}</th>"
        )
        for name, number in zip(header, numbers, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(_written(one, first=place == 0, number=numbers[place]) for place, one in enumerate(row))
        + "</tr>"
        for row in cells
    )
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_plain(caption)}"><table{kind}>'
        f"<caption>{_plain(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def number_words(number: float) -> str:
    """Write a number: a whole one with all its digits, another with four, and never with fewer than those before the point."""
    if isinstance(number, Integral) or number == math.floor(number):
        return f"{int(number):,}"
    return f"{math.floor(number + 0.5):,}" if abs(number) >= 1000 else f"{number:.4g}"


def percent(share: float | None, digits: int = 1) -> Cell:
    """Write a share as per cent, sorted by the share."""
    if share is None or share != share:
        return Cell(words=MISSING)
    return Cell(words=f"{100 * share:.{digits}f} %", value=share)


def _section(name: str, section: Section) -> str:
    title = f'<h2 id="{name}">{_plain(section.title)}</h2>'
    return "\n".join([f'<section aria-labelledby="{name}">', title, *section.parts, "</section>"])


def _cell(one: Cell | str | float | None) -> Cell:
    if isinstance(one, Cell):
        return one
    if one is None or one != one:
        return Cell(words=MISSING)
    if isinstance(one, str):
        return Cell(words=one)
    return Cell(words=number_words(one), value=int(one) if isinstance(one, Integral) else float(one))


def _written(cell: Cell, *, first: bool, number: bool) -> str:
    name = 'th scope="row"' if first else "td"
    value = "" if cell.value is None else f' data-value="{_plain(str(cell.value))}"'
    return f"<{name}{_class(number)}{value}>{cell.html or _plain(cell.words)}</{name[:2]}>"


def _class(number: bool) -> str:
    return ' class="number"' if number else ""


def _distinct(names: Sequence[str]) -> list[str]:
    """Number names that occur twice, or that the page itself has."""
    found: list[str] = []
    taken = {MAIN, *names}
    for place, name in enumerate(names):
        if name == MAIN or name in names[:place]:
            name = next(one for one in (f"{name}-{number}" for number in count(2)) if one not in taken)
            taken.add(name)
        found.append(name)
    return found


def _plain(words: str) -> str:
    return escape(clean(words))
