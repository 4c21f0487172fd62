"""From a frame and where its face is to an aligned crop: a square box with a margin, or five points on a template.

Both are one affine map, applied once. Where it shrinks twofold or more the region is averaged first, because sampling alone would
alias.

Maps are OpenCV's: they carry pixel numbers to pixel numbers, so that whole numbers are the middles of pixels, as in landmarks. A box is
given by its edges, and pixel 0 covers 0 to 1: the box of a whole picture is (0, 0, width, height). So a picture's own box, at its own
size and without a margin, gives the picture as it is, and the crop of a mirrored picture is the mirrored crop.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

__all__ = ["BOX_MARGIN", "Align", "box_matrix", "crop_face", "points_matrix", "warp"]

Align = Literal["box", "5point"]

# Where the five points of an aligned face lie in a 112 × 112 crop: the positions that recognition networks are trained with.
TEMPLATE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)


def crop_face(
    frame: np.ndarray, box: np.ndarray, landmarks: np.ndarray, *, align: Align, margin: float, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a face's crop and the map that made it.  # (H, W, 3) → (size, size, 3), (2, 3)"""
    matrix = points_matrix(landmarks, margin, size) if align == "5point" else box_matrix(box, margin, size)
    return warp(frame, matrix, size), matrix


def box_matrix(box: np.ndarray, margin: float, size: int) -> np.ndarray:
    """Return the map of a square around a box to a crop; its side is (1 + margin) × the box's longer side.  # (2, 3)

    A box smaller than a pixel is taken for one.
    """
    x0, y0, x1, y1 = _finite("box", box)
    side = max((1 + margin) * max(x1 - x0, y1 - y0), 1.0)
    scale = size / side
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    # From edges to pixel numbers, which lie half a pixel further in both pictures: u + 0.5 = scale · (x + 0.5 − left).
    return np.array([[scale, 0, scale * (0.5 - left) - 0.5], [0, scale, scale * (0.5 - top) - 0.5]])


def points_matrix(landmarks: np.ndarray, margin: float, size: int) -> np.ndarray:
    """Return the similarity that brings five points as near as can be to the template, drawn smaller by the margin.  # (2, 3)

    The least-squares solution in closed form, over complex numbers: a point is x + iy, a similarity without mirroring is a·z + b.
    """
    target = (TEMPLATE_112.astype(float) - 56) / (1 + margin) * (size / 112) + size / 2
    z, w = _finite("landmarks", landmarks) @ [1, 1j], target @ [1, 1j]
    z0, w0 = z.mean(), w.mean()
    spread = float((np.abs(z - z0) ** 2).sum())
    a = ((w - w0) * np.conj(z - z0)).sum() / spread if spread > 0 else 0j
    if abs(a) < 1e-6:  # all points in one place, or arranged as no face is: nothing says how large it is
        a = 1.0 + 0j
    b = w0 - a * z0
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def warp(frame: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Apply a map to a frame; what lies outside it is black.  # (H, W, 3) → (size, size, 3)"""
    factor = int(1 / max(np.sqrt(abs(np.linalg.det(matrix[:, :2]))), 1e-6) + 1e-9)
    factor = min(factor, max(frame.shape[:2]) // 4)  # a face of many times the frame: blocks need not outgrow the frame
    if factor >= 2:
        reduced = _reduce(frame, matrix, size, factor)
        if reduced is None:
            return np.zeros((size, size, *frame.shape[2:]), frame.dtype)
        frame, matrix = reduced
    return cv2.warpAffine(frame, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def _reduce(frame: np.ndarray, matrix: np.ndarray, size: int, factor: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Average blocks of pixels of the region that the crop sees; return it with the map from there, None if it sees nothing.

    The blocks start at the crop's own corner, so that at a whole factor each is one pixel of the crop; a block that reaches over the
    frame's border counts the black beyond it.
    """
    ends = np.array([-0.5, size - 0.5])
    corners = np.array([[x, y, 1] for x in ends for y in ends]) @ cv2.invertAffineTransform(matrix).T + 0.5  # edges
    height, width = frame.shape[:2]
    origin = np.round(corners.min(0)) - factor
    # Blocks first … stop − 1 touch both the crop, with one to spare, and the frame.
    first = np.maximum(np.floor(-origin / factor), 0).astype(int)
    stop = np.ceil(np.minimum(corners.max(0) + factor - origin, (width, height) - origin) / factor).astype(int)
    if (stop <= first).any():
        return None
    left, top = (origin + first * factor).astype(int).tolist()
    right, bottom = (origin + stop * factor).astype(int).tolist()
    region = frame[max(top, 0) : bottom, max(left, 0) : right]
    beyond = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    if any(beyond):
        region = cv2.copyMakeBorder(region, *beyond, cv2.BORDER_CONSTANT)
    columns, rows = (stop - first).tolist()
    small = cv2.resize(region, (columns, rows), interpolation=cv2.INTER_AREA)
    # Pixel i of the small image is the mean of pixels left + i·factor … left + (i + 1)·factor − 1.
    offset = np.array([left, top]) + (factor - 1) / 2
    return small, np.column_stack([matrix[:, :2] * factor, matrix[:, :2] @ offset + matrix[:, 2]])


def _finite(name: str, values: np.ndarray) -> np.ndarray:
    found = np.asarray(values, float)
    if not np.isfinite(found).all():
        raise ValueError(
            f"a crop needs {name}, found {found.tolist()}: rows of state 0 have none, nor have detectors without landmarks"
        )
    return found


BOX_MARGIN = 0.2  # holds the true box on every rendered frame, hands before the face included; 0.1 on all that show the whole face
