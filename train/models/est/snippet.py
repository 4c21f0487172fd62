"""Frames of a snippet → its feature R: AA-SFE (§3.2), and what Table 7 compares it with.

Frames carry no position here: their order within a snippet does not matter to any variant. Sums over frames are float32 under autocast.

B clips, n snippets, J frames, d width. Frames arrive as I, leave the self-attention as I′, and are summed up as R.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..unfilled import Linear
from .attention import Attention
from .config import Config

SMALLEST = 1e-8  # of a frame's weight, and of a norm by which a cosine is divided


class Mean(nn.Module):
    """Table 7's "w/o attention", and the Transformer baseline of Table 6: R is the mean of the frames.

    A reconstruction: the paper does not say how frames become the 7 tokens that its MACs allow. Its 34.37 M parameters count an
    AA-SFE that is not used; this has 33.32 M.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """Sum up each snippet.  # (B, n, J, d) → (B, n, d), None"""
        return frames.mean(2), None


class SelfAttention(nn.Module):
    """The first level, I′ = LayerNorm(I + attention(I)), and the mean of I′ as R: Table 7's "self-attention".

    Residual, norm and dropout are the code's, the paper omits them; the mean in place of the second level is a reconstruction.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.attention = Attention(config.dim, config.heads, config.dropout)
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """Sum up each snippet.  # (B, n, J, d) → (B, n, d), (B, n, J) or None"""
        x = frames.flatten(0, 1)
        x = self.norm(x + F.dropout(self.attention(x), self.dropout, self.training))
        return self.aggregate(x.view_as(frames))

    def aggregate(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Turn I′ into R.  # (B, n, J, d) → (B, n, d), None"""
        return x.mean(2), None


class SqueezeExcitation(SelfAttention):
    """The first level, then channels gated by σ(W₂ ReLU(W₁ mean(I′))) and the mean over frames: Table 7's "SE-like attention".

    A reconstruction. Of the designs that fit the stated 43.30 M, this keeps the first level and has a gate without reduction in the
    second level's place (2·d·(d + 1) = 525,312 parameters: 43,301,073 in all).
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.squeeze = Linear(config.dim, config.dim)
        self.excite = Linear(config.dim, config.dim)

    def aggregate(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Turn I′ into R.  # (B, n, J, d) → (B, n, d), None"""
        pooled = x.mean(2)
        return pooled * torch.sigmoid(
            self.excite(F.relu(self.squeeze(pooled)))
        ), None  # the gate is the same for all frames


class Hierarchical(SelfAttention):
    """AA-SFE: the first level, then frames weighted by their likeness to the snippet's general feature r̂′ (Eq. 2 and 3).

    r̂′ = max over frames of I′, α_j = cos(r′_j, r̂′) clamped below at 1e-8, R = Σ α_j r′_j / Σ α_j. The clamp is the code's: with
    the paper's plain cosines a sum could vanish. A snippet of zeros (no face in it) has α at the clamp and finite gradients.
    """

    def aggregate(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Turn I′ into R and α.  # (B, n, J, d) → (B, n, d), (B, n, J)"""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        general = wide.amax(2, keepdim=True)  # r̂′
        alpha = ((wide * general).sum(-1) / (_norm(wide) * _norm(general))).clamp_min(SMALLEST)
        R = (alpha.unsqueeze(-1) * wide).sum(2) / alpha.sum(2).unsqueeze(-1)
        return R.to(x.dtype), alpha


def _norm(x: Tensor) -> Tensor:
    """Return norms to divide by; that of a vector of zeros has a gradient of zero.  # (…, d) → (…)"""
    return torch.linalg.vector_norm(x, dim=-1).clamp_min(SMALLEST)


VARIANTS = {"hierarchical": Hierarchical, "mean": Mean, "self-attention": SelfAttention, "se": SqueezeExcitation}


def build_snippets(config: Config) -> Mean | SelfAttention:
    """Build the variant that a config asks for."""
    return VARIANTS[config.aggregation](config)
