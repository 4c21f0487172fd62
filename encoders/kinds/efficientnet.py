"""EfficientNet as its first authors trained it: TensorFlow's padding and its constant in batch norms, with timm's names of modules.

Files of HSEmotion have these names. torchvision's EfficientNet pads both sides alike where a convolution takes every second place, which
shifts maps by a pixel against these weights.

Legend: N frames, C h w of a map, S side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-3  # in batch norms, as in TensorFlow's code
SQUEEZE = 0.25  # of a block's channels


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much wider and deeper a network is than B0."""

    width: float = 1.0
    depth: float = 1.0

    def round_width(self, number: int) -> int:
        """Scale a number of channels: a multiple of 8 that is not smaller by more than a tenth."""
        exact = number * self.width
        found = max(8, int(exact + 4) // 8 * 8)
        return found + 8 if found < 0.9 * exact else found

    def blocks(self, number: int) -> int:
        """Scale a number of blocks."""
        return math.ceil(number * self.depth)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Blocks of one width: the first takes every `stride`-th place."""

    outputs: int
    blocks: int
    kernel: int
    stride: int
    expansion: int = 6


STAGES = (
    Stage(outputs=16, blocks=1, kernel=3, stride=1, expansion=1),
    Stage(outputs=24, blocks=2, kernel=3, stride=2),
    Stage(outputs=40, blocks=2, kernel=5, stride=2),
    Stage(outputs=80, blocks=3, kernel=3, stride=2),
    Stage(outputs=112, blocks=3, kernel=5, stride=1),
    Stage(outputs=192, blocks=4, kernel=5, stride=2),
    Stage(outputs=320, blocks=1, kernel=3, stride=1),
)
STEM, HEAD = 32, 1280
SCALES = {"b0": Scale(), "b2": Scale(width=1.1, depth=1.2)}


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's padding: as much as it takes, and one more behind than before."""

    def forward(self, input: Tensor) -> Tensor:
        """Pad and convolve.  # (N, C, S, S) → (N, C', ⌈S / stride⌉, ⌈S / stride⌉)"""
        height, width = (
            max((math.ceil(side / step) - 1) * step + kernel - side, 0)
            for side, step, kernel in zip(input.shape[-2:], self.stride, self.kernel_size, strict=True)
        )
        before, above = width // 2, height // 2
        return super().forward(F.pad(input, (before, width - before, above, height - above)))


class NormAct(nn.BatchNorm2d):
    """A batch norm and the activation behind it."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise and activate."""
        return F.silu(super().forward(input))


class Squeeze(nn.Module):
    """Squeeze and excitation: channels are weighed by what the whole map shows."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Weigh the channels.  # (N, C, h, w) → (N, C, h, w)"""
        weights = self.conv_expand(F.silu(self.conv_reduce(maps.mean((2, 3), keepdim=True))))
        return maps * weights.sigmoid()


class Separable(nn.Module):
    """A block without expansion: each channel by itself, then across them."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        self.conv_dw = conv(inputs, inputs, stage.kernel, stride, groups=inputs)
        self.bn1 = NormAct(inputs, eps=EPS)
        self.se = Squeeze(inputs, round(SQUEEZE * inputs))
        self.conv_pw = conv(inputs, stage.outputs)
        self.bn2 = nn.BatchNorm2d(stage.outputs, eps=EPS)
        self.is_residual = stride == 1 and inputs == stage.outputs

    def forward(self, maps: Tensor) -> Tensor:
        """Go through the block."""
        found = self.bn2(self.conv_pw(self.se(self.bn1(self.conv_dw(maps)))))
        return found + maps if self.is_residual else found


class Inverted(nn.Module):
    """A block that is wider inside than outside."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inside = inputs * stage.expansion
        self.conv_pw = conv(inputs, inside)
        self.bn1 = NormAct(inside, eps=EPS)
        self.conv_dw = conv(inside, inside, stage.kernel, stride, groups=inside)
        self.bn2 = NormAct(inside, eps=EPS)
        self.se = Squeeze(inside, round(SQUEEZE * inputs))
        self.conv_pwl = conv(inside, stage.outputs)
        self.bn3 = nn.BatchNorm2d(stage.outputs, eps=EPS)
        self.is_residual = stride == 1 and inputs == stage.outputs

    def forward(self, maps: Tensor) -> Tensor:
        """Go through the block."""
        found = self.bn2(self.conv_dw(self.bn1(self.conv_pw(maps))))
        found = self.bn3(self.conv_pwl(self.se(found)))
        return found + maps if self.is_residual else found


class GlobalPool(nn.Module):
    """The mean over all places."""

    def forward(self, maps: Tensor) -> Tensor:
        """Average.  # (N, C, h, w) → (N, C)"""
        return maps.mean((2, 3))


class EfficientNet(nn.Module):
    """The network without its classifier."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        channels = scale.round_width(STEM)
        self.conv_stem = conv(3, channels, 3, 2)
        self.bn1 = NormAct(channels, eps=EPS)
        stages = []
        for stage in STAGES:
            scaled = replace(stage, outputs=scale.round_width(stage.outputs), blocks=scale.blocks(stage.blocks))
            kind = Separable if stage.expansion == 1 else Inverted
            blocks = []
            for number in range(scaled.blocks):
                blocks.append(kind(channels, scaled, stage.stride if number == 0 else 1))
                channels = scaled.outputs
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = conv(channels, scale.round_width(HEAD))
        self.bn2 = NormAct(scale.round_width(HEAD), eps=EPS)
        self.global_pool = GlobalPool()

    def forward(self, pictures: Tensor) -> Tensor:
        """Return what the classifier would be given.  # (N, 3, S, S) → (N, D)"""
        maps = self.blocks(self.bn1(self.conv_stem(pictures)))
        return self.global_pool(self.bn2(self.conv_head(maps)))


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, groups: int = 1) -> nn.Conv2d:
    """Return a convolution as TensorFlow pads it: as usual, where it takes every place."""
    if stride == 1:
        return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)
