"""The marks of a frame's face in words, a colour and a symbol: colour alone would be lost on many readers and in print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ...cache.schema import DETECTED, INTERPOLATED, NO_FACE


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How frames of one state are marked."""

    words: str
    symbol: str
    shape: str  # the symbol as SVG, around 0 0
    colour: str  # distinct to colour-blind eyes as well
    edge: str  # CSS
    dash: str  # SVG and the contact sheet: drawn and left out, in pixels; empty for a whole line


MARKS: Mapping[int, Mark] = MappingProxyType(
    {
        DETECTED: Mark(words="detected", symbol="●", shape='<circle r="5"/>', colour="#00805f", edge="solid", dash=""),
        INTERPOLATED: Mark(
            words="interpolated",
            symbol="◇",
            shape='<path d="M0-6 6 0 0 6-6 0Z" fill="none"/>',
            colour="#b06a00",
            edge="dashed",
            dash="6 4",
        ),
        NO_FACE: Mark(
            words="missing",
            symbol="✕",
            shape='<path d="M-5-5 5 5M-5 5 5-5"/>',
            colour="#b3261e",
            edge="dotted",
            dash="2 3",
        ),
    }
)


def condensed(state: np.ndarray, columns: int) -> np.ndarray:
    """Return the states of so many columns where there are more frames: missing where any frame is, else detected where any is."""
    if len(state) <= columns:
        return state
    starts = np.arange(columns) * len(state) // columns
    missing = np.logical_or.reduceat(state == NO_FACE, starts)
    detected = np.logical_or.reduceat(state == DETECTED, starts)
    return np.where(missing, NO_FACE, np.where(detected, DETECTED, INTERPOLATED))


def bgr(colour: str) -> tuple[int, int, int]:
    """Return a colour as OpenCV takes it."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return blue, green, red
