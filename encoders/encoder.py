"""Running the backbone: crops in, rows of every feature array out, at one batch shape on one device in one precision.

Batches are always of the same shape, short ones filled with black, so that a row does not depend on who shares its batch. Batch norms of
ResNet-18 are folded into the convolutions, channels come last: three times faster in bf16 on processors that have it. On a processor its
convolutions are fused, and a core takes a few crops at a time, whose maps stay in its cache (`fused`, `lanes`): twice as fast again. Other
networks run as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .backbone import Backbone, FrameEncoder, Normalization
from .fused import FusedTrunk, why_not_fused
from .lanes import in_lanes
from .precision import DTYPES, Precision
from .taps import STAGES

BATCH = 32
PART = 8  # crops that a core takes at once: with 4 torch spends more on calling than it saves by the cache, with 32 on memory


class HasKernels(Protocol):
    """An object that names its kernels."""

    @property
    def kernels(self) -> str: ...


class Encoder:
    """Turns crops into feature rows."""

    def __init__(
        self,
        backbone: FrameEncoder,
        taps: Sequence[str],
        *,
        device: torch.device,
        precision: Precision,
        batch: int = BATCH,
    ) -> None:
        self.taps = tuple(taps)
        self.batch = batch
        self.device = device
        self.why_plain = ""  # where a ResNet-18 could run fused, by its device: why it does not
        self._part: int | None = None  # crops that a core takes at once; None: all cores share a batch
        self._dtype = DTYPES[precision]
        self._normalization = backbone.normalization
        self._rows: dict[int, tuple[Tensor, Tensor]] = {}  # mean and deviation of a row of pixels, by its width
        trunk = for_inference(backbone).to(device=device, dtype=self._dtype).to(memory_format=torch.channels_last)
        self._trunk: FrameEncoder | FusedTrunk = trunk
        if device.type == "cpu" and isinstance(trunk, Backbone):
            self.why_plain = why_not_fused(trunk, self._dtype)
            if not self.why_plain:
                self._trunk, self._part = FusedTrunk(trunk), min(PART, batch)

    @property
    def kernels(self) -> str:
        """Return how the network is computed, as far as rows depend on it: two ways round differently."""
        return "fused" if isinstance(self._trunk, FusedTrunk) else "plain"

    def encode(
        self, crops: np.ndarray, taps: Sequence[str] | None = None, *, mirrored: bool = False
    ) -> dict[str, np.ndarray]:
        """Return the rows of each tap, or of some, in float32.  # (B, S, S, 3) RGB uint8, B ≤ batch"""
        names = self.taps if taps is None else tuple(taps)
        if self._part is None or self._part == self.batch:
            return self._encode_part(crops, self.batch, names, mirrored)
        size = self._part
        found = in_lanes(
            lambda start: self._encode_part(crops[start : start + size], size, names, mirrored),
            range(0, max(len(crops), 1), size),
        )
        return {name: np.concatenate([rows[name] for rows in found]) for name in names}

    @torch.inference_mode()
    def _encode_part(self, crops: np.ndarray, size: int, names: Sequence[str], mirrored: bool) -> dict[str, np.ndarray]:
        """Return the rows of at most `size` crops, computed in the shape of so many."""
        count = len(crops)
        if count < size:
            crops = np.concatenate([crops, np.zeros((size - count, *crops.shape[1:]), np.uint8)])
        images = torch.from_numpy(crops).to(self.device, non_blocking=True)
        if mirrored:
            images = images.flip(2)
        found = self._trunk.taps(self._scaled(images), names)
        return {name: rows[:count].float().cpu().numpy() for name, rows in found.items()}

    def _scaled(self, images: Tensor) -> Tensor:
        """Bring pixels to [0, 1] and to the weights' normalisation in float32, then to the precision of the trunk.  # (N, S, S, 3)"""
        scaled = images.float().div_(255)
        if self._normalization != Normalization():
            mean, std = self._rows_of(images.shape[2])
            scaled.flatten(2).sub_(mean).div_(std)
        return scaled.to(self._dtype).permute(0, 3, 1, 2)  # seen so, it is channels last

    def _rows_of(self, width: int) -> tuple[Tensor, Tensor]:
        """Return mean and deviation for a row of so many pixels: three numbers at a time are five times slower to subtract."""
        if width not in self._rows:
            normalization = self._normalization
            mean, std = (
                torch.tensor(numbers, device=self.device).repeat(width)
                for numbers in (normalization.mean, normalization.std)
            )
            self._rows = {width: (mean, std)}
        return self._rows[width]


def kernels_of(encoders: Iterable[HasKernels]) -> str:
    """Return how encoders are computed, as an environment has it."""
    return joined_kernels(encoder.kernels for encoder in encoders)


def joined_kernels(names: Iterable[str]) -> str:
    """Name the kernels of several encoders, as an environment has it."""
    return ", ".join(sorted(set(names))) or "plain"


def for_inference(backbone: FrameEncoder) -> FrameEncoder:
    """Return a copy that takes pixels which are normalised already, as quick as its kind allows."""
    if isinstance(backbone, Backbone):
        return fold_batch_norms(backbone)
    copy = deepcopy(backbone).eval()
    copy.normalization = Normalization()
    return copy


def fold_batch_norms(backbone: Backbone) -> Backbone:
    """Return a copy for inference in which each batch norm is part of the convolution before it, without normalisation of pixels."""
    copy = deepcopy(backbone).eval()
    copy.normalization = Normalization()
    copy.conv1, copy.bn1 = folded(copy.conv1, copy.bn1), nn.Identity()
    for stage in STAGES:
        for block in getattr(copy, stage):
            block.conv1, block.bn1 = folded(block.conv1, block.bn1), nn.Identity()
            block.conv2, block.bn2 = folded(block.conv2, block.bn2), nn.Identity()
            if block.downsample is not None:
                block.downsample = nn.Sequential(folded(*block.downsample))
    return copy


def folded(convolution: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """Return the convolution that does what both do."""
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(convolution, norm)
