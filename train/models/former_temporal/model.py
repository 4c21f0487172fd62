"""T-Former: a class token and 16 frames with learnt positions → three pre-norm blocks → logits of the classes.

Sizes are Former-DFER's, whose spatial half and ResNet-18 make the frame features there, trained together from nothing. There is no norm
behind the last block. On cached features this is the architecture of the temporal half, not the published result.

B clips, S tokens, D feature width, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ....errors import UsageError
from ..contract import ATTENTION, EMBEDDING
from ..model import Batch, Model, wide
from ..scaling import Scaling
from ..unfilled import Linear
from .block import Block, draw_linear
from .config import Config


class Output(NamedTuple):
    """What the model says; float32 under autocast too."""

    expression: Tensor  # (B, C)
    embedding: Tensor  # (B, D), what the classifier reads


class FormerTemporal(Model):
    """A Transformer over frames with a class token."""

    config: Config

    def __init__(
        self, config: Config, *, width: int, num_classes: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config, self.width, self.num_classes = config, width, num_classes
        self.scaling = Scaling(width)
        tokens = 1 + config.num_segments * config.segment_frames
        self.token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, tokens, width))
        self.blocks = nn.ModuleList(
            Block(width, heads=config.heads, head_width=config.head_width, ffn=config.ffn, dropout=config.dropout)
            for _ in range(config.layers)
        )
        self.classifier = Linear(width, num_classes)
        draw_linear(self, generator)
        with torch.no_grad():
            for parameter in (self.token, self.positions):
                parameter.normal_(generator=generator)

    def forward(self, batch: Batch) -> Output:
        """Classify clips.  # (B, n, J, D) → (B, C)"""
        token = self._tokens(batch)[:, 0]
        return Output(expression=wide(self.classifier(token)), embedding=wide(token))

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """Return the class token, and what the last block lets it attend to: the frames of each segment, together."""
        before = self._tokens(batch, blocks=len(self.blocks) - 1)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        to_frames = (
            last.weights(before)[:, :, 0, 1:]
            .unflatten(2, (self.config.num_segments, self.config.segment_frames))
            .sum(3)
        )
        shares = to_frames / to_frames.sum(2, keepdim=True)  # without what it attends to of itself
        return {EMBEDDING: wide(last(before)[:, 0]), ATTENTION: shares}

    def _tokens(self, batch: Batch, *, blocks: int | None = None) -> Tensor:
        """Return class token and frames behind so many blocks.  # (B, n, J, D) → (B, S, D)"""
        features, wanted = batch["features"], (self.config.num_segments, self.config.segment_frames, self.width)
        if tuple(features.shape[1:]) != wanted:
            raise UsageError(
                f"Features of a clip are (segments, frames, channels) = {wanted}, found {tuple(features.shape[1:])}."
            )
        frames = self.scaling(features).flatten(1, 2)
        x = torch.cat([self.token.expand(frames.shape[0], -1, -1), frames], 1) + self.positions
        for block in self.blocks[:blocks]:
            x = block(x)
        return x


def facts(config: Config, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of its models besides their settings: nothing."""
    return {}


def build(config: Config, *, width: int, num_classes: int, seed: int) -> FormerTemporal:
    """Draw starting values by a seed, from a generator of its own."""
    return FormerTemporal(config, width=width, num_classes=num_classes, generator=torch.Generator().manual_seed(seed))
