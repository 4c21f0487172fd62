"""How a face's track is cut into windows, and how what the windows say becomes a timeline.

A track that is no longer than the clips that the run was trained on is one window: it is predicted as `est evaluate` predicts a clip of
these frames. A longer one is cut into windows that overlap, each predicted as a clip of its own; a frame's probabilities are the mean
over the windows that cover it, each weighted by the seconds in which it shows the face, smoothed over time.

Legend: F frames of a track, W windows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...cache.schema import NO_FACE
from ...errors import UsageError
from ...train.runs.run import Run
from .config import PredictConfig
from .frame_times import duration, frame_seconds, shown_seconds, smoothed
from .trained_clips import trained_clips

MARGIN = 1.5  # windows: up to here a second window would show less than half of something new
LONG_CLIPS = 0.95  # of the clips of the training are no longer than what is predicted whole


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """How tracks are cut, in seconds."""

    window: float
    stride: float
    smooth: float
    whole: float  # up to here a track is one window
    least: int = 1  # frames of a window
    note: str = ""  # what was assumed

    @property
    def facts(self) -> dict[str, float]:
        """Return the numbers by name."""
        return {name: getattr(self, name) for name in ("window", "stride", "smooth", "whole", "least")}

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
    clips = trained_clips(run)
    window = config.window or stated.seconds or float(np.median(clips.seconds))
    whole = window
    if config.window is None:
        whole = max(MARGIN * window, float(np.quantile(clips.seconds, LONG_CLIPS, method="higher")))
    stride = stated.stride * window if config.stride is None else config.stride
    if stride > window:
        raise UsageError(
            f"Windows of {window:g} s every {stride:g} s would leave frames out.", remedy=f"--stride {window / 4:.2g}"
        )
    smooth = stride / 2 if config.smooth is None else config.smooth
    note = clips.note if config.window is None else ""
    return Cutting(window=window, stride=stride, smooth=smooth, whole=whole, least=stated.least, note=note)


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
    tolerance = step / 100
    begins = _begins(present[0], end - cutting.window, cutting, tolerance)
    if len(begins) == 1:
        return np.array([[first, stop]])
    windows = first + np.stack(
        [
            np.searchsorted(present, begins - tolerance),
            np.searchsorted(present, begins + cutting.window - tolerance),
        ],
        axis=1,
    )
    windows = windows[windows[:, 1] > windows[:, 0]]  # none in a gap between frames
    windows[:, 1] = np.maximum(windows[:, 1], np.minimum(windows[:, 0] + cutting.least, stop))
    windows[:, 0] = np.minimum(windows[:, 0], np.maximum(windows[:, 1] - cutting.least, first))
    faces = np.append(0, np.cumsum(state != NO_FACE))
    shown = faces[windows[:, 1]] > faces[windows[:, 0]]
    return np.unique(windows[shown], axis=0)


def _begins(first: float, last: float, cutting: Cutting, tolerance: float) -> np.ndarray:
    """Return when windows begin: every stride, and the last so that it ends with the track.

    The last but one goes where the last would nearly repeat it, unless a frame would be left out; of two that is the first, and the
    one window that stays is the whole track.
    """
    begins = np.arange(first, last, cutting.stride)
    if last - begins[-1] < cutting.stride / 2:
        before = begins[-2] if len(begins) > 1 else first
        if last - before < cutting.window - tolerance:
            begins = begins[:-1]
    return np.append(begins, last)


def spread(
    probabilities: np.ndarray, windows: np.ndarray, state: np.ndarray, time: np.ndarray, smooth: float
) -> np.ndarray:
    """Return each frame's probabilities, NaN where the face is not seen.  # (W, C), (W, 2), (F,), (F,) → (F, C)"""
    count, classes = len(state), probabilities.shape[1]
    seconds = np.append(0, np.cumsum(shown_seconds(time) * (state != NO_FACE)))
    weight = seconds[windows[:, 1]] - seconds[windows[:, 0]]
    total, covering, weights = np.zeros((count + 1, classes)), np.zeros(count + 1, np.int64), np.zeros(count + 1)
    for sign, edge in ((1, 0), (-1, 1)):
        np.add.at(total, windows[:, edge], sign * weight[:, None] * probabilities)
        np.add.at(weights, windows[:, edge], sign * weight)
        np.add.at(covering, windows[:, edge], sign)
    covered = np.cumsum(covering)[:count]
    mean = np.cumsum(total, axis=0)[:count] / np.maximum(np.cumsum(weights)[:count], 1e-12)[:, None]
    known = (covered > 0) & (state != NO_FACE)
    if smooth > 0 and len(windows) > 1:
        mean = smoothed(mean, known, time, smooth)
    mean[~known] = np.nan
    return mean.astype(np.float32)
