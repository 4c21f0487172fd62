"""R3D-18: crops of a clip as one volume → four stages of two residual blocks of 3 × 3 × 3 convolutions → the mean → logits.

Layers have torchvision's names, so that its weights load, and the number of channels can be smaller. Pixels are normalised as for its
weights, or with `data.scaling` by what the training half shows. Batch norms follow what they see in training; in evaluation no clip
depends on another.

Legend: B clips, T frames, h w of a crop or a map, C channels, D width of what the classifier reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..batch_frames import BatchFrames
from ..contract import EMBEDDING
from ..model import Batch, Model, wide
from ..scaling import Scaling
from .config import Config

STAGES, BLOCKS = 4, 2
STEM = (3, 7, 7)  # frames, height and width of the first convolution
MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)  # of Kinetics' pixels, as torchvision has them


class Output(NamedTuple):
    """What the model says; float32 under autocast too."""

    expression: Tensor  # (B, classes)
    embedding: Tensor  # (B, D) what the classifier reads


class Block(nn.Module):
    """Two convolutions with a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(convolution(channels, width, stride), nn.BatchNorm3d(width), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(convolution(width, width, 1), nn.BatchNorm3d(width))
        self.downsample = None
        if stride != 1 or channels != width:
            shortcut = nn.Conv3d(channels, width, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to volumes.  # (B, C, T, h, w)"""
        around = x if self.downsample is None else self.downsample(x)
        return F.relu(self.conv2(self.conv1(x)) + around)


class R3D18(Model):
    """A residual network over space and time."""

    config: Config

    def __init__(
        self,
        config: Config,
        *,
        width: int,
        num_classes: int,
        maps: tuple[int, int],
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config, self.width, self.num_classes, self.maps = config, width, num_classes, maps
        self.scaling = Scaling(width)
        self.scaling.mean.copy_(255 * torch.tensor(MEAN))
        self.scaling.std.copy_(255 * torch.tensor(STD))
        channels = config.channels
        with torch.random.fork_rng(devices=[]):
            first = nn.Conv3d(width, channels, STEM, stride=(1, 2, 2), padding=(1, 3, 3), bias=False)
            self.stem = nn.Sequential(first, nn.BatchNorm3d(channels), nn.ReLU(inplace=True))
            for stage in range(STAGES):
                inputs = channels if stage == 0 else channels * 2 ** (stage - 1)
                outputs, stride = channels * 2**stage, 1 if stage == 0 else 2
                blocks = [Block(inputs, outputs, stride), *(Block(outputs, outputs, 1) for _ in range(BLOCKS - 1))]
                self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            self.fc = nn.Linear(channels * 2 ** (STAGES - 1), num_classes)
        self._draw(generator)

    @property
    def classifier(self) -> nn.Linear:
        """Return what tells the classes apart."""
        return self.fc

    def features(self, frames: BatchFrames | Tensor) -> Tensor:
        """Return the crops of each place, as numbers from 0 to 255.  # → (B, n, J, 3, h, w)"""
        if isinstance(frames, Tensor):
            return frames
        return frames.rows[frames.place].movedim(-1, -3).float()

    def forward(self, batch: Batch) -> Output:
        """Classify clips.  # (B, n, J, 3, h, w) → (B, classes)"""
        pooled = self._pooled(batch)
        return Output(expression=wide(self.fc(pooled)), embedding=wide(pooled))

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the classifier reads."""
        return {EMBEDDING: wide(self._pooled(batch))}

    def _pooled(self, batch: Batch) -> Tensor:
        """Return the mean over the places and moments of the last stage.  # → (B, D)"""
        pixels = batch["features"].flatten(1, 2).transpose(1, 2)  # (B, 3, T, h, w)
        mean, std = (one.view(-1, 1, 1, 1) for one in (self.scaling.mean, self.scaling.std))
        x = self.stem((pixels - mean) / std)
        for stage in range(STAGES):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x.float().mean((2, 3, 4))

    @torch.no_grad()
    def _draw(self, generator: torch.Generator | None) -> None:
        """Draw starting values as torchvision does."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        self.fc.weight.normal_(0, 0.01, generator=generator)
        self.fc.bias.zero_()


def convolution(channels: int, width: int, stride: int) -> nn.Conv3d:
    """Return a convolution of 3 × 3 × 3."""
    return nn.Conv3d(channels, width, 3, stride=stride, padding=1, bias=False)


def facts(config: Config, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of its models besides their settings: nothing."""
    return {}


def build(config: Config, *, width: int, num_classes: int, seed: int, maps: tuple[int, int]) -> R3D18:
    """Draw starting values by a seed, from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    return R3D18(config, width=width, num_classes=num_classes, maps=maps, generator=generator)
