"""How a decoded picture is brought upright: one of the eight ways to lay a rectangle onto itself.

A display matrix maps a pixel (x right, y down) to (a·x + c·y, b·x + d·y). OpenCV reduces it to an angle and so turns mirrored video upside
down; here the mirror is kept. Scale and shear in the matrix are left alone: only the directions of its axes count.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """Mirror left and right where asked, then turn clockwise."""

    rotation: int = 0  # degrees clockwise: 0, 90, 180, 270
    mirrored: bool = False

    @classmethod
    def from_matrix(cls, a: float, b: float, c: float, d: float) -> Orientation:
        """Read a display matrix; one that is no orientation at all (zero, not finite) turns nothing."""
        determinant = a * d - b * c
        if not np.isfinite(determinant) or determinant == 0:
            return cls()
        mirrored = determinant < 0
        x, y = (-a, -b) if mirrored else (a, b)  # where the right-hand side of the mirrored picture goes
        return cls(rotation=nearest_quarter(np.degrees(np.arctan2(y, x))), mirrored=mirrored)

    def upright(self, frame: np.ndarray) -> np.ndarray:
        """Return a picture as it is meant to be seen, in C order.  # (H, W, 3) → (H', W', 3)"""
        if self.mirrored:
            frame = cv2.flip(frame, 1)
        if self.rotation:
            frame = cv2.rotate(frame, _TURNS[self.rotation])  # ten times the speed of numpy's rot90 and a copy
        return np.ascontiguousarray(frame)


def nearest_quarter(degrees: float) -> int:
    """Return the multiple of 90 in 0 … 270 that is nearest to an angle."""
    return int(round(degrees / 90) % 4) * 90 if np.isfinite(degrees) else 0
