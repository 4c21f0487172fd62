"""A gated recurrent network (GRU) over frame features → logits of the classes.

Layers are written out, with torch's equations and names of weights: torch's own layer cannot be stacked over many models by `vmap`.

B clips, T frames, D feature width, H numbers in a state, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....errors import UsageError
from ..contract import EMBEDDING
from ..model import Batch, Model, wide
from ..scaling import Scaling
from ..unfilled import Linear
from .config import Config


class Output(NamedTuple):
    """What the model says; float32 under autocast too."""

    expression: Tensor  # (B, C)
    embedding: Tensor  # (B, H), what the classifier reads, before its dropout


class Recurrence(nn.Module):
    """One layer in one direction: h ← (1 − z) · n + z · h, as torch's GRU has it."""

    gates: ClassVar[int] = 3

    def __init__(self, width: int, hidden: int, generator: torch.Generator | None) -> None:
        super().__init__()
        bound = 1 / math.sqrt(hidden)

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))

        self.weight_ih, self.weight_hh = drawn(self.gates * hidden, width), drawn(self.gates * hidden, hidden)
        self.bias_ih, self.bias_hh = drawn(self.gates * hidden), drawn(self.gates * hidden)

    def forward(self, x: Tensor, *, backwards: bool = False) -> Tensor:
        """Return the state after each frame.  # (B, T, D) → (B, T, H)"""
        seen = F.linear(x, self.weight_ih, self.bias_ih)  # of all frames at once
        h = seen.new_zeros(x.shape[0], self.weight_hh.shape[1])
        states = []
        for frame in reversed(seen.unbind(1)) if backwards else seen.unbind(1):
            reset, update, new = frame.chunk(3, 1)
            own_reset, own_update, own_new = F.linear(h, self.weight_hh, self.bias_hh).chunk(3, 1)
            z = torch.sigmoid(update + own_update)
            n = torch.tanh(new + torch.sigmoid(reset + own_reset) * own_new)
            h = n + z * (h - n)
            states.append(h)
        return torch.stack(states[::-1] if backwards else states, 1)


class GRU(Model):
    """Layers of recurrences, their states pooled over frames, and a linear classifier."""

    config: Config
    layer: ClassVar[type[Recurrence]] = Recurrence

    def __init__(
        self, config: Config, *, width: int, num_classes: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config, self.width, self.num_classes = config, width, num_classes
        self.scaling = Scaling(width)
        both = config.directions * config.hidden
        self.layers = nn.ModuleList(
            nn.ModuleList(
                self.layer(both if layer else width, config.hidden, generator) for _ in range(config.directions)
            )
            for layer in range(config.layers)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = Linear(both, num_classes)  # nothing is drawn from the global stream
        with torch.no_grad():
            for parameter in self.classifier.parameters():
                parameter.uniform_(-1 / math.sqrt(both), 1 / math.sqrt(both), generator=generator)

    def forward(self, batch: Batch) -> Output:
        """Classify clips.  # (B, n, J, D) → (B, C)"""
        embedded = self._embedded(batch)
        return Output(expression=wide(self.classifier(self.dropout(embedded))), embedding=wide(embedded))

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """Return the pooled states."""
        return {EMBEDDING: self(batch).embedding}

    def _embedded(self, batch: Batch) -> Tensor:
        """Return the pooled states of the last layer.  # (B, n, J, D) → (B, H)"""
        features = batch["features"]
        if features.ndim != 4 or features.shape[3] != self.width:
            raise UsageError(
                f"Features are (clips, snippets, frames, {self.width} channels), found {tuple(features.shape)}."
            )
        x = self.scaling(features).flatten(1, 2)
        for number, directions in enumerate(self.layers):
            assert isinstance(directions, nn.ModuleList)
            x = self.dropout(x) if number else x
            states = [one(x, backwards=turned) for turned, one in zip((False, True), directions, strict=False)]
            x = torch.cat(states, 2)
        return self._pooled(x)

    def _pooled(self, x: Tensor) -> Tensor:
        """Make one state of those after each frame; each direction's last one is at its own end.  # (B, T, H) → (B, H)"""
        match self.config.pooling:
            case "mean":
                return x.mean(1)
            case "max":
                return x.amax(1)
        hidden = self.config.hidden
        return torch.cat([x[:, -1, :hidden], x[:, 0, hidden:]], 1)


def facts(config: Config, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of its models besides their settings: nothing."""
    return {}


def build(config: Config, *, width: int, num_classes: int, seed: int) -> GRU:
    """Draw starting values by a seed, from a generator of its own."""
    return GRU(config, width=width, num_classes=num_classes, generator=torch.Generator().manual_seed(seed))
