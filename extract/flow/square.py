"""The one square of a clip that is compared: around the face of the onset frame, in whole pixels.

SLSTT's authors take 68 landmarks of the apex frame: side (y8 − y19) + (y8 − y57), chin to brow and chin to lower lip, around the tip of the
nose (30). A detector gives five points here. In the mean shape of dlib's 68 landmarks (OpenFace's template) that side is 2.607 times the
distance from the middle of the eyes to that of the mouth's corners; so a square is 2.6 of these distances, around the tip of the nose.
"""

from __future__ import annotations

import cv2
import numpy as np

EYES_TO_MOUTH = 2.6
BY_POINTS = (
    f"one square a clip, of the onset frame: nose tip, side {EYES_TO_MOUTH:g} eyes to mouth; without points its box"
)


def square_of(box: np.ndarray, landmarks: np.ndarray, margin: float) -> np.ndarray:
    """Return the square of a face as edges, x0, y0, x1, y1: by its five points, else of its box's longer side.  # (4,), (5, 2) → (4,)"""
    box, landmarks = np.asarray(box, float), np.asarray(landmarks, float)
    middle, side = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
    if np.isfinite(landmarks).all():
        middle = landmarks[2]
        side = EYES_TO_MOUTH * float(np.linalg.norm(landmarks[3:].mean(0) - landmarks[:2].mean(0)))
    side = max(round(side * (1 + margin)), 1)
    left, top = np.rint(middle - side / 2)
    return np.array([left, top, left + side, top + side], np.float32)


def cut(frame: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Return the pixels of a square, as they are; what lies outside the frame is black.  # (H, W, …) → (S, S, …)"""
    x0, y0, x1, y1 = np.asarray(square, int).tolist()
    height, width = frame.shape[:2]
    inside = frame[min(max(y0, 0), height) : max(y1, 0), min(max(x0, 0), width) : max(x1, 0)]
    if inside.shape[:2] == (y1 - y0, x1 - x0):
        return inside
    left, top = max(-x0, 0), max(-y0, 0)
    whole = np.zeros((y1 - y0, x1 - x0, *frame.shape[2:]), frame.dtype)
    whole[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return whole


def grey(pixels: np.ndarray) -> np.ndarray:
    """Return the brightness of BGR pixels; SLSTT's released code weighs red as blue and blue as red.  # (S, S, 3) → (S, S)"""
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
