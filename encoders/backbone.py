"""The frame encoder: the interface, and the paper's encoder: torchvision's ResNet-18 up to its average pool, with taps at its four stages.

Input is RGB in [0, 1]; the pixel normalisation belongs to the weights and is part of the module, so that it cannot be forgotten. Layers
keep torchvision's names, so that its checkpoints load. Other encoders are in `kinds/`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from .resnet import make_trunk
from .resnet_tail import tail_of
from .tail import PICTURES, Step, Tail, tapped, through_encoder
from .taps import CLASS_TOKEN, MAPS, STAGES, TAPS

PYRAMID_SIDE = 4


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
        if len(numbers) != 6 or not all(map(math.isfinite, numbers)) or min(numbers[3:]) <= 0:
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
        return ",".join(_digits(number) for number in (*self.mean, *self.std))


def _digits(number: float) -> str:
    """Write a number with enough digits to read the same number."""
    short = f"{number:g}"
    return short if float(short) == number else repr(float(number))


class FrameEncoder(nn.Module, ABC):
    """Turns pictures of faces into rows of its taps; every encoder has gap, one row of numbers per frame."""

    name: str  # as recipes and files of weights have it
    title: str  # as people have it
    width: int  # of gap
    side: int | None = None  # of the pictures that its published weights were made for
    tap_names: tuple[str, ...] = ("gap",)
    maps: str = ""  # the tap that its last stage sees, which a cache can hold; empty: there is none
    normalization: Normalization

    @property
    def trunk(self) -> nn.Module:
        """Return the network whose names of tensors are those in files."""
        return self

    @abstractmethod
    def taps(self, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Return what is asked for.  # (N, 3, H, W) in [0, 1]"""

    @abstractmethod
    def shape_of(self, tap: str, size: int) -> tuple[int, ...]:
        """Return the shape of one frame's row of a tap, for square crops of some size; refuse both where there is no such thing."""

    @property
    def stages(self) -> tuple[str, ...]:
        """Name the stages in order; none where it is not known which they are."""
        return ()

    @property
    def last_stage(self) -> list[nn.Module]:
        """Return the modules of the last stage and of all that follows it."""
        return []

    def replace_last_stage(self, stage: nn.Module) -> None:
        """Put another module in the place of the last stage, where models can hold one: where there are `maps` before it."""
        raise AssertionError(f"{self.name} has no maps before its last stage")

    def steps_to(self, tap: str) -> tuple[Step, ...]:
        """Return the steps from pictures to rows of a tap."""
        if tap == "gap":
            return self.tail().steps
        return self.tail().before if tap == self.maps else (partial(tapped, self, tap),)

    def tail(self, tap: str = PICTURES) -> Tail:
        """Return the steps from pictures, or from the tap `maps`, to rows of gap."""
        assert tap == PICTURES, f"{self.name} has no steps from {tap}"
        return Tail(last=(partial(through_encoder, self),))

    def forward(self, images: Tensor) -> Tensor:
        """Return one row of numbers a frame.  # (N, 3, H, W) in [0, 1] → (N, width)"""
        return self.taps(images, ("gap",))["gap"]

    def normalize(self, images: Tensor) -> Tensor:
        """Apply the normalisation that the weights were trained with."""
        mean, std = self.normalization.mean, self.normalization.std
        if self.normalization == Normalization():
            return images
        shape = (1, 3, 1, 1)
        return (images - images.new_tensor(mean).view(shape)) / images.new_tensor(std).view(shape)


class Backbone(FrameEncoder):
    """ResNet-18 without its classifier; gap is the mean over places."""

    name = "resnet18"
    title = "ResNet-18"
    width = 512
    tap_names = TAPS
    maps = MAPS

    conv1: nn.Conv2d
    bn1: nn.Module
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, normalization: Normalization | None = None) -> None:
        super().__init__()
        for name, module in make_trunk(STAGES).items():
            self.add_module(name, module)
        self.normalization = normalization or Normalization()

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
                scales.append(pool_to(x, PYRAMID_SIDE))
        found["gap"] = x.float().mean((2, 3))  # 49 numbers of bf16 are summed in fp32
        if scales:
            found["pyramid4x4"] = torch.cat(scales, dim=1)
        return {name: found[name] for name in names}

    def shape_of(self, tap: str, size: int) -> tuple[int, ...]:
        """Return the shape of one frame's row of a tap, for square crops of some size."""
        return tap_shape(tap, size)

    @property
    def stages(self) -> tuple[str, ...]:
        """Name the stages in order."""
        return tuple(STAGES)

    @property
    def last_stage(self) -> list[nn.Module]:
        """Return layer4."""
        return [self.layer4]

    def replace_last_stage(self, stage: nn.Module) -> None:
        """Put another module in the place of layer4; an empty one passes maps of layer3 on."""
        assert isinstance(stage, nn.Sequential)
        self.layer4 = stage

    def tail(self, tap: str = PICTURES) -> Tail:
        """Return the steps from pictures, or from maps of layer3, to rows of gap."""
        return tail_of(self, tap)


def pool_to(maps: Tensor, side: int) -> Tensor:
    """Average maps to so many places a side.  # (N, C, h, w) → (N, C, side, side)

    ONNX has no such pool where the side does not divide h and w: for it the same is written as products with shares.
    """
    if not torch.onnx.is_in_onnx_export():
        return F.adaptive_avg_pool2d(maps, side)
    rows, columns = (shares_of_pool(int(size), side).to(maps) for size in maps.shape[2:])
    return rows @ maps @ columns.T


def shares_of_pool(size: int, side: int) -> Tensor:
    """Return how much each of so many places counts in each that an adaptive average pool gives.  # → (side, size)"""
    shares = torch.zeros(side, size)
    for place in range(side):
        first, last = place * size // side, -(-(place + 1) * size // side)
        shares[place, first:last] = 1 / (last - first)
    return shares


def tap_shape(name: str, size: int) -> tuple[int, ...]:
    """Return the shape of one frame's row of a tap, for square crops of some size."""
    if name == "gap":
        return (Backbone.width,)
    if name == "pyramid4x4":
        return (sum(STAGES.values()), PYRAMID_SIDE, PYRAMID_SIDE)
    if name == CLASS_TOKEN:
        raise UsageError(
            f"ResNet-18 has no class token: {CLASS_TOKEN} is a feature of vision transformers.",
            remedy="--weights timm:vit_base_patch16_384.orig_in21k_ft_in1k, or --features gap",
        )
    if name not in STAGES:
        raise UsageError(f"A feature is one of {', '.join(TAPS)}; found {name!r}.", remedy="--features gap,layer3")
    side = size
    for _ in range(2 + list(STAGES).index(name)):  # the stem halves twice, each later stage once; odd sides round up
        side = (side + 1) // 2
    return (STAGES[name], side, side)


def norms_of(*parts: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
    """Return the batch norms of any encoder, or of parts of one."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    return [module for part in parts for module in part.modules() if isinstance(module, kinds)]
