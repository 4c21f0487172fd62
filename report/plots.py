"""The kinds of pictures that report pages draw: shaded matrices, lines by epoch, points in a plane, shares with their intervals.

Nothing is told by colour alone: classes have signs of their own, curves have dashes and names at their ends, cells hold their numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from .svg import DARK, clean, fitted, line, path, picture, text, text_width
from .ticks import linear_ticks

COLOURS = ("#1f548c", "#a3262a", "#2b6e2f", "#7a3a8e", "#8a4b00", "#00666e", "#5c5200", "#3c3c3c")
DASHES = ("", "7 4", "2 3", "9 3 2 3")
INK = (31, 84, 140)  # of a full cell without words
PALE = (
    125,
    156,
    188,
)  # of one with words: black on it has a contrast of 4.5, in the inverted colours of dark pages too
CELL, NAME, TURNED = 56, 260, 170  # pixels: a cell, the longest name, and that of one that is turned
GRID, AXIS = "#e4e7ea", "#767676"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Values by epoch: thin lines, and the thick one that is named."""

    name: str
    mean: Sequence[tuple[float, float]]
    thin: Sequence[Sequence[tuple[float, float]]] = ()


def shaded_matrix(
    names: Sequence[str],
    columns: Sequence[str],
    shares: np.ndarray,
    words: Sequence[Sequence[str]] | None,
    *,
    title: str,
    told: str,
    across: str,
    cell: tuple[int, int] = (CELL, 36),
    gaps: int = 0,
) -> str:
    """Draw rows of cells, the darker the larger the share (R, C); a gap after every `gaps` columns."""
    wide, high = cell
    left = min(max((text_width(name) for name in names), default=0), NAME) + 18
    longest = max((min(text_width(name), TURNED) for name in columns), default=0)
    turned = longest > wide - 6
    top = 34 + (0.72 * longest if turned else 16)
    places = [left + wide * at + (5 * (at // gaps) if gaps else 0) for at in range(len(columns))]
    width = (places[-1] + wide if places else left) + (0.72 * longest if turned else 0) + 12
    ink = INK if words is None else PALE
    found = [text(left, 18, across)]
    for x, name in zip(places, columns, strict=True):
        middle = x + wide / 2
        if turned:
            found.append(
                f'<g transform="rotate(-45 {middle:.1f} {top - 8:.1f})">'
                f"{text(middle, top - 8, fitted(name, TURNED), colour=DARK, full=name)}</g>"
            )
        else:
            found.append(text(middle, top - 8, name, anchor="middle", colour=DARK))
    for row, name in enumerate(names):
        y = top + high * row
        found.append(text(left - 8, y + high / 2 + 4, fitted(name, NAME), anchor="end", colour=DARK, full=name))
        for column, x in enumerate(places):
            share = float(shares[row, column])
            share = 0.0 if share != share else min(max(share, 0.0), 1.0)
            shade = [round(255 - share * (255 - one)) for one in ink]
            found.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide}" height="{high}" fill="rgb({",".join(map(str, shade))})" '
                f'stroke="#d0d7de"/>'
            )
            if words is not None:
                found.append(
                    f'<text x="{x + wide / 2:.1f}" y="{y + high / 2 + 4:.1f}" text-anchor="middle" '
                    f'fill="#000">{escape(clean(words[row][column]))}</text>'
                )
    return picture(max(width, left + text_width(across) + 12), top + high * len(names) + 8, title, found, told=told)


def line_chart(
    curves: Sequence[Curve],
    *,
    title: str,
    told: str,
    top: float,
    unit: str,
    size: tuple[int, int] = (430, 230),
    faint: float = 0.3,
) -> str:
    """Draw curves by epoch from 0 to `top`; their names stand at the ends of the lines."""
    width, height = size
    left, above = 58.0, 40.0
    ticks = linear_ticks(0, top)
    highest = max(top, ticks[-1])
    last = max((epoch for curve in curves for epoch, _ in curve.mean), default=1.0)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        share = (point[0] - 1) / (last - 1) if last > 1 else 0.5
        return left + width * share, above + height * (1 - min(max(point[1], 0.0) / highest, 1.0))

    found = [text(left, 20, f"{title}, {unit}" if unit else title, colour=DARK)]
    for tick in ticks:
        _, y = place((1, tick))
        found += [line(left, y, left + width, y, colour=GRID), text(left - 6, y + 4, f"{tick:g}", anchor="end")]
    for epoch in _whole(linear_ticks(1, last)) or [1]:
        found.append(text(place((epoch, 0))[0], above + height + 18, f"{epoch:g}", anchor="middle"))
    found.append(text(left + width, above + height + 34, "epoch", anchor="end"))
    found.append(f'<path d="M{left},{above} V{above + height} H{left + width}" fill="none" stroke="{AXIS}"/>')
    ends: list[tuple[float, str, str]] = []
    for number, curve in enumerate(curves):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        for thin in curve.thin:
            found.append(_stroke([place(point) for point in thin], colour, f' stroke-opacity="{faint}"{dashed}'))
        if curve.mean:
            there = [place(point) for point in curve.mean]
            found.append(_stroke(there, colour, f' stroke-width="2.5"{dashed}'))
            ends.append((there[-1][1], curve.name, colour))
    beside = [fitted(name, 220) for _, name, _ in ends]
    for (y, name, colour), words in zip(_apart(ends), [fitted(one[1], 220) for one in sorted(ends)], strict=True):
        found.append(text(left + width + 8, y + 4, words, colour=colour, full=name))
    room = max((text_width(name) for name in beside), default=0) + 20
    return picture(left + width + room, above + height + 44, title, found, told=told)


def share_chart(
    rows: Sequence[tuple[str, float | None, tuple[float, float] | None]],
    *,
    title: str,
    told: str,
    mark: tuple[float, str] | None = None,
    low: float = 0.0,
    high: float = 1.0,
    unit: str = " %",
) -> str:
    """Draw a dot for each share, with its interval as a line; `mark` is a line through all rows, and what it is."""
    left = min(max((text_width(name) for name, *_ in rows), default=0), NAME) + 20
    width, step, top = 420.0, 28, 40.0

    def x_of(value: float) -> float:
        return left + width * (min(max(value, low), high) - low) / (high - low)

    bottom = top + step * len(rows)
    found = []
    for tick in linear_ticks(100 * low, 100 * high):
        x = x_of(tick / 100)
        found += [
            line(x, top, x, bottom, colour=GRID),
            text(x, bottom + 18, f"{tick:g}{unit}".replace("-", "−"), anchor="middle"),
        ]
    if mark is not None:
        x = x_of(mark[0])
        found += [
            line(x, top - 6, x, bottom, colour=COLOURS[1], more=' stroke-dasharray="6 3"'),
            text(
                x,
                top - 12,
                mark[1],
                anchor="middle" if left + 60 < x < left + width - 60 else "start",
                colour=COLOURS[1],
            ),
        ]
    for row, (name, value, ends) in enumerate(rows):
        y = top + step * (row + 0.5)
        found.append(text(left - 10, y + 4, fitted(name, NAME), anchor="end", colour=DARK, full=name))
        if ends is not None:
            found.append(line(x_of(ends[0]), y, x_of(ends[1]), y, colour=COLOURS[0], more=' stroke-width="2"'))
            found += [line(x_of(end), y - 5, x_of(end), y + 5, colour=COLOURS[0]) for end in ends]
        if value is not None and value == value:
            found.append(f'<circle cx="{x_of(value):.1f}" cy="{y:.1f}" r="5" fill="{COLOURS[0]}"/>')
    return picture(left + width + 40, bottom + 28, title, found, told=told)


def scatter(points: np.ndarray, codes: np.ndarray, *, title: str, told: str, side: int = 330) -> str:
    """Draw points (N, 2) with the sign of their class (N,)."""
    found = []
    low, high = points.min(axis=0), points.max(axis=0)
    span = max(float((high - low).max()), 1e-9)
    middle = (low + high) / 2
    for (x, y), code in zip((points - middle) / span, codes.tolist(), strict=True):
        found.append(class_sign(10 + side * (0.5 + 0.94 * float(x)), 10 + side * (0.5 - 0.94 * float(y)), code))
    found.append(f'<rect x="10" y="10" width="{side}" height="{side}" fill="none" stroke="{AXIS}"/>')
    return picture(side + 20, side + 20, title, found, told=told)


def class_legend(labels: Sequence[str]) -> str:
    """Draw which sign is which class."""
    found, x, y = [], 10.0, 20.0
    for code, label in enumerate(labels):
        words = fitted(label, NAME)
        if x > 10 and x + 30 + text_width(words) > 690:
            x, y = 10.0, y + 22
        found += [class_sign(x + 8, y - 4, code), text(x + 20, y, words, colour=DARK, full=label)]
        x += 34 + text_width(words)
    return picture(700, y + 12, "Signs of the classes", found, told="Each class has a sign and a colour of its own.")


def class_sign(x: float, y: float, code: int) -> str:
    """Draw the sign of a class: another shape and another colour for each."""
    colour = COLOURS[code % len(COLOURS)]
    shape = (code + code // len(COLOURS)) % 8
    around = {
        1: "M-4,-4H4V4H-4Z",
        2: "M0,-5L5,4H-5Z",
        3: "M0,5L5,-4H-5Z",
        4: "M0,-5.5L5.5,0L0,5.5L-5.5,0Z",
        5: "M-5,0H5M0,-5V5",
        6: "M-4,-4L4,4M-4,4L4,-4",
    }
    at = f'transform="translate({x:.1f},{y:.1f})"'
    if shape == 0:
        return f'<circle {at} r="4" fill="{colour}" fill-opacity="0.75"/>'
    if shape == 7:
        return f'<circle {at} r="4" fill="none" stroke="{colour}" stroke-width="2"/>'
    drawn = f'stroke="{colour}" stroke-width="2" fill="none"' if shape > 4 else f'fill="{colour}" fill-opacity="0.75"'
    return f'<path {at} d="{around[shape]}" {drawn}/>'


def _stroke(points: Sequence[tuple[float, float]], colour: str, more: str) -> str:
    """Draw a line through points; a single one as a dot."""
    if len(points) == 1:
        (x, y) = points[0]
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    return path(points, colour=colour, name="curve", more=more)


def _apart(ends: Sequence[tuple[float, str, str]], step: float = 15) -> list[tuple[float, str, str]]:
    """Move names at the ends of lines down until none covers another."""
    found: list[tuple[float, str, str]] = []
    for y, name, colour in sorted(ends):
        found.append((max(y, found[-1][0] + step) if found else y, name, colour))
    return found


def _whole(numbers: Sequence[float]) -> list[float]:
    return [number for number in numbers if number == round(number)]
