"""The frame encoder: torchvision's ResNet-18 up to its global average pool, and taps at its four stages.

Input is RGB in [0, 1]; the pixel normalisation belongs to the weights and is part of the module, so that nobody can forget it. Layers
keep torchvision's names, so that its checkpoints load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet18

from ..errors import UsageError

STAGES = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}  # name → channels
PYRAMID_SIDE = 4
TAPS = ("gap", *STAGES, "pyramid4x4")


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """Subtract and divide per channel, after pixels are scaled to [0, 1]."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @classmethod
    def named(cls, text: str) -> Normalization:
        """Read none, imagenet, or six numbers: three means, three deviations."""
        if text == "none":
            return cls()
        if text == "imagenet":
            return cls(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        try:
            numbers = [float(part) for part in text.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) == 2:
            numbers = [numbers[0]] * 3 + [numbers[1]] * 3
        if len(numbers) != 6 or min(numbers[3:]) <= 0:
            raise UsageError(
                f"A normalisation is none, imagenet, MEAN,STD or three means and three deviations; found {text!r}.",
                remedy="--normalize none for weights that were trained on pixels in [0, 1]",
            )
        return cls(mean=(numbers[0], numbers[1], numbers[2]), std=(numbers[3], numbers[4], numbers[5]))

    @property
    def name(self) -> str:
        """Return the text that `named` reads."""
        for known in ("none", "imagenet"):
            if self == Normalization.named(known):
                return known
        return ",".join(f"{number:g}" for number in (*self.mean, *self.std))


class Backbone(nn.Module):
    """ResNet-18 without its classifier."""

    width = 512

    def __init__(self, normalization: Normalization | None = None) -> None:
        super().__init__()
        trunk = resnet18(weights=None)
        self.conv1, self.bn1 = trunk.conv1, trunk.bn1
        self.layer1, self.layer2, self.layer3, self.layer4 = trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4
        self.normalization = normalization or Normalization()

    def forward(self, images: Tensor) -> Tensor:
        """Return the global average pool.  # (N, 3, H, W) in [0, 1] → (N, 512)"""
        return self.taps(images, ("gap",))["gap"]

    def taps(self, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Return what is asked for: gap (N, 512), layerK (N, C, h, w), pyramid4x4 (N, 960, 4, 4)."""
        x = F.relu(self.bn1(self.conv1(self.normalize(images))))
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        found: dict[str, Tensor] = {}
        scales = []
        for name in STAGES:
            x = getattr(self, name)(x)
            found[name] = x
            if "pyramid4x4" in names:
                scales.append(F.adaptive_avg_pool2d(x, PYRAMID_SIDE))
        found["gap"] = x.float().mean((2, 3))  # 49 numbers of bf16 are summed in fp32
        if scales:
            found["pyramid4x4"] = torch.cat(scales, dim=1)
        return {name: found[name] for name in names}

    def normalize(self, images: Tensor) -> Tensor:
        """Apply the normalisation that the weights were trained with."""
        mean, std = self.normalization.mean, self.normalization.std
        if self.normalization == Normalization():
            return images
        shape = (1, 3, 1, 1)
        return (images - images.new_tensor(mean).view(shape)) / images.new_tensor(std).view(shape)


def tap_shape(name: str, size: int) -> tuple[int, ...]:
    """Return the shape of one frame's row of a tap, for square crops of some size."""
    if name == "gap":
        return (Backbone.width,)
    if name == "pyramid4x4":
        return (sum(STAGES.values()), PYRAMID_SIDE, PYRAMID_SIDE)
    if name not in STAGES:
        raise UsageError(f"A feature is one of {', '.join(TAPS)}; found {name!r}.", remedy="--features gap,layer3")
    side = size
    for _ in range(2 + list(STAGES).index(name)):  # the stem halves twice, each later stage once; odd sides round up
        side = (side + 1) // 2
    return (STAGES[name], side, side)
