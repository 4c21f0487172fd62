"""Video files through OpenCV's FFmpeg, the decoder that is tried first: it has most codecs, not AV1.

What OpenCV does by itself and is not wanted is switched off: turning frames by an angle (mirrors are lost; the file itself is asked), and
handing a file to another backend. Where it only says that a file cannot be opened, the reason is looked for in the file. One thing it does
cannot be helped: where the size of a stream changes, it scales all frames to one.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from ...errors import EstError, SourceError
from . import matroska, mp4
from .orientation import Orientation, nearest_quarter
from .signature import codec_name, expect_video_file, unreadable
from .stream import as_bgr

MAX_FRAMES = 1 << 31  # beyond it a count is a decoder's "unknown"
PATIENCE = 64  # grabs that may fail in a row where the file promises no more frames


class OpenCVStream:
    """A video file, decoded in order."""

    decoder = "opencv"
    decode_errors = -1  # OpenCV passes over what it cannot decode and does not say so

    def __init__(self, path: Path, threads: int) -> None:
        expect_video_file(path)
        self._path = path
        try:
            # An absolute path, because FFmpeg takes a relative "a:b.mp4" for a protocol named a.
            self._capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
        except cv2.error as error:
            raise unreadable(path, self.decoder) from error
        if not self._capture.isOpened():
            raise unreadable(path, self.decoder)
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        if self._capture.get(cv2.CAP_PROP_ORIENTATION_AUTO):
            raise EstError("OpenCV does not let its automatic orientation be switched off.", remedy="--decoder pyav")
        movie = mp4.read_movie(path)
        self._shown = movie.video.times if movie and movie.video else None
        self.codec = codec_name(int(self._capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True))
        self.fps = self._number(cv2.CAP_PROP_FPS)
        count = self._number(cv2.CAP_PROP_FRAME_COUNT)
        count = int(count) if 0 < count < MAX_FRAMES else 0
        self.duration = count / self.fps if count and self.fps else 0.0
        self._left, self._failed = count, 0
        self.declared = declared_frames(path, self._shown, count)
        angle = Orientation(rotation=nearest_quarter(self._number(cv2.CAP_PROP_ORIENTATION_META)))
        told = movie.video.orientation if movie and movie.video else matroska.read_orientation(path)
        self.orientation = angle if told is None else told

    def advance(self) -> float | None:
        """Go to the next frame. Its time is right after it is grabbed; before that it is the time of the frame before.

        A grab fails at the end, and also at each packet that cannot be decoded: there most readers stop, with the frames after the damage
        lost. Only as many failures in a row as frames are left are an end.
        """
        try:
            while not self._capture.grab():
                self._failed += 1
                if self._failed > max(PATIENCE, self._left):
                    return None
            self._failed = 0
            self._left -= 1
            return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        except cv2.error as error:
            raise SourceError(f"{self._path}: a frame cannot be decoded ({error.err}).") from error

    def picture(self) -> np.ndarray:
        """Return the frame gone to."""
        try:
            found, frame = self._capture.retrieve()
        except cv2.error as error:
            raise SourceError(f"{self._path}: a frame cannot be decoded ({error.err}).") from error
        if not found or frame is None:
            raise SourceError(f"{self._path}: a frame cannot be converted to an image.")
        return as_bgr(frame)

    def declared_between(self, start: float, end: float) -> int:
        """Count by the file's table of times, where it has one."""
        return 0 if self._shown is None else int(((self._shown >= start) & (self._shown < end)).sum())

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def _number(self, prop: int) -> float:
        value = self._capture.get(prop)
        return value if np.isfinite(value) and value > 0 else 0.0


def declared_frames(path: Path, shown: np.ndarray | None, counted: int) -> int:
    """Return a file's own count: of MP4 and MOV by their tables, of AVI by its header.

    Elsewhere FFmpeg's count is duration × rate: a guess, and wrong by half where the rate varies.
    """
    if shown is not None:
        return len(shown)
    with open(path, "rb") as file:
        head = file.read(12)
    return counted if head[:4] == b"RIFF" and head[8:] == b"AVI " else 0
