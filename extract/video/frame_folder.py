"""A folder of pictures as a video: one frame a picture, in natural order, at 25 frames a second.

Pictures have no times; frame i is taken to be shown at i / 25 s, and the rate is stated in the clip's `fps`. A picture of grey, with alpha
or of 16 bits becomes BGR of 8; the orientation in a JPEG's EXIF is applied. One picture that cannot be read fails the clip, by name: a
frame left out would move all that is known by number after it. So does one of another size than the first: faces are followed in
frames of one size. Pictures that are face crops by themselves may differ.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ...errors import SourceError
from ...inputs.folders import list_images
from .orientation import Orientation
from .stream import as_bgr

FPS = 25.0


class FrameFolder:
    """The pictures that lie directly in a folder."""

    decoder, codec = "pictures", ""
    decode_errors = 0  # a picture that cannot be read fails the clip
    orientation = Orientation()  # each picture is already upright

    def __init__(self, path: Path, *, sizes_may_differ: bool = False) -> None:
        try:
            self._images = list_images(path)
        except OSError as error:
            raise SourceError(f"{path}: cannot be read ({error.strerror}).") from error
        if not self._images:
            raise SourceError(f"{path}: the folder holds no pictures.")
        self._path = path
        self._index = -1
        self._first: tuple[str, tuple[int, ...]] | None = None
        self._sizes_may_differ = sizes_may_differ
        self.fps = FPS
        self.declared = len(self._images)
        self.duration = self.declared / FPS

    def advance(self) -> float | None:
        """Go to the next picture."""
        if self._index + 1 == len(self._images):
            return None
        self._index += 1
        return self._index / FPS

    def picture(self) -> np.ndarray:
        """Read the picture gone to."""
        name = self._images[self._index]
        frame = read_image(self._path / name)
        self._first = self._first or (name, frame.shape)
        if frame.shape != self._first[1] and not self._sizes_may_differ:
            raise SourceError(
                f"{self._path / name} is {_size(frame.shape)}, and {self._first[0]} is {_size(self._first[1])}: "
                "faces are followed in pictures of one size; with --detector none each picture is a face crop of any.",
                remedy="bring the pictures of a clip to one size, or --detector none; one folder each for pictures of different clips",
            )
        return frame

    def declared_between(self, start: float, end: float) -> int:
        """Count the pictures of a segment."""
        times = np.arange(self.declared) / FPS
        return int(((times >= start) & (times < end)).sum())

    def close(self) -> None:
        """Nothing is held open."""


def read_image(path: Path) -> np.ndarray:
    """Read a picture as BGR, or say why that cannot be done.  # (H, W, 3) uint8"""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}).") from error
    if not data:
        raise SourceError(f"{path}: the file is empty.", remedy="copy or download it again")
    try:
        # From memory, because OpenCV opens no names beyond ASCII on Windows.
        frame = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise SourceError(f"{path}: not a picture that OpenCV can read ({error.err}).") from error
    if frame is None:
        raise SourceError(
            f"{path}: the picture is cut off, damaged or none; it starts with the bytes {data[:12].hex(' ')}."
        )
    return as_bgr(frame)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]}"
