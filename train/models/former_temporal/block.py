"""A pre-norm block of attention and a feed-forward half, as Vision Transformers and Former-DFER have it.

B clips or frames, S tokens, d width, h heads of e numbers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..unfilled import Linear


class Block(nn.Module):
    """x ← x + attention(norm(x)), x ← x + feed(norm(x)); queries, keys and values have no bias."""

    def __init__(self, width: int, *, heads: int, head_width: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        inner = heads * head_width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv = Linear(width, 3 * inner, bias=False)
        self.to_out = Linear(inner, width)
        self.linear1 = Linear(width, ffn)
        self.linear2 = Linear(ffn, width)

    def forward(self, x: Tensor) -> Tensor:
        """Refine tokens.  # (B, S, d) → (B, S, d)"""
        x = x + self._drop(self.attend(self.norm1(x)))
        hidden = self._drop(F.gelu(self.linear1(self.norm2(x))))
        return x + self._drop(self.linear2(hidden))

    def attend(self, x: Tensor) -> Tensor:
        """Let every token attend to all.  # (B, S, d) → (B, S, d)"""
        q, k, v = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in self.to_qkv(x).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(mixed.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor) -> Tensor:
        """Return how much each head lets each token attend to each.  # (B, S, d) → (B, h, S, S)"""
        q, k, _ = (
            one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in self.to_qkv(self.norm1(x)).chunk(3, dim=-1)
        )
        return ((q @ k.transpose(-2, -1)).float() / q.shape[-1] ** 0.5).softmax(-1)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


@torch.no_grad()
def draw_linear(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw the linear layers of a module as torch does by default, U(±1 / √fan_in)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            for parameter in layer.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
