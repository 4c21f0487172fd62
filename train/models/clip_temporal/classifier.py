"""Classes as vectors: logits are the cosines of a clip with each, times a scale that learns."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..model import wide

LARGEST = 100.0  # of the scale, as CLIP has it
SMALLEST = 1e-8  # added to squared lengths: a clip without a face has length 0


class CosineClassifier(nn.Module):
    """Compares by direction. The vectors are parameters, or a buffer where they are those of a file."""

    vectors: Tensor

    def __init__(self, dim: int, num_classes: int, *, frozen: bool, temperature: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        vectors = torch.zeros(num_classes, dim)
        if frozen:
            self.register_buffer("vectors", vectors)
        else:
            self.vectors = nn.Parameter(vectors)

    def forward(self, clip: Tensor) -> Tensor:
        """Return logits, in float32 under autocast too.  # (B, E) → (B, C)"""
        cosine = (unit(wide(clip))[:, None] * unit(self.vectors)).sum(-1)
        return cosine * self.log_scale.exp().clamp(max=LARGEST)


def unit(vectors: Tensor) -> Tensor:
    """Bring vectors to length 1.  # (…, E)"""
    return vectors / (vectors.square().sum(-1, keepdim=True) + SMALLEST).sqrt()
