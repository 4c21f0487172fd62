"""STT: a class token and a token of each place of each frame's map → blocks of spatial, then temporal attention → logits. A reconstruction.

Known from the paper's abstract: a convolutional encoder makes a sequence of features of each frame; each block has spatial attention and
temporal attention; a compact loss is added to the cross-entropy.

Known of a port of a later system by the same first author (LOGO-Former), and taken over: 8 segments of 2 frames, ResNet-18 up to layer3
(7 × 7 × 256 of crops of 112 pixels), a 1 × 1 convolution to 512, learnt positions in space and in time, a class token, 4 blocks, 8 heads,
2,048 in the middle, norms before each half; in a block attention over the tokens of a frame, then over the frames at the same place, then
the feed-forward half; a linear classifier.

Assumed: what the class token does in the two attentions (block.py), a norm before the classifier, GELU, queries, keys and values without
bias, one dropout rate, and starting values (positions and class token with deviation 0.02, layers as torch draws them).

The compact loss is no part of the model: `--set loss.compact=λ` adds a reconstruction of it, which reads the class token behind the
norm. Its published weight is not known; λ = 0, the default, is the ablation.

B clips, n segments, J frames of each, F = n · J, C channels, h × w sides of a map, P = h · w places, d width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..contract import ATTENTION, EMBEDDING
from ..former_temporal.block import draw_linear
from ..maps import places_of_maps
from ..model import Batch, Model, wide
from ..scaling import Scaling
from ..unfilled import Linear
from .block import Block
from .config import Config

SPREAD = 0.02  # of positions and the class token at the start


class Output(NamedTuple):
    """What the model says; float32 under autocast too."""

    expression: Tensor  # (B, K)
    embedding: Tensor  # (B, d) what the classifier reads


class STT(Model):
    """A Transformer over places and over time."""

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
        grid = config.num_frames, maps[0] * maps[1]
        self.scaling = Scaling(width)
        self.projection = Linear(width, config.dim)  # of each place: a convolution of 1 × 1
        self.token = nn.Parameter(torch.empty(1, 1, config.dim))
        self.times = nn.Parameter(torch.empty(1, grid[0], 1, config.dim))
        self.places = nn.Parameter(torch.empty(1, 1, grid[1], config.dim))
        self.blocks = nn.ModuleList(
            Block(config.dim, grid, heads=config.heads, ffn=config.ffn, dropout=config.dropout)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.dim)
        self.classifier = Linear(config.dim, num_classes)
        draw_linear(self, generator)
        with torch.no_grad():
            for parameter in (self.token, self.times, self.places):
                parameter.normal_(std=SPREAD, generator=generator)

    def forward(self, batch: Batch) -> Output:
        """Classify clips.  # (B, n, J, C, h, w) → (B, K)"""
        x = self._tokens(batch)
        for block in self.blocks:
            x = block(x)
        return self._classify(x)

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """Return the class token, and how much the last attention weighs the frames of each segment for it, all places together."""
        *before, last = self.blocks
        assert isinstance(last, Block)
        x = self._tokens(batch)
        for block in before:
            x = block(x)
        frames = last.weights(x)[:, :, 1:].unflatten(2, (self.config.num_segments, -1)).sum(3)
        shares = frames / frames.sum(2, keepdim=True)  # without what it attends to of itself
        return {EMBEDDING: self._classify(last(x)).embedding, ATTENTION: shares}

    def _tokens(self, batch: Batch) -> Tensor:
        """Return the class token and those of all places.  # (B, n, J, C, h, w) → (B, 1 + F · P, d)"""
        maps = places_of_maps(batch["features"], self)
        x = self.projection(self.scaling(maps)) + self.times + self.places
        return torch.cat([self.token.expand(x.shape[0], -1, -1), x.flatten(1, 2)], 1)

    def _classify(self, x: Tensor) -> Output:
        """Classify by the class token.  # (B, 1 + F · P, d) → (B, K)"""
        embedding = self.norm(x[:, 0])
        return Output(expression=wide(self.classifier(embedding)), embedding=wide(embedding))


def facts(config: Config, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of its models besides their settings: nothing."""
    return {}


def build(config: Config, *, width: int, maps: tuple[int, ...], num_classes: int, seed: int) -> STT:
    """Draw starting values by a seed, from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    return STT(config, width=width, maps=maps, num_classes=num_classes, generator=generator)
