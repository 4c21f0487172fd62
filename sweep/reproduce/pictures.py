"""Pictures of tables and figures as SVG: points with intervals over a number, and rows with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...report.plots import AXIS, COLOURS, DASHES, GRID, NAME
from ...report.svg import DARK, fitted, line, path, picture, text, text_width
from ...report.ticks import linear_ticks

SIZE, LEFT, ABOVE, ROW = (430, 240), 58.0, 40.0, 28
SPARE = 0.05  # around the values, as a share


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of a curve, a share, and its ends where they are known."""

    x: float
    value: float
    ends: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points of one name, from left to right."""

    name: str
    points: Sequence[Point]
    faint: bool = False  # a line to compare with, such as chance


def curve_picture(curves: Sequence[Curve], *, title: str, axis: str, told: str = "") -> str:
    """Draw shares in percent over a number; a number stands as far right as its place among those there are."""
    xs = sorted({point.x for curve in curves for point in curve.points})
    low, high = _range(
        [value for curve in curves for point in curve.points for value in (point.value, *(point.ends or ()))]
    )
    width, height = SIZE

    def place(x: float, value: float) -> tuple[float, float]:
        step = width / len(xs)
        return LEFT + step * (xs.index(x) + 0.5), ABOVE + height * (1 - (value - low) / (high - low))

    found = [text(LEFT, 20, fitted(f"{title}, %", width + 120), colour=DARK, full=title)]
    for tick in linear_ticks(100 * low, 100 * high):
        y = place(xs[0], tick / 100)[1]
        found += [line(LEFT, y, LEFT + width, y, colour=GRID), text(LEFT - 6, y + 4, f"{tick:g}", anchor="end")]
    found += [text(place(x, low)[0], ABOVE + height + 18, f"{x:g}", anchor="middle") for x in xs]
    found.append(text(LEFT + width, ABOVE + height + 36, axis, anchor="end"))
    found.append(f'<path d="M{LEFT},{ABOVE} V{ABOVE + height} H{LEFT + width}" fill="none" stroke="{AXIS}"/>')
    names = []
    for number, curve in enumerate(curves):
        colour = AXIS if curve.faint else COLOURS[number % len(COLOURS)]
        dash = "2 3" if curve.faint else DASHES[number % len(DASHES)]
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        shift = 3.0 * (number - (len(curves) - 1) / 2)  # intervals of several curves are drawn side by side
        there = [(place(point.x, point.value)[0] + shift, place(point.x, point.value)[1]) for point in curve.points]
        if len(there) > 1:
            found.append(path(there, colour=colour, name="curve", more=f' stroke-width="2"{dashed}'))
        for point, (x, y) in zip(curve.points, there, strict=True):
            if point.ends is not None:
                top, bottom = (place(point.x, end)[1] for end in (point.ends[1], point.ends[0]))
                found.append(line(x, top, x, bottom, colour=colour))
                found += [line(x - 4, end, x + 4, end, colour=colour) for end in (top, bottom)]
            if not curve.faint:
                found.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        names.append((there[-1][1], fitted(curve.name, 240), colour))
    below = -1e9
    for y, name, colour in sorted(names):
        below = max(y, below + 16)
        found.append(text(LEFT + width + 8, below + 4, name, colour=colour))
    room = max(text_width(name) for _, name, _ in names) + 20
    return picture(LEFT + width + room, ABOVE + height + 46, title, found, told=told or _told(curves, axis))


def row_picture(rows: Sequence[tuple[str, float, tuple[float, float] | None]], *, title: str) -> str:
    """Draw a dot for each row, with its interval; a dashed line goes through the first one, which others are compared with."""
    low, high = _range([value for _, share, ends in rows for value in (share, *(ends or ()))])
    left = min(max(text_width(name) for name, *_ in rows), NAME) + 24
    width, top = float(SIZE[0]), 44.0
    bottom = top + ROW * len(rows)

    def x_of(value: float) -> float:
        return left + width * (value - low) / (high - low)

    found = [text(12, 22, fitted(f"{title}, %", left + width), colour=DARK, full=title)]
    for tick in linear_ticks(100 * low, 100 * high):
        x = x_of(tick / 100)
        found += [line(x, top, x, bottom, colour=GRID), text(x, bottom + 18, f"{tick:g}", anchor="middle")]
    first = x_of(rows[0][1])
    found.append(line(first, top, first, bottom, colour=COLOURS[1], more=' stroke-dasharray="6 3"'))
    for place, (name, share, ends) in enumerate(rows):
        y = top + ROW * (place + 0.5)
        found.append(text(left - 10, y + 4, fitted(name, NAME), anchor="end", colour=DARK, full=name))
        if ends is not None:
            found.append(line(x_of(ends[0]), y, x_of(ends[1]), y, colour=COLOURS[0], more=' stroke-width="2"'))
            found += [line(x_of(end), y - 5, x_of(end), y + 5, colour=COLOURS[0]) for end in ends]
        found.append(f'<circle cx="{x_of(share):.1f}" cy="{y:.1f}" r="5" fill="{COLOURS[0]}"/>')
    told = " ".join(f"{name}: {100 * share:.1f} %." for name, share, _ in rows)
    return picture(left + width + 40, bottom + 28, title, found, told=told)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the part of 0 to 1 that is drawn, on round numbers of tenths."""
    low, high = max(min(values) - SPARE, 0.0), min(max(values) + SPARE, 1.0)
    low, high = int(low * 10) / 10, -int(-high * 10 // 1) / 10
    return (low, high) if high > low else (max(low - 0.1, 0.0), min(high + 0.1, 1.0))


def _told(curves: Sequence[Curve], axis: str) -> str:
    said = (f"{point.x:g} {axis}: {100 * point.value:.1f} %" for curve in curves[:1] for point in curve.points)
    return f"{curves[0].name}: {'; '.join(said)}."
