"""The pictures of a sweep, as SVG that is written by hand: trials by number, parallel coordinates, importances.

Not by plotly, which Optuna draws with: its script of 4.5 MB would be in every page, for figures that are not interactive. A picture
is drawn of any study: of one without a complete trial it says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from ...report.svg import DARK, fitted, line, path, picture, text, text_width
from ...report.ticks import linear_ticks
from .record import Record, StudyRecord, Sweep
from .scales import Scale, keys_of, varied

MODEL, CONTROL, CHOSEN, FAILED = "#1f548c", "#b8641b", "#c0392b", "#c0392b"
LOWEST, HIGHEST = (205, 218, 230), (18, 60, 110)  # of the lines' colours, by value

SHOWN_FOLDS, COLUMNS = 10, 3  # panels drawn, and how many beside each other
PANEL = {1: (640, 260), 2: (400, 200)}  # pixels by number of panels; of three and more:
SMALL, LEFT, ABOVE, BELOW = (290, 160), 76, 34, 40

SHOWN_SETTINGS, STEP, AXIS = 12, 128, 260  # axes beside the objective, pixels between axes, and of an axis
CHOICES = 16  # at most so many texts on an axis
BAR, ROW, NAME = 320, 26, 260  # pixels: the longest bar, a row, the longest name


def history_picture(sweep: Sweep) -> str:
    """Draw the objective by number of the trial, a panel per fold: a dot per trial, and the best so far as steps."""
    folds = sweep.folds[:SHOWN_FOLDS]
    if not folds:
        return nothing("This sweep has no study.")
    columns = min(COLUMNS, len(folds))
    width, height = PANEL.get(len(folds), SMALL)
    whole = columns * (LEFT + width) + 24
    studies = [study for study in sweep.studies if study.fold in folds]
    head, top = _legend(studies, whole)
    if len(sweep.folds) > len(folds):
        head.append(text(12, top + 12, f"{len(folds)} of {len(sweep.folds)} folds are drawn; trials.csv has all."))
        top += 24
    low, high = _span([record.value for study in studies for record in study.records if _drawn(record)])
    last = max((record.number for study in studies for record in study.records), default=0)
    found = list(head)
    for place, fold in enumerate(folds):
        left = LEFT + (place % columns) * (LEFT + width)
        y = top + ABOVE + (place // columns) * (ABOVE + height + BELOW)
        own = [study for study in studies if study.fold == fold]
        found += _panel(own, fold, box=(left, y, width, height), span=(low, high), last=last)
    rows = math.ceil(len(folds) / columns)
    return picture(whole, top + rows * (ABOVE + height + BELOW) + 4, "Objective by trial", found)


def parallel_picture(study: StudyRecord) -> str:
    """Draw an axis per setting that differs and a line per complete trial, which is the darker the better."""
    records = sorted(study.scored, key=lambda record: record.value or 0.0)  # the best ones on top
    if not records:
        return nothing(f"{fitted(study.name, NAME)}: no trial is complete.")
    settings = [record.values for record in records]
    keys = varied(settings) or keys_of(settings)
    drawn = keys[:SHOWN_SETTINGS]
    scales = [Scale.of([one[key] for one in settings if key in one]) for key in drawn]
    values = [record.value or 0.0 for record in records]
    last = Scale(kind="linear", low=min(values), high=max(values))
    names = [*drawn, "objective"]
    words = [
        f"{fitted(study.name, NAME)}: {len(records)} complete {'trial' if len(records) == 1 else 'trials'}. "
        "Darker is better; red is the chosen one. Dashes pass a setting that the trial does not have."
    ]
    if len(keys) > len(drawn):
        words.append(f"{len(drawn)} of {len(keys)} settings are drawn; trials.csv has all.")
    labels = [fitted(name, 2 * STEP - 14) for name in names]
    left = max(STEP, text_width(labels[0]) / 2) + 12
    right = max(70.0, text_width(labels[-1]) / 2) + 12
    width = max(left + STEP * len(drawn) + right, *(text_width(one) + 24 for one in words))
    top = 24 + 18 * len(words) + 44  # names stand in two rows, by turns, so that neighbours have room
    xs = [left + STEP * place for place in range(len(names))]
    found = [text(12, 20 + 18 * row, one) for row, one in enumerate(words)]
    best = study.best
    found += [
        part
        for record in records
        if record is not best
        for part in _trial_line(record, drawn, (scales, last), (xs, top), chosen=False)
    ]
    if best is not None:
        found += _trial_line(best, drawn, (scales, last), (xs, top), chosen=True)
    for place, (x, scale) in enumerate(zip(xs, [*scales, last], strict=True)):
        y = top - 12 - 16 * (place % 2)
        found.append(line(x, top, x, top + AXIS, colour="#888", name="axis"))
        found.append(text(x, y, labels[place], anchor="middle", colour=DARK, full=names[place]))
        objective = place == len(drawn)
        for share, tick in scale.ticks(CHOICES) if not objective else _percents(last):
            at = top + AXIS * (1 - share)
            found.append(line(x - 4, at, x, at, colour="#888"))
            if objective:
                found.append(text(x + 8, at + 4, tick))
            else:
                found.append(text(x - 7, at + 4, fitted(tick, STEP - 22), anchor="end", full=tick))
    return picture(width, top + AXIS + 20, f"Settings and objective of {study.name}", found)


def importance_picture(importances: Mapping[str, float] | None) -> str:
    """Draw a bar per setting, the most important on top."""
    known = sorted((importances or {}).items(), key=lambda one: -one[1])
    if not known:
        return nothing("There are no importances.")
    names = [fitted(key, NAME) for key, _ in known]
    left = max(map(text_width, names)) + 20
    largest = max(share for _, share in known)
    found = []
    for row, ((key, share), name) in enumerate(zip(known, names, strict=True)):
        y = 10 + ROW * row
        long = BAR * share / largest if largest > 0 else 0.0
        found.append(text(left - 8, y + 15, name, anchor="end", colour=DARK, full=key))
        found.append(f'<rect class="bar" x="{left:.1f}" y="{y}" width="{long:.1f}" height="{ROW - 8}" fill="{MODEL}"/>')
        found.append(text(left + long + 6, y + 15, f"{100 * share:.0f} %"))
    return picture(left + BAR + 60, 16 + ROW * len(known), "Importance of settings", found)


def nothing(words: str) -> str:
    """Draw the sentence that stands for a picture."""
    return picture(text_width(words) + 32, 48, "Nothing to draw", [text(16, 28, words)])


def colour_of(share: float) -> str:
    """Return the colour of a value that lies so far, 0 to 1, between the lowest and the highest."""
    return "#" + "".join(f"{round(low + share * (high - low)):02x}" for low, high in zip(LOWEST, HIGHEST, strict=True))


def _drawn(record: Record) -> bool:
    """Return whether a trial has a dot: complete ones, and pruned ones at their last value."""
    return record.scored or (record.state == "pruned" and record.value is not None and math.isfinite(record.value))


def _span(values: Sequence[float | None]) -> tuple[float, float]:
    """Return the ends of the axis of the objective: a little beyond its values, within 0 and 1 where they are."""
    known = [value for value in values if value is not None]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    room = 0.06 * (high - low) if high - low > 1e-9 else 0.05
    return max(low - room, min(0.0, low)), min(high + room, max(1.0, high))


def _percents(scale: Scale) -> list[tuple[float, str]]:
    """Return places and texts for the axis of the objective, in percent."""
    ticks = linear_ticks(100 * scale.low, 100 * scale.high)
    if len(ticks) < 2:
        ticks = list(dict.fromkeys((100 * scale.low, 100 * scale.high)))
    return [(scale.place(tick / 100), f"{tick:.6g} %") for tick in ticks]


def _legend(studies: Sequence[StudyRecord], room: float) -> tuple[list[str], float]:
    """Return which sign is which, of those that occur; and return where the panels begin."""
    entries = []
    for control, name in ((False, "model"), (True, "control")):
        records = [record for study in studies if study.control == control for record in study.records]
        if any(record.scored for record in records):
            entries.append((_sign(0, 0, control=control, legend=True), f"trial of the {name}"))
            entries.append((_steps([(-9, 0), (9, 0)], control=control, legend=True), f"best so far of the {name}"))
    records = [record for study in studies for record in study.records]
    if any(record.state == "pruned" and _drawn(record) for record in records):
        entries.append((_ring(0, 0, DARK, legend=True), "ring: pruned, at its last value"))
    if any(record.state == "failed" for record in records):
        entries.append((_cross(0, 0, legend=True), "failed"))
    found, x, y = [], 12.0, 20.0
    for sign, words in entries:
        if x > 12 and x + 26 + text_width(words) > room - 8:
            x, y = 12.0, y + 20
        found.append(f'<g transform="translate({x + 10:.1f},{y - 4:.1f})">{sign}</g>')
        found.append(text(x + 26, y, words))
        x += 26 + text_width(words) + 18
    return found, y + 8 if entries else 8.0


def _panel(
    studies: Sequence[StudyRecord],
    title: str,
    *,
    box: tuple[float, float, float, float],
    span: tuple[float, float],
    last: int,
) -> list[str]:
    """Draw the trials of a fold, of model and control, in a box (left, top, width, height)."""
    left, top, width, height = box
    bottom = top + height
    up = Scale(kind="linear", low=span[0], high=span[1])
    across = Scale(kind="linear", low=0, high=last, whole=True)

    def x_of(number: float) -> float:
        return left + 8 + (width - 16) * across.place(number)

    def y_of(value: float) -> float:
        return bottom - height * up.place(value)

    found = [text(left, top - 10, fitted(title, width), colour=DARK, full=title)]
    for share, words in _percents(up):
        y = bottom - height * share
        found += [line(left, y, left + width, y, colour="#eee"), text(left - 6, y + 4, words, anchor="end")]
    for share, words in across.ticks():
        found.append(text(left + 8 + (width - 16) * share, bottom + 17, words, anchor="middle"))
    found.append(text(left + width, bottom + 33, "trial", anchor="end"))
    found.append(f'<path d="M{left:.1f},{top:.1f} V{bottom:.1f} H{left + width:.1f}" fill="none" stroke="#888"/>')
    for study in sorted(studies, key=lambda one: not one.control):  # the model's on top
        for record in study.records:
            x = x_of(record.number)
            if record.scored and record.value is not None:
                found.append(_sign(x, y_of(record.value), control=study.control))
            elif record.value is not None and _drawn(record):
                found.append(_ring(x, y_of(record.value), CONTROL if study.control else MODEL))
            elif record.state == "failed":
                found.append(_cross(x, bottom - 6))
        if study.scored:
            end = max(record.number for record in study.records)
            found.append(_steps(list(_running_best(study, x_of, y_of, end)), control=study.control))
    if not any(study.scored for study in studies):
        found.append(text(left + width / 2, top + height / 2, "no complete trial", anchor="middle"))
    return found


def _running_best(
    study: StudyRecord, x_of: Callable[[float], float], y_of: Callable[[float], float], end: int
) -> Iterator[tuple[float, float]]:
    """Return the corners of the steps: the best value so far, from the first complete trial to the last trial."""
    best: float | None = None
    for record in sorted(study.scored, key=lambda one: one.number):
        if record.value is None or (best is not None and record.value <= best):
            continue
        if best is not None:
            yield x_of(record.number), y_of(best)
        best = record.value
        yield x_of(record.number), y_of(best)
    if best is not None:
        yield x_of(end), y_of(best)


def _trial_line(
    record: Record,
    keys: Sequence[str],
    scales: tuple[Sequence[Scale], Scale],
    places: tuple[Sequence[float], float],
    *,
    chosen: bool,
) -> list[str]:
    """Draw one trial through the axes of the settings that it has; dashes pass the others."""
    (of_settings, objective), (xs, top) = scales, places
    shares = [
        scale.place(record.values[key]) if key in record.values else None
        for key, scale in zip(keys, of_settings, strict=True)
    ]
    shares.append(objective.place(record.value))
    points = [(axis, xs[axis], top + AXIS * (1 - share)) for axis, share in enumerate(shares) if share is not None]
    colour = CHOSEN if chosen else colour_of(objective.place(record.value))
    name = "trial chosen" if chosen else "trial"
    more = ' stroke-width="2.5"' if chosen else ' stroke-opacity="0.8"'
    pieces: list[list[tuple[float, float]]] = [[points[0][1:]]]
    found = []
    for (axis, *start), (other, *end) in pairwise(points):
        if other == axis + 1:
            pieces[-1].append((end[0], end[1]))
        else:
            pieces.append([(end[0], end[1])])
            found.append(line(*start, *end, colour=colour, name="gap", more=f' stroke-dasharray="3 4"{more}'))
    found += [path(piece, colour=colour, name=name, more=more) for piece in pieces if len(piece) > 1]
    if len(points) == 1:
        _, x, y = points[0]
        found.append(f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
    return found


def _sign(x: float, y: float, *, control: bool, legend: bool = False) -> str:
    """Draw a complete trial: a dot of the model, a square of the control."""
    if control:
        name = "legend" if legend else "control"
        return f'<rect class="{name}" x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" fill="{CONTROL}" fill-opacity="0.6"/>'
    name = "legend" if legend else "model"
    return f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{MODEL}" fill-opacity="0.6"/>'


def _ring(x: float, y: float, colour: str, *, legend: bool = False) -> str:
    name = "legend" if legend else "pruned"
    return f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="3" fill="none" stroke="{colour}"/>'


def _cross(x: float, y: float, *, legend: bool = False) -> str:
    name = "legend" if legend else "failed"
    d = f"M{x - 3:.1f},{y - 3:.1f} L{x + 3:.1f},{y + 3:.1f} M{x - 3:.1f},{y + 3:.1f} L{x + 3:.1f},{y - 3:.1f}"
    return f'<path class="{name}" d="{d}" stroke="{FAILED}" stroke-width="1.5"/>'


def _steps(points: Sequence[tuple[float, float]], *, control: bool, legend: bool = False) -> str:
    kind = "control" if control else "model"
    more = ' stroke-width="2" stroke-dasharray="6 3"' if control else ' stroke-width="2"'
    name = "legend" if legend else f"best-{kind}"
    return path(points, colour=CONTROL if control else MODEL, name=name, more=more)
