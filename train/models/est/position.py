"""The snippet's position code: fixed sines and cosines (§3.1), added once at the encoder's input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import Config

BASE = 10_000


class Position(nn.Module):
    """Adds a row of the table to each token.

    `slot` (the paper's text): slot k gets row k, so a shuffled snippet is coded by where it stands. `snippet` (the paper's code): it keeps
    the row of its place in the video; since encoder and decoder are symmetric under permutation, class logits then do not depend on
    the order at all.
    """

    table: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.kind = config.position
        self.register_buffer("table", sinusoids(config.snippets, config.dim))

    def forward(self, x: Tensor, order: Tensor | None) -> Tensor:
        """Add the codes; without an order, the natural one.  # (B, n, d), (B, n) → (B, n, d)"""
        if self.kind == "slot" or order is None:
            return x + self.table
        return x + self.table[order]


def sinusoids(count: int, dim: int) -> Tensor:
    """Return sin(p / base^(2i/d)) in column 2i and the cosine in column 2i + 1, for places p from 0.  # (count, d)"""
    rates = BASE ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * rates
    table = torch.empty(count, dim)
    table[:, 0::2] = angles.sin()
    table[:, 1::2] = angles.cos()[:, : dim // 2]
    return table
