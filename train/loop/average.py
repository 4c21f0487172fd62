"""A running mean of a model's weights: a model of its own, which is scored and kept in place of the last weights."""

from __future__ import annotations

from copy import deepcopy
from typing import Generic, TypeVar

import torch
from torch import nn

SOON = 10  # steps after which the mean begins to remember; before, it follows the first weights out of the way


Learning = TypeVar("Learning", bound=nn.Module)


class Average(Generic[Learning]):
    """The mean of what a model was, the near past counting most."""

    def __init__(self, model: Learning, keep: float) -> None:
        self.model = deepcopy(model).requires_grad_(False)
        self.keep = keep

    @torch.no_grad()
    def update(self, model: Learning, step: int) -> None:
        """Take in the weights after a step, which counts from the first of the training."""
        keep = min(self.keep, (1 + step) / (SOON + step))
        mine, theirs = (list(one.state_dict().values()) for one in (self.model, model))
        real = [tensor.is_floating_point() for tensor in mine]
        torch._foreach_lerp_(
            [tensor for tensor, is_real in zip(mine, real, strict=True) if is_real],
            [tensor for tensor, is_real in zip(theirs, real, strict=True) if is_real],
            1 - keep,
        )
        for own, new, is_real in zip(mine, theirs, real, strict=True):
            if not is_real:
                own.copy_(new)
