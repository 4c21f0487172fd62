"""Mean, deviation, minimum and maximum of each feature over a clip's frames → logits of the classes.

The control beside every score is a logistic regression on the same statistics, solved exactly (train/data/control.py). This is the same
classifier trained as the other models are, step by step, with their recipe.

B clips, T frames, D feature width, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ....errors import UsageError
from ..contract import EMBEDDING
from ..model import Batch, Model, wide
from ..scaling import Scaling
from ..unfilled import Linear
from .config import Config

STATISTICS = 4
SMALLEST = 1e-12  # of a variance, whose root has a gradient


class Output(NamedTuple):
    """What the model says; float32 under autocast too."""

    expression: Tensor  # (B, C)
    embedding: Tensor  # (B, 4 D), what the classifier reads, before its dropout


class Pooled(Model):
    """A linear classifier on statistics."""

    config: Config

    def __init__(
        self, config: Config, *, width: int, num_classes: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config, self.width, self.num_classes = config, width, num_classes
        self.scaling = Scaling(width)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = Linear(STATISTICS * width, num_classes)
        bound = self.classifier.in_features**-0.5
        with torch.no_grad():
            for parameter in self.classifier.parameters():
                parameter.uniform_(-bound, bound, generator=generator)

    def forward(self, batch: Batch) -> Output:
        """Classify clips.  # (B, n, J, D), (B, n, J) → (B, C)"""
        pooled = self._pooled(batch)
        return Output(expression=wide(self.classifier(self.dropout(pooled))), embedding=wide(pooled))

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """Return the statistics."""
        return {EMBEDDING: self(batch).embedding}

    def _pooled(self, batch: Batch) -> Tensor:
        """Return the statistics over frames with a face; zeros where there is none.  # → (B, 4 D)"""
        features = batch["features"]
        if features.ndim != 4 or features.shape[3] != self.width:
            found = tuple(features.shape)
            raise UsageError(f"Features are (clips, parts, frames, {self.width} channels), found {found}.")
        x = self.scaling(features).flatten(1, 2)
        there = batch["mask"].flatten(1)[..., None]  # (B, T, 1)
        number = there.sum(1).clamp(min=1)
        mean = torch.where(there, x, 0.0).sum(1) / number
        away = torch.where(there, x - mean[:, None], 0.0)
        deviation = (away.square().sum(1) / number).clamp(min=SMALLEST).sqrt()
        least = torch.where(there, x, torch.inf).amin(1)
        most = torch.where(there, x, -torch.inf).amax(1)
        seen = there.any(1)
        return torch.cat([torch.where(seen, one, 0.0) for one in (mean, deviation, least, most)], 1)


def facts(config: Config, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of its models besides their settings: nothing."""
    return {}


def build(config: Config, *, width: int, num_classes: int, seed: int) -> Pooled:
    """Draw starting values by a seed, from a generator of its own."""
    return Pooled(config, width=width, num_classes=num_classes, generator=torch.Generator().manual_seed(seed))
