"""The Transformer of §3.1: post-norm encoder and decoder in DETR's formulation, with one learnt emotion query.

Layers keep the names of torch's own, so that checkpoints map by prefix. The decoder has one query, hence no axis for queries: its
self-attention is `Attention.alone`. Neither stack knows positions: those are added once, before the encoder.

B clips, n snippets, d width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..unfilled import Linear
from .attention import Attention
from .sizes import Sizes


class Layer(nn.Module):
    """What layers of both stacks share: the feed-forward half, and the dropout before each sum."""

    def __init__(self, config: Sizes) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.linear1 = Linear(config.dim, config.ffn)
        self.linear2 = Linear(config.ffn, config.dim)

    def feed(self, x: Tensor) -> Tensor:
        """Apply linear, ReLU, dropout, linear.  # (…, d) → (…, d)"""
        return self.linear2(self.drop(F.relu(self.linear1(x))))

    def drop(self, x: Tensor) -> Tensor:
        """Apply dropout in training."""
        return F.dropout(x, self.dropout, self.training)


class EncoderLayer(Layer):
    """Self-attention over the snippets (Eq. 1), then the feed-forward half."""

    def __init__(self, config: Sizes) -> None:
        super().__init__(config)
        self.self_attn = Attention(config.dim, config.heads, config.dropout)
        self.norm1, self.norm2 = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """Refine the tokens.  # (B, n, d) → (B, n, d)"""
        x = self.norm1(x + self.drop(self.self_attn(x)))
        return self.norm2(x + self.drop(self.feed(x)))


class DecoderLayer(Layer):
    """Self-attention of the query, cross-attention to the encoded snippets H, then the feed-forward half."""

    def __init__(self, config: Sizes) -> None:
        super().__init__(config)
        self.self_attn = Attention(config.dim, config.heads, config.dropout)
        self.multihead_attn = Attention(config.dim, config.heads, config.dropout)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(config.dim) for _ in range(3))

    def forward(self, x: Tensor, memory: Tensor, *, details: bool = False) -> tuple[Tensor, Tensor | None]:
        """Refine the query.  # (B, d), (B, n, d) → (B, d), and with details (B, h, n)"""
        x = self.norm1(x + self.drop(self.self_attn.alone(x)))
        attended, weights = self.multihead_attn.cross(x, memory, details=details)
        x = self.norm2(x + self.drop(attended))
        return self.norm3(x + self.drop(self.feed(x))), weights


class Stack(nn.Module):
    """Layers, and the norm after the last."""

    def __init__(self, layers: list[EncoderLayer] | list[DecoderLayer], dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(dim)


class Transformer(nn.Module):
    """Snippet features with positions → the emotion information T."""

    def __init__(self, config: Sizes) -> None:
        super().__init__()
        self.encoder = Stack([EncoderLayer(config) for _ in range(config.layers)], config.dim)
        self.decoder = Stack([DecoderLayer(config) for _ in range(config.layers)], config.dim)

    def forward(self, tokens: Tensor, query: Tensor, *, details: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return T and, with details, the last layer's attention.  # (B, n, d), (1, d) → (B, d), (B, h, n)"""
        for layer in self.encoder.layers:
            tokens = layer(tokens)
        memory = self.encoder.norm(tokens)  # H of Eq. 1
        x, weights = query.expand(tokens.shape[0], -1), None
        last = len(self.decoder.layers) - 1
        for depth, layer in enumerate(self.decoder.layers):
            x, weights = layer(x, memory, details=details and depth == last)
        return self.decoder.norm(x), weights
