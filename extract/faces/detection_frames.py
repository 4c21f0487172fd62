"""Which frames of a video the detector sees, and how large: every k-th, both sides of each cut, and the last one."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

DETECT_BATCH = 8


class AsksDetector(Protocol):
    """An object that sends frames to a detector."""

    def detect(self, frames: list[int], pictures: list[np.ndarray], scale: tuple[float, float], *, last: bool) -> None:
        """AsksDetector for the faces in some frames, shrunk by `scale` in width and height."""
        ...


class DetectionFrames:
    """Collects frames for the detector, shrunk, until a batch is full."""

    def __init__(self, asker: AsksDetector, *, longest: int, every: int, batch: int = DETECT_BATCH) -> None:
        self.expected: set[int] = set()
        self._asker = asker
        self._longest, self._every, self._batch = longest, every, batch
        self._before: tuple[int, np.ndarray] | None = None
        self._frames: list[int] = []
        self._pictures: list[np.ndarray] = []
        self._scale = (1.0, 1.0)

    def see(self, number: int, frame: np.ndarray, *, is_cut: bool) -> None:
        """Take the next frame of the video; `is_cut` when a cut lies before it."""
        if is_cut and self._before is not None:
            self._add(*self._before)
        if is_cut or number % self._every == 0:
            self._add(number, frame)
        self._before = (number, frame)

    def end(self) -> None:
        """Send what is waiting, and the video's last frame."""
        if self._before is not None:
            self._add(*self._before)
            self._before = None
        self._send(last=True)

    def _add(self, number: int, frame: np.ndarray) -> None:
        if number in self.expected:
            return
        self.expected.add(number)
        picture, self._scale = shrink(frame, self._longest)
        self._frames.append(number)
        self._pictures.append(picture)
        if len(self._frames) >= self._batch or sum(p.nbytes for p in self._pictures) + picture.nbytes > BLOCK_BYTES:
            self._send(last=False)

    def _send(self, *, last: bool) -> None:
        if self._frames:
            self._asker.detect(self._frames, self._pictures, self._scale, last=last)
            self._frames, self._pictures = [], []


def shrink(frame: np.ndarray, longest: int) -> tuple[np.ndarray, tuple[float, float]]:
    """Shrink a frame to a longer side; return it with the factors. A smaller one, or size 0, stays as it is."""
    height, width = frame.shape[:2]
    if not longest or max(height, width) <= longest:
        return frame, (1.0, 1.0)
    scale = longest / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA), (size[0] / width, size[1] / height)


BLOCK_BYTES = 8 * 2**20  # at most, unless one picture is larger
