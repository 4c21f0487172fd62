"""FAN: frame features → a mean weighted by self-attention α and relation-attention β → logits of the classes.

The formulas are the published ones: α = σ(w₁ · f), v = Σ α f / Σ α, β = σ(w₂ · [f; v]), and the clip is Σ αβ [f; v] / Σ αβ. They are
trained end to end there, so that on cached features this is the architecture, not the published result.

B clips, T frames, D feature width, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ....errors import UsageError
from ..contract import ALPHA, EMBEDDING
from ..model import Batch, Model, wide
from ..scaling import Scaling
from ..unfilled import Linear
from .config import Config

SMALLEST = 1e-8  # of a sum of weights, where no frame shows a face


class Output(NamedTuple):
    """What the model says; float32 under autocast too."""

    expression: Tensor  # (B, C)
    embedding: Tensor  # (B, 2 D), what the classifier reads


class FAN(Model):
    """Weighted means of frames."""

    config: Config

    def __init__(
        self, config: Config, *, width: int, num_classes: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config, self.width, self.num_classes = config, width, num_classes
        self.scaling = Scaling(width)
        self.dropout, self.relation_dropout = nn.Dropout(config.dropout), nn.Dropout(config.relation_dropout)
        self.alpha = Linear(width, 1)
        self.beta = Linear(2 * width, 1)
        self.classifier = Linear(2 * width, num_classes)
        with torch.no_grad():
            for layer in (self.alpha, self.beta, self.classifier):
                bound = layer.in_features**-0.5
                for parameter in layer.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)

    def forward(self, batch: Batch) -> Output:
        """Classify clips.  # (B, n, J, D), (B, n, J) → (B, C)"""
        mean = self._weigh(batch)[0]
        return Output(expression=wide(self.classifier(mean)), embedding=wide(mean))

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted mean, and each frame's weight αβ."""
        mean, weight = self._weigh(batch)
        return {EMBEDDING: wide(mean), ALPHA: wide(weight).view(batch["features"].shape[:3])}

    def _weigh(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the weighted mean of [f; v], and the weights.  # → (B, 2 D), (B, T)"""
        features = batch["features"]
        if features.ndim != 4 or features.shape[3] != self.width:
            found = tuple(features.shape)
            raise UsageError(f"Features are (clips, parts, frames, {self.width} channels), found {found}.")
        f = self.scaling(features).flatten(1, 2)
        there = batch["mask"].flatten(1)[..., None].to(f.dtype)  # (B, T, 1)
        alpha = torch.sigmoid(self.alpha(self.dropout(f))) * there
        v = (alpha * f).sum(1, keepdim=True) / alpha.sum(1, keepdim=True).clamp(min=SMALLEST)
        both = torch.cat([f, v.expand_as(f)], 2)
        weight = alpha * torch.sigmoid(self.beta(self.relation_dropout(both)))
        mean = (weight * both).sum(1) / weight.sum(1).clamp(min=SMALLEST)
        return mean, weight.squeeze(2)


def facts(config: Config, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of its models besides their settings: nothing."""
    return {}


def build(config: Config, *, width: int, num_classes: int, seed: int) -> FAN:
    """Draw starting values by a seed, from a generator of its own."""
    return FAN(config, width=width, num_classes=num_classes, generator=torch.Generator().manual_seed(seed))
