"""Multi-head attention (Eq. 1), fused and with one packed projection.

Eq. 1 gives each head vectors of size d and a scale of √d; the parameters that the paper counts allow only the usual d/heads and
√(d/heads). Parameters are packed and named as in torch's own layer, so that checkpoints map by prefix.

B clips or snippets, S tokens, d width, h heads, e = d/h.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..products import linear
from ..unfilled import Linear


class Attention(nn.Module):
    """Queries, keys and values of all heads from one matrix."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.dim, self.heads, self.dropout = dim, heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * dim))
        self.out_proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Let every token attend to all.  # (B, S, d) → (B, S, d)"""
        q, k, v = linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        mixed = F.scaled_dot_product_attention(self._split(q), self._split(k), self._split(v), dropout_p=self._p)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def cross(self, query: Tensor, memory: Tensor, *, details: bool = False) -> tuple[Tensor, Tensor | None]:
        """Let one query attend to a memory.  # (B, d), (B, S, d) → (B, d), and with details (B, h, S)"""
        (wq, wkv), (bq, bkv) = self._pieces(self.dim)
        q = linear(query, wq, bq).unflatten(-1, (self.heads, 1, -1))  # (B, h, 1, e)
        k, v = linear(memory, wkv, bkv).chunk(2, dim=-1)
        k, v = self._split(k), self._split(v)
        if details:
            scores = (q @ k.transpose(-2, -1)).float() / (self.dim // self.heads) ** 0.5
            weights = scores.softmax(-1)  # (B, h, 1, S)
            mixed = F.dropout(weights, self._p).to(v.dtype) @ v
            return self.out_proj(mixed.flatten(1)), weights.squeeze(2)
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=self._p)  # (B, h, 1, e)
        return self.out_proj(mixed.flatten(1)), None

    def alone(self, x: Tensor) -> Tensor:
        """Let a token attend to itself, the only one there is.  # (B, d) → (B, d)

        A softmax over one key is 1, whatever queries and keys are: what is left are the values, and in training the dropout of
        that 1 in each head. The rows of queries and keys stay in the parameters, for the counts and the checkpoints, and get
        gradients of zero, which is what the full computation gives them.
        """
        (_, w), (_, b) = self._pieces(2 * self.dim)
        value = linear(x, w, b)
        if self.training:
            kept = F.dropout(value.new_ones(len(x), self.heads, 1), self.dropout)
            value = (value.unflatten(-1, (self.heads, -1)) * kept).flatten(1)
        return self.out_proj(value)

    @property
    def _p(self) -> float:
        return self.dropout if self.training else 0.0

    def _split(self, x: Tensor) -> Tensor:
        """Give each head its part.  # (B, S, d) → (B, h, S, e)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _pieces(self, first: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Cut the packed projection in two; backward joins the gradients in one pass, which slices would not."""
        sizes = [first, 3 * self.dim - first]
        return self.in_proj_weight.split(sizes), self.in_proj_bias.split(sizes)
