"""Flow as a picture, as SLSTT colours it: hue is the direction, value the distance between the picture's least and greatest.

A picture whose pixels all move alike is black: nothing in it stands out, and nothing is divided by nothing.
"""

from __future__ import annotations

import cv2
import numpy as np

LEAST_RANGE = 1e-4  # pixels: less is rounding


def picture_of(field: np.ndarray, size: int) -> np.ndarray:
    """Return a field as a BGR picture of some size.  # (S, S, 2) → (size, size, 3) uint8"""
    distance, angle = cv2.cartToPolar(field[..., 0], field[..., 1])
    low, high = float(distance.min()), float(distance.max())
    scale = 255 / (high - low) if high - low > LEAST_RANGE else 0.0
    hsv = np.empty((*distance.shape, 3), np.uint8)
    hsv[..., 0] = np.rint(angle * (90 / np.pi)).astype(np.int64) % 180  # OpenCV counts hues in steps of two degrees
    hsv[..., 1] = 255
    hsv[..., 2] = np.rint((distance - low) * scale)
    coloured = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if len(coloured) == size:
        return coloured
    return cv2.resize(
        coloured, (size, size), interpolation=cv2.INTER_AREA if len(coloured) > size else cv2.INTER_LINEAR
    )
