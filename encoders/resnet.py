"""The trunk of ResNet-18, by the names and with the initial numbers that torchvision gives it.

It is written out because it is small, and importing torchvision takes longer than everything else that happens before the first frame.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = 2  # of a stage
NUM_CLASSES = 1000  # of ImageNet


class Block(nn.Module):
    """Two convolutions with a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        around = None
        if stride != 1 or channels != width:
            shortcut = nn.Conv2d(channels, width, 1, stride=stride, bias=False)
            around = nn.Sequential(shortcut, nn.BatchNorm2d(width))
        self.conv1 = convolution(channels, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = around

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to maps.  # (N, C, h, w)"""
        around = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)).add_(around), inplace=True)


def make_trunk(stages: dict[str, int]) -> OrderedDict[str, nn.Module]:
    """Return stem and stages by name, `stages` with their channels; their numbers are those of torchvision's from the same seed."""
    stem = 64
    trunk: OrderedDict[str, nn.Module] = OrderedDict()
    trunk["conv1"] = nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)
    trunk["bn1"] = nn.BatchNorm2d(stem)
    channels = stem
    for name, width in stages.items():
        trunk[name], channels = stage_of(channels, width), width
    nn.Linear(channels, NUM_CLASSES)  # the classifier is left out, and has drawn numbers before the weights are drawn
    for module in trunk.values():
        draw_convolutions(module)
    return trunk


def make_stage(channels: int, width: int, generator: torch.Generator | None = None) -> nn.Sequential:
    """Return one stage by itself, drawn as the trunk is, from a generator: no other random stream changes."""
    with torch.random.fork_rng(devices=[]):
        stage = stage_of(channels, width)
    draw_convolutions(stage, generator)
    return stage


def stage_of(channels: int, width: int) -> nn.Sequential:
    """Return the blocks of a stage."""
    return nn.Sequential(
        *(
            Block(channels if not number else width, width, stride_of(channels, width, number))
            for number in range(BLOCKS)
        )
    )


def draw_convolutions(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw the weights of convolutions."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu", generator=generator)


def stride_of(channels: int, width: int, number: int) -> int:
    """Return the step of a block: the first one of a stage that widens halves the sides."""
    return 2 if number == 0 and width != channels else 1


def convolution(channels: int, width: int, stride: int) -> nn.Conv2d:
    """Return a convolution of 3 × 3."""
    return nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
