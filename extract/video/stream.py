"""What decoders have in common: a clock that never runs backwards, segments, upright frames of one size, a count of what is missing."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import cv2
import numpy as np

from ...errors import SourceError, UsageError
from .info import VideoInfo
from .orientation import Orientation
from .signature import undecodable

DEFAULT_FPS = 25.0  # where the file says none
MAX_FPS = 1000.0  # containers that count in ticks claim thousands; no camera of faces does
MAX_SECONDS = 1e8  # three years: a decoder's "no time" is a number far beyond
MICROSECOND = 1e-6
SETTINGS = {  # that OpenCV reads from the environment when it first opens a video
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # AV_LOG_QUIET
    "OPENCV_FFMPEG_READ_ATTEMPTS": "1000000",  # packets of other streams, or damaged ones, between two frames; else 4,096
    "OPENCV_FFMPEG_DECODE_ATTEMPTS": "100000",  # frames in a row that cannot be decoded; else 64, and the rest is lost
}
LATE_SECONDS = 1.0  # a file without a count is short when its video ends this much before its declared duration


@cache
def prepare_opencv() -> None:
    """Let OpenCV continue after damage, and keep its warnings and FFmpeg's off stderr; what the user has set is left alone.

    This holds for the process, FFmpeg's part only if OpenCV has not opened or written a video in it before. What can still appear comes
    from libpng, which has no setting for them.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_FATAL)  # errors here are told by exceptions


class Stream(Protocol):
    """What a decoder provides: pictures as they are stored, one after the other."""

    decoder: str
    codec: str  # of the file, empty when unknown
    fps: float  # 0.0 when unknown
    declared: int  # 0 when unknown
    duration: float  # seconds as the file says, 0.0 when unknown
    orientation: Orientation

    @property
    def decode_errors(self) -> int:
        """Return how many packets could not be decoded, or gave a damaged frame, so far; −1 when unknown."""
        ...

    def advance(self) -> float | None:
        """Go to the next frame; return its time in seconds (NaN where it has none), None after the last."""
        ...

    def picture(self) -> np.ndarray:
        """Return the frame gone to.  # (H, W, 3) uint8, BGR"""
        ...

    def declared_between(self, start: float, end: float) -> int:
        """Return how many frames the file says lie in start ≤ time < end, 0 when it does not say."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class StreamVideo:
    """A `Video` from any decoder."""

    def __init__(
        self,
        path: Path,
        stream: Stream,
        *,
        start: float | None = None,
        end: float | None = None,
        sizes_may_differ: bool = False,
    ) -> None:
        _expect_segment(path, start, end)
        self.missing = 0
        self._path, self._stream = path, stream
        self._sizes_may_differ = sizes_may_differ
        self._start = (start or 0.0) - MICROSECOND
        self._end = math.inf if end is None else end - MICROSECOND
        self._is_segment = bool(start) or end is not None
        self._index, self._time, self._longest_gap = -1, 0.0, 0.0
        self._step = 1 / (stream.fps if 0 < stream.fps <= MAX_FPS else DEFAULT_FPS)
        try:
            frame, time = self._read_first()
            self._first: tuple[np.ndarray, float] | None = (frame, time)
            self.info = self._describe(frame)
        except BaseException:
            stream.close()
            raise

    @property
    def decode_errors(self) -> int:
        """Return how many packets could not be decoded, or gave a damaged frame, so far; −1 when unknown."""
        return self._stream.decode_errors

    def frames(self) -> Iterator[tuple[np.ndarray, float]]:
        """Yield upright BGR frames with their times."""
        assert self._first is not None, "frames() can be asked for once"
        frame, time = self._first
        self._first = None
        count = 1
        yield frame, time
        del frame
        while (time := self._next_time()) is not None and time < self._end:
            yield self._upright(), time
            count += 1
        self.missing = self._count_missing(count, ended=time is None)

    def close(self) -> None:
        """Close the file."""
        self._first = None
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next_time(self) -> float | None:
        raw = self._stream.advance()
        if raw is None:
            return None
        self._index += 1
        known = abs(raw) < MAX_SECONDS  # False for NaN
        if self._index == 0:
            self._time = raw if known else 0.0
        else:
            # Zero after the first frame is OpenCV's word for "no time".
            time = raw if known and raw != 0 and raw >= self._time else self._time + self._step
            self._longest_gap = max(self._longest_gap, time - self._time)
            self._time = time
        return self._time

    def _read_first(self) -> tuple[np.ndarray, float]:
        while (time := self._next_time()) is not None:
            if time >= self._end:
                break
            if time >= self._start:
                return self._stream.orientation.upright(self._stream.picture()), time
        if self._index < 0:
            raise undecodable(self._path, self._stream.decoder, self._stream.codec)
        raise SourceError(
            f"{self._path}: no frame lies in the segment from {self._start + MICROSECOND:g} to "
            f"{self._end + MICROSECOND:g} s; the last one read is at {self._time:g} s.",
            remedy="correct start and end: they are seconds from the start of the video",
        )

    def _describe(self, frame: np.ndarray) -> VideoInfo:
        stream = self._stream
        declared = stream.declared
        if self._is_segment:
            declared = stream.declared_between(self._start, self._end)
        return VideoInfo(
            size=(frame.shape[1], frame.shape[0]),
            fps=stream.fps if 0 < stream.fps <= MAX_FPS else 0.0,
            declared=declared,
            rotation=stream.orientation.rotation,
            mirrored=stream.orientation.mirrored,
            decoder=stream.decoder,
            first_frame=self._index,
        )

    def _upright(self) -> np.ndarray:
        frame = self._stream.orientation.upright(self._stream.picture())
        size = (frame.shape[1], frame.shape[0])
        if size != self.info.size and not self._sizes_may_differ:
            raise SourceError(
                f"{self._path}: frame {self._index} is {_text(size)}, the frames before it {_text(self.info.size)}.",
                remedy="split it where the size changes, or scale it to one size",
            )
        return frame

    def _count_missing(self, count: int, *, ended: bool) -> int:
        if self.info.declared:
            return max(0, self.info.declared - count)
        if self._is_segment or not ended or not self._stream.duration:
            return 0
        late = self._stream.duration - (self._time + self._step)
        # A last frame may stay on screen for long where the rate varies; twice the longest gap so far is not a loss yet.
        if late <= max(LATE_SECONDS, 2 * self._longest_gap):
            return 0
        return max(1, round(late / (self._time / max(1, self._index) or self._step)))


def _expect_segment(path: Path, start: float | None, end: float | None) -> None:
    for name, value in (("start", start), ("end", end)):
        if value is not None and not 0 <= value < MAX_SECONDS:
            raise UsageError(f"{path}: the {name} of a segment is a number of seconds from 0, found {value}.")
    if end is not None and end <= (start or 0.0):
        raise UsageError(f"{path}: a segment ends after it starts, found {start or 0:g} to {end:g} s.")


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def as_bgr(picture: np.ndarray) -> np.ndarray:
    """Return a picture of any depth and number of channels as BGR uint8.  # (H, W) or (H, W, C) → (H, W, 3)"""
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    if picture.ndim == 2 or picture.shape[2] == 1:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    return picture if picture.shape[2] == 3 else cv2.cvtColor(picture, cv2.COLOR_BGRA2BGR)
