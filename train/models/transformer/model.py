"""The Transformer baseline: tokens with fixed positions → encoder, decoder with one query → logits.

The paper says "3+3 layers, 4 heads, no snippets", and its MACs allow 7 tokens. How 75 frames become 7 is a reconstruction: the means of
snippets (`tokens="snippets"`), or no means at all (`tokens="frames"`). Blocks and starting values are EST's.

B clips, n snippets, J frames, D feature width, S tokens, d model width, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ....errors import UsageError
from ..contract import ATTENTION, EMBEDDING
from ..est.initial import initialise
from ..est.model import ExpressionHead
from ..est.position import sinusoids
from ..est.transformer import Transformer
from ..model import Batch, Model, wide
from ..scaling import Scaling
from ..unfilled import Linear
from .config import Config


class Output(NamedTuple):
    """What the model says; float32 under autocast too."""

    expression: Tensor  # (B, C)
    embedding: Tensor  # (B, d), what the classifier reads


class TransformerBaseline(Model):
    """A Transformer over means of snippets, or over frames."""

    config: Config
    positions: Tensor

    def __init__(
        self, config: Config, *, width: int, num_classes: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config, self.width, self.num_classes = config, width, num_classes
        self.scaling = Scaling(width)
        self.projection = Linear(width, config.dim) if width != config.dim else nn.Identity()
        self.register_buffer("positions", sinusoids(config.num_tokens, config.dim))
        self.query = nn.Parameter(torch.empty(1, config.dim))
        self.transformer = Transformer(config)
        self.expression_head = ExpressionHead(config, num_classes)
        initialise(self, generator)

    def forward(self, batch: Batch) -> Output:
        """Classify clips.  # (B, n, J, D) → (B, C)"""
        T = self._decide(batch)[0]
        return Output(expression=wide(self.expression_head(T)), embedding=wide(T))

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """Return the query after the decoder and, of snippets, its attention."""
        embedding, attention = self._decide(batch, details=True)
        found = {EMBEDDING: wide(embedding)}
        if attention is not None and self.config.tokens == "snippets":
            found[ATTENTION] = wide(attention)
        return found

    def _decide(self, batch: Batch, *, details: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return the query after the decoder.  # (B, n, J, D) → (B, d), (B, h, S)"""
        features, n = batch["features"], self.config.snippets
        if features.ndim != 4 or features.shape[1] != n or features.shape[3] != self.width:
            found = tuple(features.shape)
            raise UsageError(f"Features are (clips, {n} snippets, frames, {self.width} channels), found {found}.")
        frames = self.projection(self.scaling(features))
        tokens = frames.mean(2) if self.config.tokens == "snippets" else frames.flatten(1, 2)
        return self.transformer(tokens + self.positions, self.query, details=details)


def facts(config: Config, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of its models besides their settings: nothing."""
    return {}


def build(config: Config, *, width: int, num_classes: int, seed: int) -> TransformerBaseline:
    """Draw starting values by a seed, from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    return TransformerBaseline(config, width=width, num_classes=num_classes, generator=generator)
