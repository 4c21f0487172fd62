"""From the rows of a clip to what the cache holds of its frames: times, faces, scores, and rows without NaN."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...cache.clip import Windows
from ...cache.schema import DETECTED, NO_FACE
from ...errors import SourceError, counted
from .config import ImportConfig, Level, closest_first
from .rows import Rows

TIME_ERROR = 0.001  # s: times may be written with three places
RATE_ERROR = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipRows:
    """What is said of the frames of a clip, and its rows: of frames, or of windows."""

    state: np.ndarray
    time: np.ndarray
    score: np.ndarray
    fps: float
    rows: np.ndarray | None = None  # (frames, *shape)
    windows: Windows | None = None
    notes: dict[str, int] = field(default_factory=dict)  # what was done to it, and how often
    gap: str = ""  # where frame numbers leave some out

    @property
    def without_face(self) -> dict[str, Any]:
        """Return the box and landmarks of frames of which nothing is known of either."""
        count = len(self.state)
        return {
            "box": np.full((count, 4), np.nan, np.float32),
            "landmarks": np.full((count, 5, 2), np.nan, np.float32),
        }


def of_frames(rows: Rows, config: ImportConfig, num_frames: int = -1) -> ClipRows:
    """Return a clip whose rows are its frames, or say what does not fit; `num_frames` is what a list says."""
    if num_frames >= 0 and len(rows) != num_frames:
        raise SourceError(
            f"it has {counted(len(rows), 'row')}, and the list says {counted(num_frames, 'frame')}",
            remedy="--window 16 --stride 4 where rows are of windows" if len(rows) < num_frames else None,
        )
    told = rows.told
    absent = np.zeros(len(rows), bool)
    if "state" in told:
        _expect_numbers(rows, "state")
        absent = told["state"] <= 0
    features, notes = without_nan(rows, config, absent)
    time, fps = _times(rows, config)
    score = told.get("score", np.zeros(len(rows))).astype(np.float32)
    if (without := int((np.isnan(score) & ~absent).sum())) > 0:
        notes["frames without a score, taken as 0"] = without
    return ClipRows(
        state=np.where(absent, NO_FACE, DETECTED).astype(np.uint8),
        time=time,
        score=np.where(np.isnan(score), 0, score).astype(np.float32),
        fps=fps,
        rows=features,
        notes=notes,
        gap=_gap(rows),
    )


def of_windows(
    levels: list[tuple[Rows, Level | None]], config: ImportConfig, num_frames: int, feature: str
) -> ClipRows:
    """Return a clip whose rows are windows of its frames: of one kind behind those of the other."""
    start, stop, rate, rows, notes = [], [], [], [], Counter()
    for part, level in sorted(levels, key=lambda one: closest_first(one[1]) if one[1] is not None else (0, 0.0)):
        features, more = without_nan(part, config, np.zeros(len(part), bool))
        first, last, looked = _places(part, level, config)
        order = np.lexsort((first, -looked)) if level is None else np.arange(len(part))
        start, stop, rate = [*start, first[order]], [*stop, last[order]], [*rate, looked[order]]
        rows.append(features[order])
        notes.update(more)
        notes.update(_expect_all(part, level, num_frames) if level is not None else {})
        if level is None:
            _expect_one_kind_a_rate(part, first[order], looked[order], order)
    begin, end, seen = np.concatenate(start), np.concatenate(stop), np.concatenate(rate)
    count = num_frames if num_frames >= 0 else int(end.max())
    beyond = np.flatnonzero(end > count)
    if len(beyond) and (config.past_end == "refuse" or (begin >= count).any()):
        at = int(beyond[-1] if (begin < count).all() else np.flatnonzero(begin >= count)[0])
        raise SourceError(
            f"a window covers frames {begin[at]} to {end[at] - 1}, and the clip has {count}: {len(beyond)} of "
            f"{len(end)} windows end after it",
            remedy="--past-end cut, which shortens it" if (begin < count).all() else None,
        )
    if len(beyond):
        notes["windows shortened to the end of their clip"] = len(beyond)
    assert config.fps is not None
    return ClipRows(
        state=np.full(count, DETECTED, np.uint8),
        time=np.arange(count) / config.fps,
        score=np.zeros(count, np.float32),
        fps=config.fps,
        windows=Windows(start=begin, stop=end.clip(max=count), rate=seen, features={feature: np.concatenate(rows)}),
        notes=dict(notes),
    )


def without_nan(rows: Rows, config: ImportConfig, absent: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Return the features as they are cached, zeros where there is no face; refuse what is no number, by row and column.

    With --nan no-face the frames with NaN become such without a face: `absent` then says so, too.
    """
    found = rows.features.reshape(len(rows), -1)
    empty = np.isnan(found)
    wrong = (empty if config.nan == "refuse" else np.zeros_like(empty)) | np.isinf(found)
    if not wrong.any() and config.dtype == "float16":
        wrong = np.abs(np.nan_to_num(found)) > np.finfo(np.float16).max
    wrong[absent] = False
    if wrong.any():
        row, column = (int(place[0]) for place in np.nonzero(wrong))
        value = found[row, column]
        what = (
            "is empty or NaN" if np.isnan(value) else "is infinite, or too large for float32" if np.isinf(value) else ""
        )
        no_face = "" if config.of_windows else ", --nan no-face to take it as a frame without a face"
        raise SourceError(
            f"{rows.place(row, column)} {what or f'is {value:g}, too large for float16'}",
            remedy=f"--nan zero to take it as 0{no_face}" if np.isnan(value) else None if what else "--dtype float32",
        )
    notes: dict[str, int] = {}
    empty[absent] = False
    if empty.any():
        if config.nan == "no-face":
            gone = empty.any(axis=1)
            absent |= gone
            notes["frames with NaN, taken as such without a face"] = int(gone.sum())
        else:
            notes["empty cells taken as 0"] = int(empty.sum())
            found = np.where(empty, np.float32(0), found)
    if absent.any():
        found = np.where(absent[:, None], np.float32(0), found)
    if config.dtype == "float16" and (small := int(((found != 0) & (found.astype(np.float16) == 0)).sum())) > 0:
        notes["numbers too small for float16, taken as 0"] = small
    return found.reshape(rows.features.shape), notes


def _times(rows: Rows, config: ImportConfig) -> tuple[np.ndarray, float]:
    """Return the seconds of frames, and how many there are a second: from a column, from frame numbers, or from a rate alone."""
    told = rows.told
    if "frame" in told:
        _expect_numbers(rows, "frame")
        if (twice := np.flatnonzero(np.diff(told["frame"]) <= 0)).size:
            at = int(twice[0]) + 1
            raise SourceError(
                f"{rows.place(at)}: frame {told['frame'][at]:g} comes after frame {told['frame'][at - 1]:g}: "
                "a clip has a row for each frame, of one face"
            )
    if "time" in told:
        _expect_numbers(rows, "time")
        time = told["time"].astype(np.float64)
        if (back := np.flatnonzero(np.diff(time) < 0)).size:
            at = int(back[0]) + 1
            raise SourceError(
                f"{rows.place(at)}: its time, {time[at]:g} s, is before that of the row above, {time[at - 1]:g} s"
            )
        step = float(np.median(np.diff(time))) if len(time) > 1 else 0.0
        _expect_rate(step, told.get("frame"), config)
        return time, config.fps or (1 / step if step > 0 else 0.0)
    if config.fps is None:
        if len(rows) == 1:
            return np.zeros(1), 0.0
        raise SourceError("the times of its frames are not known", remedy="--fps 25, or --time-column NAME")
    frame = told["frame"] - told["frame"][0] if "frame" in told else np.arange(len(rows))
    return frame / config.fps, config.fps


def _expect_rate(step: float, frame: np.ndarray | None, config: ImportConfig) -> None:
    """Refuse a rate that times contradict; they may be rounded to milliseconds, and rows may be of every n-th frame."""
    if config.fps is None or step <= 0:
        return
    if frame is not None:
        step /= float(np.median(np.diff(frame)))
    if abs(step - 1 / config.fps) > max(TIME_ERROR, RATE_ERROR * step):
        raise SourceError(
            f"its times are {step:g} s apart, which is {1 / step:.4g} frames a second, and --fps says {config.fps:g}",
            remedy="leave out --fps: the times give it",
        )


def _places(rows: Rows, level: Level | None, config: ImportConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where windows begin and end, and the frames a second that were looked at."""
    if level is not None:
        start = np.arange(len(rows), dtype=np.int64) * level.stride
        return start, start + level.window, np.full(len(rows), level.rate)
    for role in rows.told:
        _expect_numbers(rows, role)
    start, stop = rows.told["start"], rows.told["stop"]
    for name, found in (("start", start), ("stop", stop)):
        if (odd := np.flatnonzero(found != np.floor(found))).size:
            raise SourceError(
                f"{rows.place(int(odd[0]))}: the {name} of a window is a frame of the clip, found {found[odd[0]]:g}"
            )
    if (wrong := np.flatnonzero((start < 0) | (stop <= start))).size:
        at = int(wrong[0])
        raise SourceError(
            f"{rows.place(at)}: a window covers frames from its start up to, but not including, its stop; "
            f"found {start[at]:g} to {stop[at]:g}"
        )
    rate = rows.told.get("rate", np.full(len(rows), config.one_rate))
    if (low := np.flatnonzero(rate <= 0)).size:
        raise SourceError(f"{rows.place(int(low[0]))}: the rate of a window is above 0, found {rate[low[0]]:g}")
    return start.astype(np.int64), stop.astype(np.int64), rate


def _expect_all(rows: Rows, level: Level, num_frames: int) -> dict[str, int]:
    """Refuse fewer windows than the frames that a list tells hold; some tools leave out the last one, which is noted."""
    whole = (num_frames - level.window) // level.stride + 1
    if num_frames < level.window or len(rows) >= whole:
        return {}
    if len(rows) == whole - 1:
        return {"clips without the last window that their frames hold": 1}
    raise SourceError(
        f"it has {len(rows)} windows, and {num_frames} frames hold {whole} ({level}): the list has another num_frames, or --window "
        "and --stride are others"
    )


def _expect_one_kind_a_rate(rows: Rows, start: np.ndarray, rate: np.ndarray, order: np.ndarray) -> None:
    """Refuse two windows of one rate that begin at one frame: they would be of several kinds, which nothing tells apart."""
    if (same := np.flatnonzero((np.diff(start) == 0) & (np.diff(rate) == 0))).size:
        one, other = sorted(int(order[at]) for at in (same[0], same[0] + 1))
        raise SourceError(
            f"{rows.place(other)}: its window begins at frame {start[same[0]]:g}, as that of {rows.place(one)} does, "
            "and at the same rate: --rate-column distinguishes kinds of windows"
        )


def _gap(rows: Rows) -> str:
    """Return where frame numbers leave some out."""
    frame = rows.told.get("frame")
    if frame is None or not (after := np.flatnonzero(np.diff(frame) > 1)).size:
        return ""
    return f"frame {frame[after[0] + 1]:g} follows frame {frame[after[0]]:g}"


def _expect_numbers(rows: Rows, role: str) -> None:
    if (wrong := np.flatnonzero(~np.isfinite(rows.told[role]))).size:
        raise SourceError(f"{rows.place(int(wrong[0]))}: its {role} is empty, NaN or infinite")
