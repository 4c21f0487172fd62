"""The steps of ResNet-18. A batch norm that stands still is part of the convolution before it, as in extraction.

That keeps half as much for the backward pass, and is quicker.

Legend: N frames, S side, C h w of a map.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .resnet import Block
from .tail import PICTURES, Step, Tail, normalized, pool
from .taps import STAGES

if TYPE_CHECKING:
    from .backbone import Backbone


def tail_of(backbone: Backbone, tap: str) -> Tail:
    """Return the steps from pictures, or from maps of layer3, to features."""
    *blocks, last = ([partial(through_block, block) for block in getattr(backbone, stage)] for stage in STAGES)
    before: list[Step] = [enter]
    if tap == PICTURES:
        before = [partial(through_stem, backbone), *(block for stage in blocks for block in stage)]
    return Tail(before=tuple(before), last=(*last, pool))


def through_stem(backbone: Backbone, pictures: Tensor) -> Tensor:
    """Take pictures through all that comes before layer1.  # (N, S, S, 3) uint8 → (N, 64, S/4, S/4), channels last"""
    x = F.relu_(convolve(backbone.conv1, backbone.bn1, normalized(backbone, pictures)))
    return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)


def enter(maps: Tensor) -> Tensor:
    """Bring maps into the layout of what layer3 gives.  # (N, C, h, w)"""
    return maps.float().contiguous(memory_format=torch.channels_last)


def through_block(block: Block, x: Tensor) -> Tensor:
    """Take maps through two convolutions, and around them.  # (N, C, h, w)"""
    around = x if block.downsample is None else convolve(*block.downsample.children(), x)
    y = F.relu_(convolve(block.conv1, block.bn1, x))
    return F.relu_(convolve(block.conv2, block.bn2, y).add_(around))


def convolve(convolution: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    """Convolve and normalise.  # (N, C, h, w)"""
    if norm.training:
        return norm(convolution(x))
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight, bias = convolution.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
    return F.conv2d(x, weight, bias, convolution.stride, convolution.padding)
