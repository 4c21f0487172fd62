"""Video files through PyAV, the decoder for what OpenCV has no codec for (AV1): the same interface, another build of FFmpeg.

Times count from the start of the video stream, as OpenCV's do. Packets that cannot be decoded are left out, as OpenCV leaves them out, and
counted. How many frames there are and which way is up is read from the container before anything is decoded; PyAV does not show the
display matrix of a stream, so that of containers that are not parsed here comes with the first frame. Pictures are equal to OpenCV's: both
convert with FFmpeg's bicubic scaler. One converter for all frames and one thread for it make PyAV as fast as OpenCV.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np

from ...errors import SourceError, UsageError
from . import matroska, mp4
from .opencv_video import MAX_FRAMES, declared_frames
from .orientation import Orientation
from .signature import expect_video_file, undecodable, unreadable

try:
    import av
    from av.video.reformatter import VideoReformatter
except (ImportError, OSError, AttributeError) as error:
    raise UsageError(
        f"The decoder pyav needs the package av, which cannot be imported ({error}).", remedy="pip install av"
    ) from error


class PyAVStream:
    """A video file, decoded in order."""

    decoder = "pyav"

    def __init__(self, path: Path, threads: int) -> None:
        expect_video_file(path)
        self._path = path
        av.logging.set_level(None)
        try:
            self._container = av.open(os.path.abspath(path))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise unreadable(path, self.decoder) from error
        try:
            self._begin(threads)
        except BaseException:
            self._container.close()
            raise

    def _begin(self, threads: int) -> None:
        """Read what the container says, and decode only where it does not say which way is up."""
        if not self._container.streams.video:
            kinds = [{"audio": "sound"}.get(stream.type, stream.type) for stream in self._container.streams]
            raise unreadable(self._path, self.decoder, tracks=kinds)
        self._stream = self._container.streams.video[0]
        context = self._stream.codec_context
        if context is None:
            raise undecodable(self._path, self.decoder)
        context.thread_count = self._threads = threads
        self.codec = context.codec.canonical_name.upper()
        self.decode_errors = 0
        movie = mp4.read_movie(self._path)
        self._shown = movie.video.times if movie and movie.video else None
        self.fps = float(self._stream.guessed_rate or self._stream.average_rate or 0)
        self.declared = self._count()
        self.duration = self._container.duration / av.time_base if self._container.duration else 0.0
        self._converter = VideoReformatter()
        self._frame: av.VideoFrame | None = None
        self._frames = self._decode()
        told = movie.video.orientation if movie and movie.video else matroska.read_orientation(self._path)
        self.orientation = self._orientation_of_first() if told is None else told

    def advance(self) -> float | None:
        """Go to the next frame."""
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
            converted = self._converter.reformat(
                self._frame, format="bgr24", interpolation="BICUBIC", threads=self._threads
            )
            return converted.to_ndarray()
        except (av.error.FFmpegError, ValueError) as error:
            raise SourceError(f"{self._path}: a frame cannot be converted to an image ({error}).") from error

    def declared_between(self, start: float, end: float) -> int:
        """Count by the file's table of times, where it has one."""
        return 0 if self._shown is None else int(((self._shown >= start) & (self._shown < end)).sum())

    def close(self) -> None:
        """Close the file."""
        self._frame = None
        self._container.close()

    def _count(self) -> int:
        """Return the file's own count: of MP4 and MOV the frames in FFmpeg's index that are not cut off by an edit list."""
        if self._shown is not None:
            return sum(not entry.is_discard for entry in self._stream.index_entries) or len(self._shown)
        count = self._stream.frames
        return declared_frames(self._path, None, count if 0 < count < MAX_FRAMES else 0)

    def _decode(self) -> Iterator[av.VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                self.decode_errors += 1
                return  # the file ends in the middle of a packet
            if packet is None:
                return
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                self.decode_errors += 1
                continue
            self.decode_errors += sum(frame.is_corrupt for frame in frames)
            yield from frames

    def _orientation_of_first(self) -> Orientation:
        """Read the display matrix that comes with the first frame."""
        first = next(self._frames, None)
        if first is None:
            return Orientation()
        self._frames = chain([first], self._frames)
        if (data := first.side_data.get("DISPLAYMATRIX")) is None:
            return Orientation()
        a, b, _, c, d = struct.unpack_from("=5i", bytes(data))
        return Orientation.from_matrix(a, b, c, d)
