"""Video files through PyAV, the optional second decoder (`pip install 'est-fer[pyav]'`): the same interface, another build of FFmpeg.

Times count from the start of the video stream, as OpenCV's do; packets that cannot be decoded are left out, as OpenCV leaves them out.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from ...errors import SourceError, UsageError
from . import mp4
from .opencv_video import MAX_FRAMES, declared_frames
from .orientation import Orientation
from .signature import expect_video_file, why_unreadable

try:
    import av
except ImportError as error:
    raise UsageError("The decoder pyav needs the package av.", remedy="pip install 'est-fer[pyav]'") from error


class PyAVStream:
    """A video file, decoded in order."""

    def __init__(self, path: Path, threads: int) -> None:
        expect_video_file(path)
        self._path = path
        av.logging.set_level(None)
        try:
            self._container = av.open(os.path.abspath(path))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SourceError(
                f"{path}: {why_unreadable(path)}", remedy="play it in a player: is it damaged?"
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise SourceError(f"{path}: {why_unreadable(path)}")
        self._stream = self._container.streams.video[0]
        self._stream.codec_context.thread_count = threads
        self._frames = self._decode()
        self._frame: av.VideoFrame | None = next(self._frames, None)  # one ahead: the display matrix comes with a frame
        self._ahead = True
        movie = mp4.read_movie(path)
        self._shown = movie.video.times if movie and movie.video else None
        self.fps = float(self._stream.guessed_rate or self._stream.average_rate or 0)
        count = self._stream.frames
        self.declared = declared_frames(path, self._shown, count if 0 < count < MAX_FRAMES else 0)
        self.duration = self._container.duration / av.time_base if self._container.duration else 0.0
        self.orientation = movie.video.orientation if movie and movie.video else _orientation(self._frame)

    def advance(self) -> float | None:
        """Go to the next frame."""
        if self._ahead:
            self._ahead = False
        else:
            self._frame = next(self._frames, None)
        if self._frame is None:
            return None
        if self._frame.pts is None:
            return math.nan
        return float((self._frame.pts - (self._stream.start_time or 0)) * (self._frame.time_base or Fraction(0)))

    def picture(self) -> np.ndarray:
        """Return the frame gone to."""
        assert self._frame is not None
        try:
            return self._frame.to_ndarray(format="bgr24")
        except (av.error.FFmpegError, ValueError) as error:
            raise SourceError(f"{self._path}: a frame cannot be turned into a picture ({error}).") from error

    def declared_between(self, start: float, end: float) -> int:
        """Count by the file's table of times, where it has one."""
        return 0 if self._shown is None else int(((self._shown >= start) & (self._shown < end)).sum())

    def close(self) -> None:
        """Let go of the file."""
        self._frame = None
        self._container.close()

    def _decode(self) -> Iterator[av.VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                return  # the file ends in the middle of a packet
            if packet is None:
                return
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                continue


def _orientation(frame: av.VideoFrame | None) -> Orientation:
    """Read the display matrix that comes with a frame."""
    if frame is None or (data := frame.side_data.get("DISPLAYMATRIX")) is None:
        return Orientation()
    a, b, _, c, d = struct.unpack_from("=5i", bytes(data))
    return Orientation.from_matrix(a, b, c, d)
