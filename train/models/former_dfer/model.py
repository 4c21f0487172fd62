"""Former-DFER: maps of layer3 → places that attend to each other → ResNet-18's layer4 and its pool → a Transformer over frames → logits.

The spatial half (S-Former) stands between layer3 and layer4: learnt positions are added to the places of a map, and pre-norm blocks let
them attend to each other. layer4 is part of the model: it learns in every training, and starts as that of the encoder that made the maps.
The temporal half (T-Former) is the model `former-temporal`. Sizes are the published ones; with the rest of ResNet-18 these are 18.03 M
parameters.

In training the batch norms of layer4 see every frame of every clip of a batch. In evaluation no frame depends on another.

Legend: B clips, n segments, J frames of each, N = B·n·J, C h w of a map, D = 2·C.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ....encoders.resnet import Block as ResidualBlock
from ....encoders.resnet import make_stage
from ....encoders.resnet_tail import through_block
from ....encoders.tail import pool
from ....errors import UsageError
from ..contract import places_of
from ..former_temporal.block import Block, draw_linear
from ..former_temporal.model import FormerTemporal, Output
from ..last_stage import WithLastStage
from ..model import Batch
from ..scaling import Scaling
from .config import Config


class SpatialFormer(nn.Module):
    """A Transformer over the places of a map."""

    def __init__(
        self, config: Config, width: int, maps: tuple[int, int], generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.sides = maps
        self.positions = nn.Parameter(torch.empty(1, maps[0] * maps[1], width))
        sizes = {"heads": config.spatial_heads, "head_width": config.spatial_head_width, "ffn": config.spatial_ffn}
        self.blocks = nn.ModuleList(Block(width, **sizes, dropout=0.0) for _ in range(config.spatial_layers))
        draw_linear(self, generator)
        with torch.no_grad():
            self.positions.normal_(generator=generator)

    def forward(self, maps: Tensor) -> Tensor:
        """Refine maps, whose layout in memory is then that of channels last.  # (N, C, h, w) → (N, C, h, w)"""
        x = maps.flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            x = block(x)
        return x.transpose(1, 2).unflatten(2, self.sides)


class FormerDfer(WithLastStage):
    """Former-DFER, from the maps of layer3 on."""

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
        self.scaling = Scaling(width)  # for the spatial half: layer4 sees maps scaled back
        self.spatial = SpatialFormer(config, width, maps, generator)
        self.layer4 = make_stage(width, 2 * width, generator)
        self.temporal = FormerTemporal(config, width=2 * width, num_classes=num_classes, generator=generator)

    @property
    def classifier(self) -> nn.Linear:
        """Return what tells the classes apart."""
        return self.temporal.classifier

    @property
    def stage(self) -> nn.Module:
        """Return layer4."""
        return self.layer4

    def forward(self, batch: Batch) -> Output:
        """Classify clips.  # (B, n, J, C, h, w) → logits (B, classes)"""
        return self.temporal({"features": self._frames(batch)})

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """Return the class token, and what the last block of the temporal half lets it attend to: the frames of each segment, together."""
        return self.temporal.explain({"features": self._frames(batch)})

    def _frames(self, batch: Batch) -> Tensor:
        """Return a vector for each frame.  # (B, n, J, C, h, w) → (B, n, J, D)"""
        maps = batch["features"]
        if tuple(maps.shape[3:]) != (self.width, *self.maps):
            raise UsageError(
                f"Maps are (channels, height, width) = {(self.width, *self.maps)}, found {tuple(maps.shape[3:])}.",
                remedy="crops of the size that the model was trained on",
            )
        mean, std = (one.view(-1, 1, 1) for one in (self.scaling.mean, self.scaling.std))
        x = self.spatial((maps.reshape(-1, self.width, *self.maps) - mean) / std) * std + mean
        for block in self.layer4:
            assert isinstance(block, ResidualBlock)
            x = through_block(block, x)
        return pool(x).reshape(maps.shape[0], *places_of(self.config.shown), 2 * self.width)


def facts(config: Config, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of its models besides their settings: nothing."""
    return {}


def build(config: Config, *, width: int, num_classes: int, seed: int, maps: tuple[int, int]) -> FormerDfer:
    """Draw starting values by a seed, from a generator of its own; layer4 then starts as an encoder's, where a training has one."""
    generator = torch.Generator().manual_seed(seed)
    return FormerDfer(config, width=width, num_classes=num_classes, maps=maps, generator=generator)
