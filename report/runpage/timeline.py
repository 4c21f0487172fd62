"""The timeline of a tested clip: which frames show a face, which frames each snippet holds, and how much the models read of them.

Legend: n snippets of J frames, F frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...cache.schema import DETECTED, INTERPOLATED, NO_FACE
from ...train.models.contract import ALPHA, ATTENTION
from ...train.runs.run import Run
from ..cachepage.marks import MARKS
from ..plots import AXIS, COLOURS
from ..svg import DARK, line, picture
from ..svg import text as words_at
from .decisions import Decisions, frame_weights, snippet_attention
from .sources import ClipSource

HEIGHTS = {DETECTED: 1.0, INTERPOLATED: 0.5, NO_FACE: 0.15}  # of the strip of states, as on pages of caches


@dataclass(frozen=True, kw_only=True, eq=False)
class Watched:
    """What models looked at in a clip, the mean over seeds."""

    shown: np.ndarray  # (n, J) frames
    attention: np.ndarray | None  # (n,)
    weights: np.ndarray | None  # (n, J)


def watched_of(run: Run, decisions: Decisions, fold: str, name: str) -> Watched | None:
    """Return what the models of a fold looked at in a clip, the mean over its seeds."""
    attention, weights, shown = [], [], None
    for part, one in decisions.parts.items():
        places = np.flatnonzero(one.ids == name) if run.fold_of(part) == fold else np.zeros(0, int)
        if not len(places):
            continue
        place = int(places[0])
        shown = one.shown[place] if shown is None else shown
        if ATTENTION in one.arrays:
            attention.append(snippet_attention(one)[place])
        if ALPHA in one.arrays:
            weights.append(frame_weights(one)[place])
    if shown is None:
        return None
    return Watched(
        shown=shown,
        attention=np.mean(attention, axis=0) if attention else None,
        weights=np.mean(weights, axis=0) if weights else None,
    )


def timeline(name: str, frames: int, source: ClipSource | None, watched: Watched | None) -> str:
    """Draw a clip from its first to its last frame: which frames show a face, which are in each snippet, and what is attended to."""
    left, width, y = 150.0, 640.0, 26.0
    found, told = [], [f"{frames} frames."]

    def x_of(frame: float) -> float:
        return left + width * frame / max(frames, 1)

    if source is not None:
        found.append(words_at(left - 10, y + 11, "face", anchor="end", colour=DARK))
        for first, last, state in _stretches(source.state):
            high, mark = 16 * HEIGHTS[state], MARKS[state]
            found.append(
                f'<rect x="{x_of(first):.1f}" y="{y + 16 - high:.1f}" width="{x_of(last) - x_of(first):.1f}" height="{high:.1f}" '
                f'fill="{mark.colour}"><title>{mark.words}: frames {first} to {last - 1}</title></rect>'
            )
        counts = {MARKS[state].words: int((source.state == state).sum()) for state in HEIGHTS}
        told.append(", ".join(f"{count} {what}" for what, count in counts.items() if count) + ".")
        y += 32
    if watched is not None:
        found_here, told_here, y = _watched(watched, x_of, y, left)
        found, told = found + found_here, told + told_here
    y += 4
    found.append(line(left, y, left + width, y, colour=AXIS))
    for share, anchor in ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1, "end")):
        frame = round(share * (frames - 1))
        at = (
            f"{frame} ({source.time[frame]:.1f} s)" if source is not None and len(source.time) == frames else f"{frame}"
        )
        found.append(words_at(x_of(frame + share), y + 18, at, anchor=anchor))
    found.append(words_at(left - 10, y + 18, "frame", anchor="end", colour=DARK))
    return picture(left + width + 50, y + 28, f"Timeline of {name}", found, told=" ".join(told))


def _watched(watched: Watched, x_of, y: float, left: float) -> tuple[list[str], list[str], float]:
    """Draw bars of attention over what each snippet spans, and below them the frames that were shown, by their weight."""
    found, told = [], []
    tall = 60.0
    number = len(watched.shown)
    spans = [(int(one.min()), int(one.max()) + 1) for one in watched.shown]
    name = "attention" if watched.attention is not None else "frames shown"
    found.append(words_at(left - 10, y + tall / 2 + 4, name, anchor="end", colour=DARK))
    shares = watched.attention if watched.attention is not None else np.full(number, 1 / number)
    top = float(shares.max())
    for place, ((first, last), share) in enumerate(zip(spans, shares.tolist(), strict=True)):
        high = (tall - 16) * share / top
        x, wide = x_of(first), max(x_of(last) - x_of(first) - 2, 3)
        found.append(
            f'<rect x="{x:.1f}" y="{y + tall - high:.1f}" width="{wide:.1f}" height="{high:.1f}" '
            f'fill="{COLOURS[0]}" fill-opacity="0.4" stroke="{COLOURS[0]}"/>'
        )
        if watched.attention is not None:
            found.append(
                words_at(x + wide / 2, y + tall - high - 4, f"{100 * share:.0f} %", anchor="middle", colour=DARK)
            )
            told.append(f"Snippet {place + 1}, frames {first} to {last - 1}: {100 * share:.0f} %.")
    y += tall + 6
    if watched.weights is not None:
        found.append(words_at(left - 10, y + 18, "α in the snippet", anchor="end", colour=DARK))
        most = float(watched.weights.max())
        for frames, weights in zip(watched.shown, watched.weights, strict=True):
            for frame, weight in zip(frames.tolist(), weights.tolist(), strict=True):
                x, long = x_of(frame + 0.5), 22 * weight / most
                found.append(
                    line(x, y + 22, x, y + 22 - long, colour=COLOURS[1], more=' stroke-width="2" stroke-opacity="0.7"')
                )
        y += 30
    return found, told, y


def _stretches(state: np.ndarray) -> list[tuple[int, int, int]]:
    """Return runs of frames in one state: the first, the one behind the last, and the state."""
    edges = [0, *(np.flatnonzero(np.diff(state)) + 1).tolist(), len(state)]
    return [(first, last, int(state[first])) for first, last in pairwise(edges) if last > first]
