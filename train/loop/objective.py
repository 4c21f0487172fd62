"""What a step of training minimises: the losses of a model on a batch, weighted and summed, and what is counted beside them.

It is a module, because a stack of models (stacks/stack.py) calls it with the weights of each.

Legend: B clips of a batch, n snippets, J frames of a snippet, D feature width, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...encoders.precision import Precision
from ..config.config import TrainConfig
from ..config.loss import CENTRE, COMPACT, CONTRASTIVE, LossConfig
from ..losses.centres import centre_loss, compact_loss, draw_centres
from ..losses.class_weights import by_effective_number, inverse, log_prior
from ..losses.contrastive import contrastive_loss
from ..models.contract import CLASSES
from ..models.model import Extras, Model, wide
from .autocast import casting


class Weighting(NamedTuple):
    """How losses are put together: numbers, or for a stack a tensor with one for each model."""

    terms: Mapping[str, float | Tensor]  # the losses by name, and how much each counts
    smoothing: float | Tensor  # of the classes
    class_weight: Tensor | None  # (C,)
    focal: float | Tensor | None = None  # γ of the classes; None: plain cross-entropy
    adjustment: Tensor | None = None  # (C,) what is added to logits in training: τ times the log prior
    temperature: float | Tensor = LossConfig.temperature  # of the contrastive loss


class Objective(nn.Module):
    """A batch of features → the loss to minimise, and the columns that a step records.

    Centres of classes, where a loss has them, are parameters of this module and not of the model: nothing that predicts knows them.
    """

    def __init__(
        self, head: Model, precision: Precision, loss: LossConfig | None = None, centres: Tensor | None = None
    ) -> None:
        super().__init__()
        self.head, self.precision = head, precision
        self.centres = None if centres is None else nn.Parameter(centres)
        self.beside = () if loss is None else tuple(loss.terms)
        assert not set(self.beside) & set(head.terms), "losses of a model have names of their own"
        self.terms = (*head.terms, *self.beside)
        self.questions = tuple(head.choices)
        self.columns = (*self.terms, "right", *(f"{name}_right" for name in self.questions))
        assert self.terms[0] == CLASSES, f"the first loss is that of the classes, found {self.terms}"

    def forward(
        self,
        features: Tensor,
        target: Tensor,
        extras: Extras,
        *,
        votes: Tensor | None = None,
        share: Tensor | None,
        weight: Tensor | int,
        count: int,
        weighting: Weighting,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss, a scalar, and `columns`.  # (B, n, J, D), (B,)

        Of a batch that is taken in pieces, `weight` and `count` are those of the whole: the summed class weights, and the clips.
        With `votes` (B, C) the classes are learnt from these shares; with `share` each clip is mixed with the one before it, and its
        losses are those of both targets.
        """
        with casting(features.device, self.precision):
            output = self.head({"features": features, **extras})
        losses = self._losses(output, target, votes, extras, weighting)
        if share is not None:
            rolled = {name: values.roll(1, 0) for name, values in extras.items()}
            their_votes = None if votes is None else votes.roll(1, 0)
            others = self._losses(output, target.roll(1), their_votes, rolled, weighting)
            losses = {name: share * loss + (1 - share) * others[name] for name, loss in losses.items()}
        first, *further = self.terms  # that of the classes is divided by their weights
        losses = {name: losses[name] / (weight if name == first else count) for name in self.terms}
        total = weighting.terms[first] * losses[first]
        for name in further:
            total = total + weighting.terms[name] * losses[name]
        hits = self.head.hits(output, extras)
        counts = [(output.expression.argmax(1) == target).sum(), *(hits[name].sum() for name in self.questions)]
        return total, torch.stack([*(loss.detach() for loss in losses.values()), *counts]).double()

    def _losses(
        self, output: Any, target: Tensor, votes: Tensor | None, extras: Extras, weighting: Weighting
    ) -> dict[str, Tensor]:
        """Return the model's losses and those beside them, summed over clips."""
        adjusted = output
        if weighting.adjustment is not None:
            adjusted = output._replace(expression=wide(output.expression) + weighting.adjustment)
        weight, smoothing = weighting.class_weight, weighting.smoothing
        focal = {} if weighting.focal is None else {"focal": weighting.focal}
        learnt = target if votes is None else votes
        found = self.head.losses(adjusted, learnt, extras, weight=weight, smoothing=smoothing, **focal)
        for name in self.beside:
            found[name] = self._beside(name, output.embedding, target, weighting)
        return found

    def _beside(self, name: str, embedding: Tensor, target: Tensor, weighting: Weighting) -> Tensor:
        """Return a loss of embeddings, which go by the clips' labels.  # (B, E), (B,) → ()"""
        if name == CONTRASTIVE:
            return contrastive_loss(embedding, target, weighting.temperature)
        assert self.centres is not None
        return {COMPACT: compact_loss, CENTRE: centre_loss}[name](embedding, target, self.centres)


def weighting_of(config: TrainConfig, terms: Mapping[str, float], counts: Tensor) -> Weighting:
    """Return how losses are put together where a training half has so many clips of each class.  # (C,)"""
    loss = config.loss
    return Weighting(
        terms,
        config.data.label_smoothing,
        class_weight(config, counts),
        focal=loss.focal or None,
        adjustment=(loss.adjustment * log_prior(counts)).float() if loss.adjustment else None,
        temperature=config.loss.temperature,
    )


def class_weight(config: TrainConfig, counts: Tensor) -> Tensor | None:
    """Return what a clip of each class counts, None where all count alike.  # (C,) → (C,)"""
    if config.data.class_weights:
        return inverse(counts).float()
    beta = config.loss.effective_number
    return by_effective_number(counts, beta).float() if beta else None


def centres_of(config: TrainConfig, head: Model, seed: int) -> Tensor | None:
    """Draw the centres of the classes, where a loss has them.  # → (C, E)"""
    if not config.loss.has_centres:
        return None
    return draw_centres(int(head.num_classes), embedding_width(head), seed).to(head.device)


@torch.no_grad()
def embedding_width(head: Model) -> int:
    """Return how wide the embedding of a model is, by what it says of an example; no stream moves on."""
    training, device = head.training, head.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        found = head.eval()(head.example_batch(1)).embedding.shape[1]
    head.train(training)
    return found
