"""What a step of training minimises: the losses of a model on a batch, weighted and summed, and what is counted beside them.

It is a module, because a stack of models (stacks/stack.py) calls it with the weights of each.

Legend: B clips of a batch, n snippets, J frames of a snippet, D feature width, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...encoders.precision import Precision
from ..models.contract import CLASSES
from ..models.model import Extras, Model
from .autocast import casting


class Weighting(NamedTuple):
    """How losses are put together: numbers, or for a stack a tensor with one for each model."""

    terms: Mapping[str, float | Tensor]  # the losses by name, and how much each counts
    smoothing: float | Tensor  # of the classes
    class_weight: Tensor | None  # (C,)


class Objective(nn.Module):
    """A batch of features → the loss to minimise, and the columns that a step records."""

    def __init__(self, head: Model, precision: Precision) -> None:
        super().__init__()
        self.head, self.precision = head, precision
        self.terms = tuple(head.terms)
        self.questions = tuple(head.choices)
        self.columns = (*self.terms, "right", *(f"{name}_right" for name in self.questions))
        assert self.terms[0] == CLASSES, f"the first loss is that of the classes, found {self.terms}"

    def forward(
        self,
        features: Tensor,
        target: Tensor,
        extras: Extras,
        *,
        share: Tensor | None,
        weight: Tensor | int,
        count: int,
        weighting: Weighting,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss, a scalar, and `columns`.  # (B, n, J, D), (B,)

        Of a batch that is taken in pieces, `weight` and `count` are those of the whole: the summed class weights, and the clips.
        With `share` each clip is mixed with the one before it, and its losses are those of both targets.
        """
        with casting(features.device, self.precision):
            output = self.head({"features": features, **extras})
        losses = self._losses(output, target, extras, weighting)
        if share is not None:
            rolled = {name: values.roll(1, 0) for name, values in extras.items()}
            others = self._losses(output, target.roll(1), rolled, weighting)
            losses = {name: share * loss + (1 - share) * others[name] for name, loss in losses.items()}
        first, *further = self.terms  # that of the classes is divided by their weights
        losses = {name: losses[name] / (weight if name == first else count) for name in self.terms}
        total = weighting.terms[first] * losses[first]
        for name in further:
            total = total + weighting.terms[name] * losses[name]
        hits = self.head.hits(output, extras)
        counts = [(output.expression.argmax(1) == target).sum(), *(hits[name].sum() for name in self.questions)]
        return total, torch.stack([*(loss.detach() for loss in losses.values()), *counts]).double()

    def _losses(self, output: object, target: Tensor, extras: Extras, weighting: Weighting) -> dict[str, Tensor]:
        """Return the model's losses, summed over clips."""
        weight, smoothing = weighting.class_weight, weighting.smoothing
        return self.head.losses(output, target, extras, weight=weight, smoothing=smoothing)
