"""The annotated video: the source's frames, drawn into and encoded as H.264 one after the other, beside its own audio, which is copied.

Nothing holds more than a frame. Times are the source's, so that sound and picture stay together at any frame rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ....cache.stores.disk import PARTIAL
from ....errors import EstError

TICKS = Fraction(1, 90000)
ENCODER = "libx264"
OPTIONS = {"preset": "veryfast", "crf": "20"}
FALLBACK_RATE = 25


class VideoFile:
    """An MP4 file that is being written, under another name until it is whole."""

    def __init__(self, path: Path, size: tuple[int, int], *, fps: float, audio: Audio | None = None) -> None:
        self._path, self._partial = path, path.with_name(path.name + PARTIAL)
        self._size, self._rate = size, Fraction(fps or FALLBACK_RATE).limit_denominator(1001)
        self._audio = audio
        self.audio_problem = ""  # why it could not be copied
        self._last = -1

    def __enter__(self) -> VideoFile:
        av.logging.set_level(None)
        try:
            self._begin()
        except (av.error.FFmpegError, ValueError) as error:
            if self._audio is None:
                raise self._failed(error) from error
            self.audio_problem = f"{self._audio.codec} sound cannot be copied into MP4"
            self._container.close()
            self._audio = None
            try:
                self._begin()
            except (av.error.FFmpegError, ValueError) as again:
                raise self._failed(again) from again
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._mux_audio(float("inf"))
                self._container.mux(self._stream.encode())
            self._container.close()
        except (av.error.FFmpegError, OSError) as error:
            kind = kind or type(error)
            raise self._failed(error) from error
        finally:
            if kind is None:
                self._partial.rename(self._path)
            else:
                self._partial.unlink(missing_ok=True)

    def add(self, picture: np.ndarray, moment: float) -> None:
        """Encode a picture that is shown at a moment, in seconds from the beginning.  # (H, W, 3) BGR"""
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        self._last = max(self._last + 1, round(moment / TICKS))  # two frames never share a moment
        frame.pts, frame.time_base = self._last, TICKS
        try:
            self._mux_audio(moment)
            self._container.mux(self._stream.encode(frame))
        except (av.error.FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def _begin(self) -> None:
        """Open the file and write its head: a codec that MP4 has no place for is refused here."""
        self._container = av.open(str(self._partial), "w", format="mp4", options={"movflags": "+faststart"})
        try:
            stream = self._container.add_stream(ENCODER, rate=self._rate)
        except av.error.FFmpegError as error:  # this build of FFmpeg has no x264
            raise self._failed(error) from error
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = TICKS
        stream.codec_context.options = OPTIONS
        self._stream: Any = stream
        self._copy: Any = None
        if self._audio is not None:
            self._copy = self._container.add_stream_from_template(self._audio.stream)
        self._container.start_encoding()
        self._packets = iter(()) if self._audio is None else self._audio.packets()
        self._next: Any = next(self._packets, None)

    def _mux_audio(self, until: float) -> None:
        """Copy the sound up to a moment."""
        while self._next is not None and float(self._next.pts * self._next.time_base) <= until:
            self._next.stream = self._copy
            self._container.mux(self._next)
            self._next = next(self._packets, None)

    def _failed(self, error: Exception) -> EstError:
        return EstError(f"The annotated video {self._path} could not be written: {error}.", remedy="--no-video")


class Audio:
    """The sound of a source, or of a segment of it."""

    def __init__(self, container: Any, start: float, end: float | None) -> None:
        self._container = container
        self.stream = container.streams.audio[0]
        self.codec = self.stream.codec_context.name
        video = container.streams.video[0] if container.streams.video else None
        begin = float((video.start_time or 0) * video.time_base) if video is not None and video.time_base else 0.0
        self._start, self._length = begin + start, None if end is None else end - start

    def packets(self) -> Iterator[Any]:
        """Yield the packets with times from the beginning of what is shown."""
        for packet in self._container.demux(self.stream):
            if packet.dts is None or packet.pts is None:
                continue
            shift = round(self._start / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            if packet.pts < 0:
                continue
            if self._length is not None and float(packet.pts * packet.time_base) >= self._length:
                return
            yield packet


def open_audio(path: str, start: float, end: float | None, stack: ExitStack) -> tuple[Audio | None, str]:
    """Open the sound of a file; None where it has none, and what is to be said where it cannot be read."""
    av.logging.set_level(None)
    try:
        container = stack.enter_context(av.open(path))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        return None, f"its sound cannot be read ({getattr(error, 'strerror', None) or error})"
    if not container.streams.audio:
        return None, ""
    if container.streams.audio[0].codec_context is None:
        return None, "PyAV does not know the codec of its sound"
    return Audio(container, start, end), ""
