"""The pictures of a run, as SVG that is written by hand: the confusion matrix, and the curves of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from ..metrics import Scores, number
from .summary import percent

NO_PREDICTION = "no prediction"  # the last column of a confusion matrix, where it has one
CELL, LETTER = 56, 8  # pixels: a cell of the matrix, and about the width of a letter
INK = (31, 84, 140)  # of a full cell

WIDTH, HEIGHT, LEFT, TOP, GAP = 420, 260, 60, 60, 80  # pixels of the curves: a panel, and what lies around it
TICKS = 5  # at most about so many numbers on an axis
SHOWN_PARTS = 30  # thin lines; the mean is of all parts
TESTED = "test (never used to choose)"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One quantity by epoch: a thin line per part, and their mean."""

    name: str
    colour: str
    parts: tuple[tuple[tuple[int, float], ...], ...]  # (epoch, value) pairs of each part

    @property
    def mean(self) -> tuple[tuple[int, float], ...]:
        """Return the mean over the parts that have a value at an epoch."""
        values: dict[int, list[float]] = {}
        for part in self.parts:
            for epoch, value in part:
                values.setdefault(epoch, []).append(value)
        return tuple((epoch, float(np.mean(values[epoch]))) for epoch in sorted(values))


def confusion_picture(scores: Scores, *, leaking: bool = False) -> str:
    """Draw the confusion matrix as SVG: a row per class of the truth, shaded by its share, counts in the cells."""
    columns = [*scores.labels, NO_PREDICTION] if scores.unpredicted else list(scores.labels)
    longest = LETTER * max(map(len, columns))
    left, top = max(60, longest + 16), 40 + round(0.75 * longest)  # names stand across on top
    width = left + CELL * len(columns) + round(0.75 * longest)
    height = top + CELL * len(scores.labels) + 10
    found = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left + CELL * len(columns) / 2}" y="16" text-anchor="middle" fill="#555">predicted '
        f"(WAR {percent(scores.war)}{', LEAK' if leaking else ''})</text>",
    ]
    for place, label in enumerate(columns):
        x = left + CELL * (place + 0.5)
        found.append(f'<text x="{x}" y="{top - 8}" transform="rotate(-45 {x} {top - 8})">{escape(label)}</text>')
    for row, label in enumerate(scores.labels):
        y = top + CELL * row
        found.append(f'<text x="{left - 8}" y="{y + CELL / 2 + 5}" text-anchor="end">{escape(label)}</text>')
        total = int(scores.truth[row])
        for column in range(len(columns)):
            count = number(scores.confusion[row, column])
            share = count / total if total else 0.0
            shade = ",".join(str(round(255 - share * (255 - ink))) for ink in INK)
            x = left + CELL * column
            found.append(
                f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="rgb({shade})" stroke="#ddd"/>'
                f'<text x="{x + CELL / 2}" y="{y + CELL / 2 + 5}" text-anchor="middle" '
                f'fill="{"white" if share > 0.5 else "#222"}">{count}</text>'
            )
    return "\n".join([*found, "</svg>"]) + "\n"


def curves_picture(histories: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """Draw loss and WAR of each part by epoch as SVG, from the records of their histories."""
    losses = [_curve("loss", "#1f548c", histories, lambda record: record.get("loss"))]
    scores = [
        _curve(name, colour, histories, _share_of(half))
        for name, colour, half in (
            ("train", "#1f548c", "train"),
            ("validation", "#3a8a3a", "val"),
            (TESTED, "#c0392b", "test"),
        )
    ]
    shown = [curve for curve in scores if curve.mean]
    last = max((epoch for curve in (*losses, *scores) for epoch, _ in curve.mean), default=1)
    width, height = 2 * (LEFT + WIDTH) + GAP, TOP + HEIGHT + 50
    parts = len(histories)
    thin = f"{SHOWN_PARTS} of {parts} parts" if parts > SHOWN_PARTS else f"{parts} parts"
    what = f"thin: {thin}; thick: the mean of all" if parts > 1 else "by epoch"
    top = max((value for curve in losses for part in curve.parts for _, value in part), default=1.0)
    return (
        "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
                'font-family="sans-serif" font-size="13">',
                f'<rect width="{width}" height="{height}" fill="white"/>',
                f'<text x="{LEFT}" y="18" fill="#555">{what}</text>',
                *_panel(losses, "loss", left=LEFT, last=last, top=top or 1.0),
                *_panel(shown, "WAR, %", left=2 * LEFT + WIDTH + GAP // 2, last=last, top=100.0),
                "</svg>",
            ]
        )
        + "\n"
    )


def _share_of(half: str) -> Callable[[Mapping[str, Any]], float | None]:
    """Return how to read the WAR of a half from a record, in percent."""

    def read(record: Mapping[str, Any]) -> float | None:
        clips = record.get(f"{half}_clips")
        return 100 * record[f"{half}_right"] / clips if clips and f"{half}_right" in record else None

    return read


def _curve(
    name: str,
    colour: str,
    histories: Sequence[Sequence[Mapping[str, Any]]],
    read: Callable[[Mapping[str, Any]], float | None],
) -> Curve:
    """Collect the values that the records have."""
    parts = [
        tuple((int(record["epoch"]), float(value)) for record in history if (value := read(record)) is not None)
        for history in histories
    ]
    return Curve(name=name, colour=colour, parts=tuple(part for part in parts if part))


def _panel(curves: Sequence[Curve], title: str, *, left: int, last: int, top: float) -> list[str]:
    """Draw axes with numbers, the lines, and which colour is which."""
    bottom, ticks = TOP + HEIGHT, _ticks(top)
    highest = max(top, ticks[-1])

    def place(point: tuple[int, float]) -> tuple[float, float]:
        share = (point[0] - 1) / (last - 1) if last > 1 else 0.5
        return left + WIDTH * share, bottom - HEIGHT * min(point[1] / highest, 1.0)

    found = []
    for value in ticks:
        _, y = place((1, value))
        found.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + WIDTH}" y2="{y:.1f}" stroke="#eee"/>')
        found.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{value:g}</text>')
    for epoch in _epochs(last):
        x, _ = place((epoch, 0))
        found.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#555">{epoch}</text>')
    found.append(f'<text x="{left + WIDTH}" y="{bottom + 38}" text-anchor="end" fill="#555">epoch</text>')
    found.append(
        f'<path d="M{left},{TOP} V{bottom} H{left + WIDTH}" fill="none" stroke="#888"/>'
        f'<text x="{left}" y="{TOP - 22}" fill="#222">{title}</text>'
    )
    for curve in curves:
        if len(curve.parts) > 1:
            found += [_line(map(place, part), curve.colour, thick=False) for part in curve.parts[:SHOWN_PARTS]]
        if curve.mean:
            found.append(_line(map(place, curve.mean), curve.colour, thick=True))
    x = left
    for curve in curves if len(curves) > 1 else ():
        found.append(f'<text x="{x}" y="{TOP - 6}" fill="{curve.colour}">{escape(curve.name)}</text>')
        x += LETTER * (len(curve.name) + 2)
    return found


def _line(points: Iterable[tuple[float, float]], colour: str, *, thick: bool) -> str:
    """Draw a line; a single point as a dot."""
    there = list(points)
    opacity = 1 if thick else 0.3
    if len(there) == 1:
        x, y = there[0]
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{4 if thick else 2}" fill="{colour}" opacity="{opacity}"/>'
    text = " ".join(f"{x:.1f},{y:.1f}" for x, y in there)
    style = f'fill="none" stroke="{colour}" stroke-width="{2.5 if thick else 1}" opacity="{opacity}"'
    return f'<polyline points="{text}" {style}/>'


def _ticks(top: float) -> list[float]:
    """Return round numbers from 0 to the first that is not below the top."""
    rough = top / TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * (1 - 1e-9))
    return [step * n for n in range(math.ceil(top / step - 1e-9) + 1)]


def _epochs(last: int) -> list[int]:
    """Return the epochs that have a number on the axis: the first, and round ones."""
    step = max(1, round(_ticks(last)[1]))
    return [1, *(epoch for epoch in range(step, last + 1, step) if epoch > 1)]
