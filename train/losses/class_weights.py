"""What a clip of each class counts, and how frequent each class is, from the clips of a training half.

Counts are of labels, or sums of the shares that people voted for: they need not be whole.

Legend: B clips of a batch, C classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def inverse(counts: Tensor) -> Tensor:
    """Return weights inverse to the class's share of the clips; their mean over the clips is 1.  # (C,) → (C,)"""
    present = (counts > 0).sum()
    return torch.where(counts > 0, counts.sum() / (present * counts.clamp(min=1e-9)), 0.0)


def by_effective_number(counts: Tensor, beta: float) -> Tensor:
    """Return weights inverse to (1 − βⁿ) / (1 − β) of n clips (Cui et al., CVPR 2019); their mean over the clips is 1.  # (C,) → (C,)

    β = 0 weighs all classes alike, β → 1 inversely to their clips.
    """
    number = -torch.expm1(counts * math.log(beta)) / (1 - beta) if beta else torch.ones_like(counts)
    weight = torch.where(counts > 0, 1 / number, 0.0)
    return weight * counts.sum() / (weight * counts).sum()


def log_prior(counts: Tensor) -> Tensor:
    """Return the logarithm of each class's share; a class without a clip counts as if it had one.  # (C,) → (C,)"""
    return (counts.clamp(min=1) / counts.sum()).log()


def summed_weight(weight: Tensor | None, target: Tensor, votes: Tensor | None) -> Tensor | int:
    """Return by what the loss of the classes is divided: the clips, or the sum of their weights.  # (C,), (B,), (B, C)"""
    if weight is None:
        return len(target)
    return weight[target].sum() if votes is None else (votes @ weight).sum()
