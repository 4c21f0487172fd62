"""What every detector takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

NMS_IOU = 0.4
PART = 4  # images that a core takes at once: with 1 a third goes into calls, with 8 maps leave the cache


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """The faces of one image, best first. A box may reach beyond the image where the face does."""

    boxes: np.ndarray  # (n, 4) float32: left, top, right, bottom, in pixels of the image
    scores: np.ndarray  # (n,) float32
    landmarks: (
        np.ndarray
    )  # (n, 5, 2) float32: eyes, nose tip, mouth corners, as in the image; NaN where a detector has none

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def best(cls, boxes: np.ndarray, scores: np.ndarray, landmarks: np.ndarray) -> Detections:
        """Sort by score, and of boxes that overlap by more than `NMS_IOU` keep the best."""
        order = np.argsort(-scores, kind="stable")
        boxes, scores, landmarks = (array.astype(np.float32)[order] for array in (boxes, scores, landmarks))
        rectangles: Any = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)  # OpenCV takes arrays too
        weights: Any = scores
        kept = np.asarray(cv2.dnn.NMSBoxes(rectangles, weights, 0.0, NMS_IOU), dtype=int)
        return cls(boxes=boxes[kept], scores=scores[kept], landmarks=landmarks[kept])

    def scaled(self, x: float, y: float) -> Detections:
        """Return the same faces in an image that is x times as wide and y times as high."""
        factor = np.array([x, y], np.float32)
        boxes = self.boxes * np.tile(factor, 2)
        return Detections(boxes=boxes, scores=self.scores, landmarks=self.landmarks * factor)


class Detector(Protocol):
    """Finds faces in images of one size. What it returns for an image does not depend on the others in the call."""

    name: str  # as on the command line
    digest: str  # of the weights: the first 16 hexadecimal digits of their SHA-256
    licence: str  # one line for the user; empty where there are no weights
    precision: str  # in which the network runs

    def detect(self, images: np.ndarray) -> list[Detections]:
        """Find the faces of each image.  # (B, H, W, 3) BGR uint8"""
        ...


def check_images(images: np.ndarray) -> None:
    """Refuse anything but a batch of BGR images."""
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or 0 in images.shape[1:]:
        raise ValueError(f"expected images (B, H, W, 3) uint8, found {images.shape} {images.dtype}")


def reduced_size(width: int, height: int, longer_side: int | None) -> tuple[int, int]:
    """Return the (width, height) at which to look for faces: the longer side at most as given, the shape kept, never enlarged."""
    if longer_side is None or max(width, height) <= longer_side:
        return width, height
    scale = longer_side / max(width, height)
    return max(round(width * scale), 1), max(round(height * scale), 1)
