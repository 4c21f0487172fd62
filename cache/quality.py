"""How well a clip's face was followed: the share of frames that show it, and how far its box jumps from frame to frame."""

from __future__ import annotations

import numpy as np

from .schema import NO_FACE


def coverage(state: np.ndarray) -> float:
    """Return the share of frames that show a face, 0 without frames.  # (T,)"""
    return float((np.asarray(state) != NO_FACE).mean()) if len(state) else 0.0


def box_jitter(box: np.ndarray, state: np.ndarray) -> float:
    """Return the median step of the box's middle between neighbouring frames with a face, in sides; NaN without two.  # (T, 4), (T,)"""
    face = np.asarray(state) != NO_FACE
    both = face[1:] & face[:-1]
    if not both.any():
        return float("nan")
    return float(np.median(box_steps(box)[both]))


def box_steps(box: np.ndarray) -> np.ndarray:
    """Return how far the box's middle moves from each frame to the next, in sides; NaN without a face.  # (T, 4) → (T − 1,)"""
    box = np.asarray(box, np.float64)
    middle = (box[:, :2] + box[:, 2:]) / 2
    side = np.maximum(box[:, 2:] - box[:, :2], 1.0).max(1)
    return np.linalg.norm(np.diff(middle, axis=0), axis=1) / side[:-1]
