"""A long short-term memory (LSTM) over frame features → logits of the classes.

Layers are written out, with torch's equations and names of weights: torch's own layer cannot be stacked over many models by `vmap`.
Everything but the layer is the GRU's.

B clips, T frames, D feature width, H numbers in a state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..gru.model import GRU, Recurrence
from .config import Config


class LongRecurrence(Recurrence):
    """One layer in one direction: c ← f · c + i · g and h ← o · tanh(c), as torch's LSTM has it."""

    gates: ClassVar[int] = 4

    def forward(self, x: Tensor, *, backwards: bool = False, there: Tensor | None = None) -> Tensor:
        """Return the state after each frame; one that is not `there` leaves it as it was.  # (B, T, D), (B, T, 1) → (B, T, H)"""
        seen = F.linear(x, self.weight_ih, self.bias_ih)  # of all frames at once
        h = c = seen.new_zeros(x.shape[0], self.weight_hh.shape[1])
        frames = seen.unbind(1)
        steps = list(zip(frames, [None] * len(frames) if there is None else there.unbind(1), strict=True))
        states = []
        for frame, real in reversed(steps) if backwards else steps:
            before = h, c
            add, keep, new, show = (frame + F.linear(h, self.weight_hh, self.bias_hh)).chunk(4, 1)
            c = torch.sigmoid(keep) * c + torch.sigmoid(add) * torch.tanh(new)
            h = torch.sigmoid(show) * torch.tanh(c)
            if real is not None:
                h, c = torch.where(real, h, before[0]), torch.where(real, c, before[1])
            states.append(h)
        return torch.stack(states[::-1] if backwards else states, 1)


class LSTM(GRU):
    """Layers of recurrences, their states pooled over frames, and a linear classifier."""

    layer: ClassVar[type[Recurrence]] = LongRecurrence


def facts(config: Config, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of its models besides their settings: nothing."""
    return {}


def build(config: Config, *, width: int, num_classes: int, seed: int) -> LSTM:
    """Draw starting values by a seed, from a generator of its own."""
    return LSTM(config, width=width, num_classes=num_classes, generator=torch.Generator().manual_seed(seed))
