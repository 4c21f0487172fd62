"""How a face's track is cut into windows, and how what the windows say becomes a timeline.

A track that is no longer than the clips that the run was trained on is one window: it is predicted as `est evaluate` predicts a clip. A
longer one is cut into windows that overlap, each predicted as a clip of its own; a frame's probabilities are the mean over the windows
that cover it, smoothed over time.

Legend: F frames of a track, W windows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...cache.schema import NO_FACE
from ...errors import UsageError
from ...train.results.run import Run
from .config import PredictConfig

UNKNOWN_RATE = 25.0  # frames a second, as for files that tell none
UNKNOWN_SPAN = 3.0  # seconds, of runs that do not know their clips
MARGIN = 1.5  # windows: up to here a second window would show less than half of something new
LONG_CLIPS = 0.95  # of the clips of the training are no longer than what is predicted whole
TAIL = 4.0  # deviations at which the Gaussian ends


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """How tracks are cut, in seconds."""

    window: float
    stride: float
    smooth: float
    whole: float  # up to here a track is one window
    least: int = 1  # frames of a window

    def describe(self) -> str:
        """Say it in a line."""
        smoothed = f"smoothed over {self.smooth:.2g} s" if self.smooth else "not smoothed"
        return (
            f"up to {self.whole:.3g} s a face is predicted whole; longer in windows of {self.window:.3g} s every {self.stride:.2g} s, "
            f"{smoothed}"
        )


def cutting_of(run: Run, config: PredictConfig) -> Cutting:
    """Return how a run's model cuts: as the user says, as the model states, or by the clips that it was trained on."""
    stated = run.config.model.windows
    seconds = trained_seconds(run)
    window = config.window or stated.seconds or float(np.median(seconds))
    whole = window
    if config.window is None:
        whole = max(MARGIN * window, float(np.quantile(seconds, LONG_CLIPS, method="higher")))
    stride = stated.stride * window if config.stride is None else config.stride
    if stride > window:
        raise UsageError(
            f"Windows of {window:g} s every {stride:g} s would leave frames out.", remedy=f"--stride {window / 4:.2g}"
        )
    smooth = stride / 2 if config.smooth is None else config.smooth
    return Cutting(window=window, stride=stride, smooth=smooth, whole=whole, least=stated.least)


def trained_seconds(run: Run) -> np.ndarray:
    """Return how long the clips of a run are, in seconds."""
    frames = np.array([count for _, count in run.clips().values() if count > 0])
    if not len(frames):
        return np.array([UNKNOWN_SPAN])
    return frames / (run.facts.get("frame_rate") or UNKNOWN_RATE)


def cut(time: np.ndarray, state: np.ndarray, cutting: Cutting) -> np.ndarray:
    """Return the windows of a track, frames from … up to, but not including; none where nothing shows the face.  # (F,), (F,) → (W, 2)"""
    seen = np.flatnonzero(state != NO_FACE)
    if not len(seen):
        return np.zeros((0, 2), np.int64)
    step = frame_seconds(time)
    whole = cutting.whole + step / 2  # times are rounded, in files and in floats
    if duration(time, step) <= whole:
        return np.array([[0, len(time)]])
    first, stop = int(seen[0]), int(seen[-1]) + 1
    present = time[first:stop]
    if duration(present, step) <= whole:
        return np.array([[first, stop]])
    end = present[-1] + step
    begins = np.arange(present[0], end - cutting.window, cutting.stride)
    begins = np.append(begins, end - cutting.window)  # the last window ends with the track
    tolerance = step / 100
    windows = first + np.stack(
        [
            np.searchsorted(present, begins - tolerance),
            np.searchsorted(present, begins + cutting.window - tolerance),
        ],
        axis=1,
    )
    windows[:, 1] = np.maximum(windows[:, 1], np.minimum(windows[:, 0] + cutting.least, stop))
    faces = np.append(0, np.cumsum(state != NO_FACE))
    shown = faces[windows[:, 1]] > faces[windows[:, 0]]
    return np.unique(windows[shown], axis=0)


def frame_seconds(time: np.ndarray) -> float:
    """Return how long a frame is shown."""
    return float(np.median(np.diff(time))) if len(time) > 1 else 1 / UNKNOWN_RATE


def duration(time: np.ndarray, step: float) -> float:
    """Return how long frames last together."""
    return float(time[-1] - time[0]) + step


def spread(
    probabilities: np.ndarray, windows: np.ndarray, state: np.ndarray, time: np.ndarray, smooth: float
) -> np.ndarray:
    """Return each frame's probabilities, NaN where the face is not seen.  # (W, C), (W, 2), (F,), (F,) → (F, C)"""
    count, classes = len(state), probabilities.shape[1]
    total, covering = np.zeros((count + 1, classes)), np.zeros(count + 1)
    for sign, edge in ((1, 0), (-1, 1)):
        np.add.at(total, windows[:, edge], sign * probabilities.astype(np.float64))
        np.add.at(covering, windows[:, edge], sign)
    covered = np.cumsum(covering)[:count]
    mean = np.cumsum(total, axis=0)[:count] / np.maximum(covered, 1)[:, None]
    known = (covered > 0.5) & (state != NO_FACE)
    if smooth > 0 and len(windows) > 1:
        mean = smoothed(mean, known, smooth / frame_seconds(time))
    mean[~known] = np.nan
    return mean.astype(np.float32)


def smoothed(values: np.ndarray, known: np.ndarray, deviation: float) -> np.ndarray:
    """Return the mean of the known neighbours, weighted by a Gaussian of a deviation in frames.  # (F, C), (F,) → (F, C)"""
    reach = min(int(np.ceil(TAIL * deviation)), max(len(values) - 1, 0))
    if reach < 1:
        return values
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    weight = np.convolve(known.astype(float), kernel)[reach : reach + len(values)]
    filled = np.where(known[:, None], values, 0.0)
    columns = [np.convolve(column, kernel)[reach : reach + len(values)] for column in filled.T]
    return np.stack(columns, axis=1) / np.maximum(weight, 1e-12)[:, None]
