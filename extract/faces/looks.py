"""What a face looks like, in a few numbers that tell people apart for the length of a clip and are never stored.

An expression encoder measures expression, not identity. Here the colours of places on an upright face and around it (cheeks, brow, hair,
beard, lips), against the colour of the cheeks so that light matters less, and the distances between landmarks go through one linear map,
learnt on rendered people (`benchmarks/train_looks.py`) to keep what differs between people and drop what differs between pictures of one.
It is far weaker than a network for face recognition, and it has not been measured on real faces: docs/extract.md says what it cannot tell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

import cv2
import numpy as np

from ...crops.crop import points_matrix, warp
from .face_linking import Detections, area

SIDE = 72  # pixels of the upright face, with hair and chin
AROUND = 0.8  # margin around the template of five points
FAINT = 8.0  # grey levels that are added before the logarithm: black is not infinitely dark
MOST = 8  # faces of a frame that are looked at, largest first

# Where an upright face is looked at: middle x, middle y, width and height, in distances between the eyes, from the point between them.
PLACES = (
    ("left cheek", -0.5, 0.83, 0.35, 0.35),
    ("right cheek", 0.5, 0.83, 0.35, 0.35),
    ("forehead", 0.0, -0.55, 0.9, 0.35),
    ("nose", 0.0, 0.3, 0.25, 0.4),
    ("left eye", -0.5, 0.0, 0.55, 0.3),
    ("right eye", 0.5, 0.0, 0.55, 0.3),
    ("left brow", -0.5, -0.3, 0.6, 0.22),
    ("right brow", 0.5, -0.3, 0.6, 0.22),
    ("upper lip", 0.0, 0.91, 0.5, 0.22),
    ("mouth", 0.0, 1.15, 0.8, 0.3),
    ("chin", 0.0, 1.7, 0.5, 0.35),
    ("left jaw", -0.77, 1.5, 0.3, 0.4),
    ("right jaw", 0.77, 1.5, 0.3, 0.4),
    ("hairline", 0.0, -1.05, 0.9, 0.3),
    ("top", 0.0, -1.4, 0.9, 0.3),
    ("left side", -1.25, 0.0, 0.3, 0.6),
    ("right side", 1.25, 0.0, 0.3, 0.6),
    ("left of the mouth", -1.22, 1.15, 0.3, 0.6),
    ("right of the mouth", 1.22, 1.15, 0.3, 0.6),
    ("left temple", -1.0, -0.75, 0.35, 0.4),
    ("right temple", 1.0, -0.75, 0.35, 0.4),
)
CHEEKS = 2  # of them, the first
EYES = np.array([[29.67, 34.48], [42.27, 34.36]])  # of the template, in an upright face of SIDE pixels
WEIGHTS = "looks.safetensors"


class Looks:
    """The looks of the faces that were found, by frame and by their place among the frame's faces."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], np.ndarray] = {}

    def see(self, frame: int, picture: np.ndarray, found: Detections, scale: tuple[float, float]) -> None:
        """Look at the largest faces of a frame; `picture` is the frame shrunk by `scale`."""
        if not len(found.boxes) or not np.isfinite(found.landmarks).all():
            return
        for place in np.argsort(-area(np.asarray(found.boxes, float)), kind="stable")[:MOST].tolist():
            self._found[frame, place] = look_at(picture, found.landmarks[place] * np.array(scale))

    def of(self, faces: Sequence[tuple[int, int]]) -> np.ndarray:
        """Return the looks of those faces that were looked at.  # (n, D)"""
        return np.array([self._found[face] for face in faces if face in self._found], np.float32)


def look_at(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Return the numbers of one face; the distance between two people's is far above that between two pictures of one.  # (D,)"""
    mean, weights = _weights()
    return (measure(picture, landmarks) - mean) @ weights


def measure(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Measure a face: colours against those of the cheeks, that colour itself, contrast, and distances.  # (H, W, 3), (5, 2) → (M,)"""
    levels = np.log(upright(picture, landmarks).astype(np.float32) + FAINT)
    sums, squares = cv2.integral2(levels, sdepth=cv2.CV_64F, sqdepth=cv2.CV_64F)
    top, bottom, left, right = _corners()
    count = ((bottom - top) * (right - left))[:, None]
    colours, spread = (
        (table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]) / count
        for table in (sums, squares)
    )
    contrast = np.sqrt(np.maximum(spread - colours**2, 0)).mean(1)
    cheeks = colours[:CHEEKS].mean(0)
    return np.concatenate([(colours - cheeks).ravel(), cheeks, contrast, _distances(landmarks)]).astype(np.float32)


def upright(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Cut a face with hair and chin; what a close-up leaves out looks as the edge of the picture does.  # (H, W, 3) → (SIDE, SIDE, 3)"""
    matrix = points_matrix(landmarks, AROUND, SIDE)
    corners = cv2.invertAffineTransform(matrix) @ np.array([[0, SIDE, 0, SIDE], [0, 0, SIDE, SIDE], [1, 1, 1, 1]])
    size = np.array(picture.shape[1::-1])
    left, top = np.clip(np.ceil(-corners.min(1)), 0, size).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners.max(1)) + 1 - size, 0, size).astype(int).tolist()
    if left or top or right or bottom:
        picture = cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_REPLICATE)
        matrix[:, 2] -= matrix[:, :2] @ [left, top]
    return warp(picture, matrix, SIDE)


def _distances(landmarks: np.ndarray) -> np.ndarray:
    """Return the logarithms of what lies between the landmarks, against the distance from the eyes to the mouth.  # (5, 2) → (3,)"""
    points = np.asarray(landmarks, float)
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    spans = [points[1] - points[0], points[4] - points[3], points[2] - eyes, mouth - eyes]
    lengths = np.log(np.maximum(np.linalg.norm(spans, axis=1), 1e-3))
    return lengths[:3] - lengths[3]


@lru_cache(maxsize=1)
def _corners() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the first and the last but one row and column of each place, in pixels of the upright face."""
    unit, middle = EYES[1, 0] - EYES[0, 0], EYES.mean(0)
    x, y, width, height = np.array([place[1:] for place in PLACES]).T * unit
    edges = [
        middle[1] + y - height / 2,
        middle[1] + y + height / 2,
        middle[0] + x - width / 2,
        middle[0] + x + width / 2,
    ]
    top, bottom, left, right = (np.clip(np.round(edge).astype(int), 0, SIDE) for edge in edges)
    return top, bottom, left, right


@lru_cache(maxsize=1)
def digest() -> str:
    """Return a short name of the map: the first hexadecimal digits of its SHA-256."""
    return hashlib.sha256((files("est.extract.faces") / WEIGHTS).read_bytes()).hexdigest()[:8]


@lru_cache(maxsize=1)
def _weights() -> tuple[np.ndarray, np.ndarray]:
    """Read the map: the mean of what is measured, and the columns that it is multiplied by."""
    from safetensors.numpy import load

    found = load((files("est.extract.faces") / WEIGHTS).read_bytes())
    return found["mean"], found["map"]
