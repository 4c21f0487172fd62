"""Times of frames: how long each is shown, and smoothing in seconds, which hold for videos of any and of changing frame rate.

Legend: F frames, C classes.
"""

from __future__ import annotations

import numpy as np

UNKNOWN_RATE = 25.0  # frames a second, as for files that tell none
LONGEST_FRAME = (
    1.0  # seconds that a frame counts at most, unless most frames are shown for longer: behind it frames are missing
)
TAIL = 4.0  # deviations at which the Gaussian ends
FEW = 5  # frames
BLOCK = 64  # frames that are smoothed at once


def frame_seconds(time: np.ndarray) -> float:
    """Return how long a frame is usually shown."""
    return float(np.median(np.diff(time))) if len(time) > 1 else 1 / UNKNOWN_RATE


def duration(time: np.ndarray, step: float) -> float:
    """Return how long frames last together."""
    return float(time[-1] - time[0]) + step


def shown_seconds(time: np.ndarray) -> np.ndarray:
    """Return how long each frame is shown: until the next one; the last as long as those before it.  # (F,) → (F,)"""
    step = frame_seconds(time)
    found = np.append(np.diff(time), frame_seconds(time[-FEW:]))[: len(time)]
    return np.clip(found, 1e-6, max(step, LONGEST_FRAME))


def smoothed(values: np.ndarray, known: np.ndarray, time: np.ndarray, deviation: float) -> np.ndarray:
    """Return the mean over the known frames around each, weighted by how long each is shown and by a Gaussian of a deviation in seconds.

    # (F, C), (F,), (F,) → (F, C)
    """
    shown = shown_seconds(time) * known
    filled = np.where(known[:, None], values, 0.0)
    result = np.array(filled, dtype=np.float64)
    for begin in range(0, len(time), BLOCK):
        moments = time[begin : begin + BLOCK]
        first = np.searchsorted(time, moments[0] - TAIL * deviation)
        stop = np.searchsorted(time, moments[-1] + TAIL * deviation, side="right")
        away = (moments[:, None] - time[None, first:stop]) / deviation
        weight = np.where(np.abs(away) <= TAIL, np.exp(-0.5 * away**2), 0.0) * shown[first:stop]
        result[begin : begin + BLOCK] = (
            weight @ filled[first:stop] / np.maximum(weight.sum(1, keepdims=True), np.finfo(float).tiny)
        )
    return result
