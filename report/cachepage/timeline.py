"""The timeline of a clip: the state of every frame, and how far the box moved to it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from ...cache.schema import DETECTED, INTERPOLATED, NO_FACE
from ..svg import line, path, picture, text
from ..ticks import linear_ticks
from .clipview import ClipView
from .marks import MARKS, condensed

WIDTH, LEFT, RIGHT = 760, 60, 20  # pixels
COLUMNS = 680  # at most: of one pixel each
STRIP, PLOT, TOP, GAP = 18, 60, 6, 28
HEIGHTS = {DETECTED: 1.0, INTERPOLATED: 0.5, NO_FACE: 0.15}  # of the strip


def timeline(view: ClipView) -> str:
    """Draw a clip's timeline as SVG."""
    count = len(view.state)
    if not count:
        return ""
    wide = (WIDTH - LEFT - RIGHT) / count
    shown, steps = condensed(view.state, COLUMNS), _condensed_steps(view.steps)
    each, every = (WIDTH - LEFT - RIGHT) / len(shown), count / len(shown)
    parts = [text(LEFT - 8, TOP + 13, "face", anchor="end")]
    for state, first, stop in _runs(shown):
        high = STRIP * HEIGHTS[state]
        parts.append(
            f'<rect class="{MARKS[state].words}" x="{LEFT + each * first:.1f}" y="{TOP + STRIP - high:.1f}" '
            f'width="{each * (stop - first):.2f}" height="{high:.1f}" fill="{MARKS[state].colour}"/>'
        )
    known = view.steps[np.isfinite(view.steps)]
    highest = max(float(known.max()) if len(known) else 0.0, 0.02)
    top, bottom = TOP + STRIP + GAP, TOP + STRIP + GAP + PLOT
    for tick in linear_ticks(0.0, highest, 2):
        y = bottom - PLOT * tick / highest
        parts += [line(LEFT, y, WIDTH - RIGHT, y, colour="#ddd"), text(LEFT - 8, y + 4, f"{tick:g}", anchor="end")]
    parts.append(
        text(LEFT + 4, top - 8, "box step, in sides" + (f"; each column is {every:.0f} frames" if every > 1 else ""))
    )
    points: list[tuple[float, float]] = []
    for frame, step in enumerate(steps.tolist(), start=1):
        if step == step:
            points.append(
                (LEFT + (WIDTH - LEFT - RIGHT) * (frame + 0.5) / (len(steps) + 1), bottom - PLOT * step / highest)
            )
        if points and (step != step or frame == len(steps)):
            parts.append(path(points, colour="#1f548c", name="step", more=' stroke-width="1.5"'))
            points = []
    parts += [text(LEFT + wide * (frame + 0.5), bottom + 16, str(frame), anchor="middle") for frame in _frames(count)]
    parts.append(text(WIDTH - RIGHT, bottom + 32, f"frame (of {count}; {view.time[-1]:.2f} s)", anchor="end"))
    return picture(WIDTH, bottom + 40, f"Timeline of {view.id}", parts)


def _condensed_steps(steps: np.ndarray) -> np.ndarray:
    """Return the largest step of each column where there are more steps than columns."""
    if len(steps) <= COLUMNS:
        return steps
    return np.fmax.reduceat(steps, np.arange(COLUMNS) * len(steps) // COLUMNS)


def _runs(state: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield runs of frames of one state: the state, the first frame and the one behind the last."""
    ends = [0, *(np.flatnonzero(np.diff(state.astype(int))) + 1).tolist(), len(state)]
    for first, stop in pairwise(ends):
        yield int(state[first]), first, stop


def _frames(count: int) -> list[int]:
    return [int(tick) for tick in linear_ticks(0, count - 1, 6) if tick == int(tick)]
