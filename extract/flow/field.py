"""Dense flow between two pictures, by Farnebäck's method with SLSTT's numbers: how far each pixel of the first has moved, (u, v).

Legend: S side of the square in pixels, u right, v down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

FARNEBACK: dict[str, Any] = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
}
METHOD = "farneback " + ", ".join(f"{number:g}" for number in FARNEBACK.values())  # as recipes have it
FIELD = "flow"  # the feature that is the flow itself
SIDE = 112  # of its rows
SHAPE = (2, SIDE, SIDE)


def flow(onset: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Return how the pixels of one grey picture have moved in another.  # (S, S), (S, S) → (S, S, 2) float32

    Of equal pictures that is nothing: OpenCV's borders would move all the same, and a picture scales what moves most to full brightness.
    """
    if np.array_equal(onset, later):
        return np.zeros((*onset.shape, 2), np.float32)
    return cv2.calcOpticalFlowFarneback(onset, later, None, flags=0, **FARNEBACK)  # ty: ignore[no-matching-overload]


def mixed(fields: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """Return the mean of fields by their shares.  # → (S, S, 2)"""
    if len(fields) == 1:
        return fields[0][0]
    return np.stack([np.float32(share) * field for field, share in fields]).sum(0)


def mirrored(field: np.ndarray) -> np.ndarray:
    """Return the field of mirrored pictures: turned over, and what went right goes left.  # (S, S, 2)"""
    return np.ascontiguousarray(field[:, ::-1]) * np.array([-1, 1], np.float32)


def row_of(field: np.ndarray) -> np.ndarray:
    """Return a field as the cache keeps it: of one size, and moved by pixels of that size.  # (S, S, 2) → (2, 112, 112) float32"""
    side = len(field)
    how = cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR
    small = cv2.resize(field, (SIDE, SIDE), interpolation=how) * np.float32(SIDE / side)
    return np.ascontiguousarray(small.transpose(2, 0, 1))
