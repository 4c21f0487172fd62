"""MSSTNet: maps of four scales, in 16 patches each → a temporal Transformer, scale after scale → logits. A reconstruction.

Verified in sources: a ResNet-18 gives maps of several scales; an embedding layer (MELayer) divides each scale's maps into N = 16 patches
of P × P, and embeds each flattened patch; a temporal Transformer (T-Former) extracts time while it takes in one scale after the other.

Assumed: that the scales are the four stages, from the finest to the coarsest; all sizes (config.py); 16 slots of space with learnt
positions, which the scales share, and learnt positions in time; x ← T(x + E_scale), where E_scale is the scale's embedding and T are layers
of its own, pre-norm, over the frames of each slot; the mean over slots and frames, a norm, and a linear classifier.

The maps here are pooled to 4 × 4 (`pyramid4x4`), so that a patch is one place of them, and its embedding, a convolution whose kernel and
stride are P, is one of 1 × 1: what a patch of the published model shows within itself is averaged here.
Maps whose sides 4 does not divide (of crops of 112 and 224 pixels those with 14 and 7) have patches that overlap by one place.

B clips, n segments, J frames of each, F = n · J, C channels of all scales, h × w sides of a map, P = h · w slots, d width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ....encoders.taps import stages_of_pyramid
from ..contract import ATTENTION, EMBEDDING
from ..former_temporal.block import Block, draw_linear
from ..maps import places_of_maps
from ..model import Batch, Model, wide
from ..scaling import Scaling
from ..unfilled import Linear
from .config import Config

SPREAD = 0.02  # of positions at the start


class Output(NamedTuple):
    """What the model says; float32 under autocast too."""

    expression: Tensor  # (B, K)
    embedding: Tensor  # (B, d) what the classifier reads


class MSSTNet(Model):
    """A temporal Transformer over scales."""

    config: Config

    def __init__(
        self,
        config: Config,
        *,
        width: int,
        maps: tuple[int, ...],
        num_classes: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config, self.width, self.maps, self.num_classes = config, width, maps, num_classes
        self.scales = stages_of_pyramid(width)
        self.scaling = Scaling(width)
        self.slots = nn.Parameter(torch.empty(1, maps[0] * maps[1], 1, config.dim))
        self.times = nn.Parameter(torch.empty(1, 1, config.num_frames, config.dim))
        self.embeddings = nn.ModuleList(Linear(channels, config.dim) for channels in self.scales)
        self.blocks = nn.ModuleList(  # the layers of the first scale, then of the next
            Block(
                config.dim,
                heads=config.heads,
                head_width=config.dim // config.heads,
                ffn=config.ffn,
                dropout=config.dropout,
            )
            for _ in range(len(self.scales) * config.layers)
        )
        self.norm = nn.LayerNorm(config.dim)
        self.classifier = Linear(config.dim, num_classes)
        draw_linear(self, generator)
        with torch.no_grad():
            for parameter in (self.slots, self.times):
                parameter.normal_(std=SPREAD, generator=generator)

    def forward(self, batch: Batch) -> Output:
        """Classify clips.  # (B, n, J, C, h, w) → (B, K)"""
        return self._decide(batch)[0]

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the classifier reads, and how much the last layer attends to each segment, on the mean of slots and frames."""
        output, before = self._decide(batch)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        weights = last.weights(before).unflatten(0, (-1, self.slots.shape[1])).mean((1, 3))  # (B, heads, F)
        return {EMBEDDING: output.embedding, ATTENTION: weights.unflatten(2, (self.config.num_segments, -1)).sum(3)}

    def _decide(self, batch: Batch) -> tuple[Output, Tensor]:
        """Return the answer, and what the last layer was given.  # (B, n, J, C, h, w) → (B, K), (B · P, F, d)"""
        maps = self.scaling(places_of_maps(batch["features"], self)).transpose(1, 2)  # (B, P, F, C)
        x = (self.slots + self.times).expand(maps.shape[0], -1, -1, -1).flatten(0, 1)
        before = x
        for number, scale in enumerate(maps.split(self.scales, 3)):
            x = x + self.embeddings[number](scale).flatten(0, 1)
            for block in self.blocks[number * self.config.layers : (number + 1) * self.config.layers]:
                before, x = x, block(x)
        embedding = self.norm(x.unflatten(0, (-1, self.slots.shape[1])).mean((1, 2)))
        return Output(expression=wide(self.classifier(embedding)), embedding=wide(embedding)), before


def facts(config: Config, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of its models besides their settings: nothing."""
    return {}


def build(config: Config, *, width: int, maps: tuple[int, ...], num_classes: int, seed: int) -> MSSTNet:
    """Draw starting values by a seed, from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    return MSSTNet(config, width=width, maps=maps, num_classes=num_classes, generator=generator)
