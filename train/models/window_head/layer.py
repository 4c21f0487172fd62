"""The layer of the head: what stands around a window, gated and mixed by attention; and the steps that it is made of.

It follows the published code. Kernels go by the kind of windows: those that stand closest together are looked at over the most.
Convolutions are written out as sums and linear layers, which stacks of models have a rule for.

B clips, T windows of a kind, d width, h heads of e numbers, K width of a kernel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..unfilled import Linear

EPS = 1e-5
LAYER_SCALE = 1e-4  # at the start, of what a branch adds


class Around(nn.Module):
    """A convolution of each channel by itself.  # (B, T, d) → (B, T, d)"""

    def __init__(self, width: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(kernel, width))
        self.bias = nn.Parameter(torch.empty(width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        kernel, count = self.weight.shape[0], x.shape[1]
        padded = bordered(x, kernel // 2)
        found = padded[:, :count] * self.weight[0]
        for at in range(1, kernel):
            found = found + padded[:, at : at + count] * self.weight[at]
        return found if self.bias is None else found + self.bias


class Convolution(nn.Module):
    """A convolution over three windows, as one linear layer.  # (B, T, D) → (B, T, d)"""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.linear = Linear(3 * inputs, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        padded = bordered(x, 1)
        return self.linear(torch.cat([padded[:, :-2], x, padded[:, 2:]], 2))


class CrossAttention(nn.Module):
    """Every window asks by what stands around it, and is answered by what the clip as a whole lets through."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.around_query, self.around_key, self.around_value = (Around(width, 3, bias=False) for _ in range(3))
        self.norm_query, self.norm_key, self.norm_value = (nn.LayerNorm(width, eps=EPS) for _ in range(3))
        self.query, self.key, self.value, self.out = (Linear(width, width) for _ in range(4))

    def forward(self, asking: Tensor, answering: Tensor, mask: Tensor) -> Tensor:
        """Mix windows; places without one neither ask nor answer.  # (B, T, d), (B, T, d), (B, T) → (B, T, d)"""
        there = mask[..., None].to(asking.dtype)
        q = self._heads(self.query(self.norm_query(self.around_query(asking) * there)))
        k = self._heads(self.key(self.norm_key(self.around_key(answering) * there)))
        v = self._heads(self.value(self.norm_value(self.around_value(answering) * there)))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        return self.out(mixed.transpose(1, 2).flatten(2)) * there

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Layer(nn.Module):
    """x ← x + gated and mixed, x ← x + feed(norm(x)); in branches what is added is scaled, and dropped for some clips."""

    def __init__(
        self,
        width: int,
        *,
        kernel: int,
        kinds: int,
        heads: int,
        hidden: int,
        groups: int,
        drop: float = 0.0,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        self.groups, self.drop = groups, drop
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.gate, self.instant, self.whole = Around(width, kernel), Around(width, 1), Around(width, 1)
        self.local = nn.ModuleList(Around(width, kernel) for _ in range(kinds))
        self.wide = nn.ModuleList(Around(width, 2 * (kinds - kind) - 1) for kind in range(kinds))
        self.attention = CrossAttention(width, heads)
        self.group_norm = nn.GroupNorm(groups, width, eps=EPS)
        self.linear1 = Linear(width, hidden)
        self.linear2 = Linear(hidden, width)
        self.scale_mixed = nn.Parameter(torch.empty(width)) if scaled else None
        self.scale_fed = nn.Parameter(torch.empty(width)) if scaled else None

    def forward(self, x: Tensor, mask: Tensor, kind: int) -> Tensor:
        """Refine the windows of a kind.  # (B, T, d), (B, T) → (B, T, d)"""
        normed = self.norm(x)
        whole = torch.relu(self.whole(normed.mean(1, keepdim=True)))
        asking = (self.local[kind](normed) + self.wide[kind](normed)) * self.gate(normed)
        mixed = normed + self.attention(asking, self.instant(normed) * whole, mask)
        x = x * mask[..., None].to(x.dtype) + self._added(mixed, self.scale_mixed)
        fed = self.linear2(F.gelu(self.linear1(self._group_normed(x))))
        return x + self._added(fed, self.scale_fed)

    def _added(self, x: Tensor, scale: Tensor | None) -> Tensor:
        if scale is None:
            return x
        if not self.training:
            return x * scale
        return x * scale * F.dropout(torch.ones_like(x[:, :1, :1]), self.drop)

    def _group_normed(self, x: Tensor) -> Tensor:
        """Norm groups of channels over all places, as torch's GroupNorm does of channels first."""
        split = x.unflatten(2, (self.groups, -1))  # (B, T, groups, channels)
        mean = split.mean((1, 3), keepdim=True)
        variance = (split - mean).square().mean((1, 3), keepdim=True)
        normed = ((split - mean) * torch.rsqrt(variance + EPS)).flatten(2)
        return normed * self.group_norm.weight + self.group_norm.bias


def bordered(x: Tensor, count: int) -> Tensor:
    """Put so many zeros before and behind the windows, in a way that can be exported for any number of clips.  # (B, T, d)"""
    if not count:
        return x
    border = [x[:, :1] * 0] * count
    return torch.cat([*border, x, *border], 1)


def halved(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest of each window and its neighbours, of every other one, and the mask of these.  # (B, T, d), (B, T)"""
    pairs = x.unflatten(1, (-1, 2))
    before = torch.cat([pairs[:, :1, 0], pairs[:, :-1, 1]], 1)
    return torch.maximum(pairs.amax(2), before), mask.unflatten(1, (-1, 2))[:, :, 0]
