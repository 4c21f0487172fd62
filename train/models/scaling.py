"""Scaling of features before anything else looks at them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

QUIET = 0.1  # of the mean deviation, under which a channel is left quiet


class Scaling(nn.Module):
    """Subtracts and divides per feature channel: the identity until it is fitted."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def forward(self, features: Tensor) -> Tensor:
        """Scale the last axis.  # (…, D) → (…, D)"""
        return (features - self.mean) / self.std

    def fit(self, mean: Tensor, std: Tensor) -> None:
        """Take statistics over; a channel that hardly changes is not turned up, nor one that never does divided by zero.  # (D,), (D,)"""
        floor = float(std.mean()) * QUIET or 1.0
        self.mean.copy_(mean)
        self.std.copy_(std.clamp(min=floor))
