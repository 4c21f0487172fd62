"""A block of STT: attention over the places of each frame, attention over the frames at each place, and a feed-forward half.

The class token is a further token of every frame, and of every place: all their tokens attend to it, and it attends to all tokens of the
clip in both attentions.

B clips, F frames, P places of a map, T = F · P tokens, d width, h heads of e numbers, G groups (frames or places) of S tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..unfilled import Linear

Grid = tuple[int, int]  # F, P


class Block(nn.Module):
    """x ← x + spatial(norm(x)), x ← x + temporal(norm(x)), x ← x + feed(norm(x))."""

    def __init__(self, width: int, grid: Grid, *, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.spatial = DividedAttention(width, grid, heads=heads, over="places")
        self.temporal = DividedAttention(width, grid, heads=heads, over="frames")
        self.linear1 = Linear(width, ffn)
        self.linear2 = Linear(ffn, width)

    def forward(self, x: Tensor) -> Tensor:
        """Refine the class token and those of the frames.  # (B, 1 + T, d) → (B, 1 + T, d)"""
        x = self.within_frames(x)
        x = x + self._drop(self.temporal(self.norm2(x)))
        hidden = self._drop(F.gelu(self.linear1(self.norm3(x))))
        return x + self._drop(self.linear2(hidden))

    def within_frames(self, x: Tensor) -> Tensor:
        """Refine tokens by those of the same frame."""
        return x + self._drop(self.spatial(self.norm1(x)))

    def weights(self, x: Tensor) -> Tensor:
        """Return how much each head of the temporal attention lets the class token attend to all.  # (B, 1 + T, d) → (B, h, 1 + T)"""
        return self.temporal.weights_of_token(self.norm2(self.within_frames(x)))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class DividedAttention(nn.Module):
    """Attention within groups of tokens, each with the class token; queries, keys and values have no bias."""

    def __init__(self, width: int, grid: Grid, *, heads: int, over: str) -> None:
        super().__init__()
        self.heads, self.grid, self.over = heads, grid, over
        self.to_qkv = Linear(width, 3 * width, bias=False)
        self.to_out = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Let the class token attend to all, and every other token to its group.  # (B, 1 + T, d) → (B, 1 + T, d)"""
        q, k, v = self._heads(x)
        token = F.scaled_dot_product_attention(q[:, :, :1], k, v)
        found = F.scaled_dot_product_attention(self._group(q[:, :, 1:]), self._with_token(k), self._with_token(v))
        mixed = torch.cat([token, self._ungroup(found)], 2)  # (B, h, 1 + T, e)
        return self.to_out(mixed.transpose(1, 2).flatten(2))

    def weights_of_token(self, x: Tensor) -> Tensor:
        """Return how much each head lets the class token attend to each.  # (B, 1 + T, d) → (B, h, 1 + T)"""
        q, k, _ = self._heads(x)
        scores = (q[:, :, :1] @ k.transpose(-2, -1)).float() / q.shape[-1] ** 0.5
        return scores.softmax(-1)[:, :, 0]

    def _heads(self, x: Tensor) -> list[Tensor]:
        """Return queries, keys and values.  # (B, 1 + T, d) → (B, h, 1 + T, e) each"""
        return [one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in self.to_qkv(x).chunk(3, dim=-1)]

    def _group(self, x: Tensor) -> Tensor:
        """Bring tokens into their groups.  # (B, h, T, e) → (B · G, h, S, e)"""
        x = x.unflatten(2, self.grid)
        if self.over == "frames":
            x = x.transpose(2, 3)
        return x.transpose(1, 2).flatten(0, 1)

    def _with_token(self, x: Tensor) -> Tensor:
        """Bring tokens into their groups, and the class token before each.  # (B, h, 1 + T, e) → (B · G, h, 1 + S, e)"""
        token = x[:, None, :, :1].expand(-1, self._num_groups, -1, -1, -1).flatten(0, 1)
        return torch.cat([token, self._group(x[:, :, 1:])], 2)

    def _ungroup(self, x: Tensor) -> Tensor:
        """Undo `_group`.  # (B · G, h, S, e) → (B, h, T, e)"""
        x = x.unflatten(0, (-1, self._num_groups)).transpose(1, 2)
        if self.over == "frames":
            x = x.transpose(2, 3)
        return x.flatten(2, 3)

    @property
    def _num_groups(self) -> int:
        frames, places = self.grid
        return frames if self.over == "places" else places
