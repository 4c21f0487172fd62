"""Shuffled snippet order prediction (SSOP, §3.3): the orders that are drawn once, and the head that tells them apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ....errors import UsageError
from ..unfilled import Linear
from .config import Config


class OrderHead(nn.Module):
    """p(S | O_1 … O_n) of Eq. 4: three linear layers on the concatenated O_i.

    O_i = R_i + T by Algorithm 1 (`fused`), T alone (`query`, repeated so that the head keeps its width), or R_i alone (`snippets`). R is
    detached by default: then the order loss reaches features and Transformer only through T. With `snippets` and a detached R it
    reaches neither, and the head learns alone.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.input, self.detach = config.order_input, config.detach_snippets
        wide, narrow = config.order_widths
        self.layers = nn.Sequential(
            Linear(config.snippets * config.dim, wide),
            nn.BatchNorm1d(wide),
            nn.ReLU(),
            Linear(wide, narrow),
            nn.BatchNorm1d(narrow),
            nn.ReLU(),
            Linear(narrow, config.orders),
        )

    def forward(self, snippets: Tensor, emotion: Tensor) -> Tensor:
        """Return a logit for each order, from R and T.  # (B, n, d), (B, d) → (B, orders)"""
        if self.detach:
            snippets = snippets.detach()
        query = emotion.unsqueeze(1)
        match self.input:
            case "fused":
                joined = snippets + query  # O of Algorithm 1
            case "query":
                joined = query.expand_as(snippets)
            case _:
                joined = snippets
        return self.layers(joined.flatten(1))


def draw_orders(num: int, n: int, *, seed: int, include_natural: bool = False) -> Tensor:
    """Draw distinct orders of n snippets; the natural one is row 0 or not among them. More of the same seed begin with fewer."""
    skipped = 0 if include_natural else 1
    there = math.factorial(n) - skipped
    if num > there:
        besides = "" if include_natural else " besides the natural one"
        raise UsageError(
            f"{num} orders of {n} snippets are asked for, and there are {there}{besides}.",
            remedy=f"--set model.orders={there}" if there else "--set model.ssop=false",
        )
    generator = torch.Generator().manual_seed(seed)
    natural = tuple(range(n))
    found: dict[tuple[int, ...], None] = {natural: None}  # a dictionary keeps the order of drawing
    while len(found) < num + skipped:
        found[tuple(torch.randperm(n, generator=generator).tolist())] = None
    return torch.tensor(list(found)[skipped:], dtype=torch.long).reshape(num, n)
