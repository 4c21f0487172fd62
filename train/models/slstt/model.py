"""SLSTT's trainable half: a vector of each frame → a norm → three layers of an LSTM → its last state → logits of the classes.

The published system makes the vectors of pictures of long-term optical flow: the class tokens of a ViT-B/16, whose blocks never get a
gradient, before their last norm. That norm, the LSTM and the two layers behind it are what is trained: 6,961,667 numbers for three
classes. `aggregation="mean"` is its other form: one linear layer behind the norm, and the mean of the logits of the frames.

Other than there, no frame has dropout noise: the released code leaves that of the frozen ViT on in training. The norm starts as ones and
zeros, there as that of the ViT. Frames that show no face are passed over: the state stays what it was.

B clips, T frames, D feature width, H numbers in a state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ....errors import UsageError
from ..contract import EMBEDDING
from ..lstm.model import LongRecurrence
from ..model import Batch, Model, wide
from ..scaling import Scaling
from ..unfilled import Linear
from .config import Config

SMALLEST = 1e-6  # added to the variance in the norm, as in the ViT


class Output(NamedTuple):
    """What the model says; float32 under autocast too."""

    expression: Tensor  # (B, C)
    embedding: Tensor  # what the classifier reads, before its dropout: (B, classifier_hidden), or (B, D) of means


class SLSTT(Model):
    """A norm, and an LSTM or a mean over frames."""

    config: Config

    def __init__(
        self, config: Config, *, width: int, num_classes: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config, self.width, self.num_classes = config, width, num_classes
        self.scaling = Scaling(width)
        self.norm = nn.LayerNorm(width, eps=SMALLEST)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList()
        if config.aggregation == "mean":
            self.classifier = Linear(width, num_classes)  # nothing is drawn from the global stream
            nn.init.zeros_(self.classifier.weight)  # as the released code begins it
            nn.init.zeros_(self.classifier.bias)
            return
        for layer in range(config.layers):
            self.layers.append(LongRecurrence(config.hidden if layer else width, config.hidden, generator))
        self.fc1 = Linear(config.hidden, config.classifier_hidden)
        self.classifier = Linear(config.classifier_hidden, num_classes)
        with torch.no_grad():
            for linear in (self.fc1, self.classifier):
                bound = linear.in_features**-0.5
                for parameter in linear.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)

    def forward(self, batch: Batch) -> Output:
        """Classify clips.  # (B, n, J, D), (B, n, J) → (B, C)"""
        embedded = self._embedded(batch)
        return Output(expression=wide(self.classifier(self.dropout(embedded))), embedding=wide(embedded))

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the classifier reads."""
        return {EMBEDDING: wide(self._embedded(batch))}

    def _embedded(self, batch: Batch) -> Tensor:
        """Return what the classifier reads: of the last state, or the mean of the frames, whose logits are the mean of theirs."""
        features = batch["features"]
        if features.ndim != 4 or features.shape[3] != self.width:
            found = tuple(features.shape)
            raise UsageError(f"Features are (clips, parts, frames, {self.width} channels), found {found}.")
        x = self.norm(self.scaling(features).flatten(1, 2))
        there = batch["mask"].flatten(1)[..., None]  # (B, T, 1)
        if self.config.aggregation == "mean":
            return torch.where(there, x, 0.0).sum(1) / there.sum(1).clamp(min=1)
        for layer in self.layers:
            x = layer(x, there=there)
        return torch.relu(self.fc1(x[:, -1]))


def facts(config: Config, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of its models besides their settings: nothing."""
    return {}


def build(config: Config, *, width: int, num_classes: int, seed: int) -> SLSTT:
    """Draw starting values by a seed, from a generator of its own."""
    return SLSTT(config, width=width, num_classes=num_classes, generator=torch.Generator().manual_seed(seed))
