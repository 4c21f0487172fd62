"""Image features of frames → a linear map → a small temporal Transformer → the cosine with a vector of each class.

A baseline of this project in the manner of systems on CLIP, whose image encoder stands still here: nothing published is reproduced. The
class vectors are free parameters, or a text encoder's vectors of the class names, from a file, which do not learn (docs/models.md).

CLIP compares pictures and texts behind a linear map of the picture's class token. Features of `--weights clip:…` are before that map,
so it is part of the model, and learns. It starts as the file has it; else, where features are as wide as class vectors, as the identity;
else at random. A clip is the mean of its frames, and what a class token has gathered from them in the blocks. With class vectors
of a file and a map that is not random the blocks begin as gathering nothing: the untrained model compares the mean frame with the texts.

B clips, F frames, D feature width, E width of the class vectors, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ....errors import UsageError
from ..class_vectors import WithClassVectors
from ..contract import EMBEDDING
from ..former_temporal.block import Block, draw_linear
from ..model import Batch, wide
from ..scaling import Scaling
from ..unfilled import Linear
from .classifier import CosineClassifier
from .config import Config


class Output(NamedTuple):
    """What the model says; float32 under autocast too."""

    expression: Tensor  # (B, C)
    embedding: Tensor  # (B, E), which the classifier compares with the classes


class ClipTemporal(WithClassVectors):
    """A temporal Transformer whose classes are vectors."""

    config: Config

    def __init__(
        self, config: Config, *, width: int, num_classes: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config, self.width, self.num_classes = config, width, num_classes
        self.scaling = Scaling(width)
        self.projection = Linear(width, config.dim, bias=False)
        self.token = nn.Parameter(torch.empty(1, 1, config.dim))
        self.positions = nn.Parameter(torch.empty(1, config.num_frames, config.dim))
        head_width = config.dim // config.heads
        self.blocks = nn.ModuleList(
            Block(config.dim, heads=config.heads, head_width=head_width, ffn=config.ffn, dropout=config.dropout)
            for _ in range(config.layers)
        )
        frozen = bool(config.class_vectors)
        self.classifier = CosineClassifier(config.dim, num_classes, frozen=frozen, temperature=config.class_temperature)
        draw_linear(self, generator)
        with torch.no_grad():
            for parameter in (self.token, self.positions):
                parameter.normal_(generator=generator)
            if not frozen:
                self.classifier.vectors.normal_(generator=generator)
            if width == config.dim:
                self.projection.weight.copy_(torch.eye(width, device=self.projection.weight.device))

    @torch.no_grad()
    def begin_with(self, vectors: Tensor, projection: Tensor | None) -> None:
        """Take class vectors over, and the map from features to where they lie, where the file has it.  # (C, E), (D, E)"""
        self.classifier.vectors.copy_(vectors)
        if projection is not None:
            self.projection.weight.copy_(projection.T)
        elif self.width != self.config.dim:
            return  # the map is a random one: there is no comparison to begin with
        for block in self.blocks:
            assert isinstance(block, Block)
            for last in (block.to_out, block.linear2):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, batch: Batch) -> Output:
        """Classify clips.  # (B, n, J, D) → (B, C)"""
        clip = self._clip(batch)
        return Output(expression=self.classifier(clip), embedding=wide(clip))

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """Return what is compared with the classes."""
        return {EMBEDDING: wide(self._clip(batch))}

    def _clip(self, batch: Batch) -> Tensor:
        """Return the vectors of clips.  # (B, n, J, D) → (B, E)"""
        features, wanted = batch["features"], (self.config.num_segments, self.config.segment_frames, self.width)
        if tuple(features.shape[1:]) != wanted:
            raise UsageError(
                f"Features of a clip are (segments, frames, channels) = {wanted}, found {tuple(features.shape[1:])}."
            )
        frames = self.projection(self.scaling(features).flatten(1, 2))  # (B, F, E)
        x = torch.cat([self.token.expand(frames.shape[0], -1, -1), frames + self.positions], 1)
        for block in self.blocks:
            x = block(x)
        return frames.mean(1) + x[:, 0] - self.token[:, 0]


def facts(config: Config, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of its models besides their settings: nothing."""
    return {}


def build(config: Config, *, width: int, num_classes: int, seed: int) -> ClipTemporal:
    """Draw starting values by a seed, from a generator of its own; class vectors of a file come later (`begin_with`)."""
    return ClipTemporal(config, width=width, num_classes=num_classes, generator=torch.Generator().manual_seed(seed))
