"""The detector of frames that are face crops already: the whole frame is the face."""

from __future__ import annotations

import numpy as np

from .base import Detections, check_images


class WholeFrame:
    """One face in every image, from border to border; five points it does not know."""

    name = "none"
    digest = ""
    licence = ""  # no weights
    precision = "none"

    def detect(self, images: np.ndarray) -> list[Detections]:
        """Return each image's own extent.  # (B, H, W, 3) BGR uint8"""
        check_images(images)
        height, width = images.shape[1:3]
        box = np.array([[0, 0, width, height]], np.float32)
        landmarks = np.full((1, 5, 2), np.nan, np.float32)
        return [Detections(boxes=box.copy(), scores=np.ones(1, np.float32), landmarks=landmarks.copy()) for _ in images]
