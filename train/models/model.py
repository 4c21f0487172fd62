"""What every model offers to training, evaluation and prediction: a classifier of clips from frame features.

The loop draws which frames of a clip are shown; a model may draw more (EST: an order of the snippets) and arrange the frames by it. A batch
of named tensors goes in; logits of the classes come out. The model names its losses, and may answer further questions, whose right answers
are counted. Everything follows from parameters, buffers, the batch and the random stream.

Legend: B clips, C classes, D feature width; what stands between depends on the frames that a model is shown (EST: n snippets × J frames).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..losses.classes import cross_entropy, focal_loss
from .contract import CLASSES, places_of
from .scaling import Scaling

Extras = Mapping[str, Tensor]  # what a model draws besides frames, for each clip  # (B, …)
Batch = Mapping[
    str, Tensor
]  # features (B, …, D), of maps (B, …, D, h, w); what the model is told of frames (B, …); its extras


class Answer(Protocol):
    """What a model says of some clips."""

    @property
    def expression(self) -> Tensor:
        """Return the logits of the classes, in float32.  # (B, C)"""
        ...

    @property
    def embedding(self) -> Tensor:
        """Return what the classifier reads, in float32: losses that compare clips read it, too.  # (B, any width)"""
        ...


class Model(nn.Module):
    """A classifier of clips."""

    config: Any  # the model's own ModelConfig
    width: int  # D, of maps their channels
    maps: tuple[int, ...] = ()  # sides of the maps that it reads, h and w; none where features are flat
    num_classes: int  # C
    scaling: Scaling  # what is done to features first

    @property
    def device(self) -> torch.device:
        """Return where the model is."""
        return self.scaling.mean.device

    @property
    def on_features(self) -> Model:
        """Return the model of features: itself, or the one behind an encoder that learns with it."""
        return self

    @property
    def terms(self) -> dict[str, float]:
        """Return the losses by name, and how much each counts; the first is that of the classes."""
        return {CLASSES: 1.0}

    @property
    def choices(self) -> dict[str, int]:
        """Return the further questions that the model answers, and how many answers each has: guessing is right once in so many."""
        return {}

    def draw_extras(self, count: int, generator: torch.Generator, device: torch.device) -> Extras:
        """Draw what training needs besides frames, for so many clips, from the generator of the epoch's plan."""
        return {}

    def shuffled_extras(self, number: Tensor) -> Extras:
        """Return extras that shuffle what is shown, for clips that are numbered; nothing where the model cannot.  # (B,)"""
        return {}

    def arrange(self, shown: Tensor, extras: Extras) -> Tensor:
        """Bring what is shown of each clip into the order that the extras say.  # (B, …, J)"""
        return shown

    def features(self, frames: Any) -> Tensor:
        """Return the features of what a clip set gives of frames: cached features themselves."""
        return frames

    def forward(self, batch: Batch) -> Answer:
        """Classify clips."""
        raise NotImplementedError

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """Return what reports show of its decisions, in float32, by the names of `DETAILS` (contract.py)."""
        return {}

    def example_batch(self, clips: int) -> dict[str, Tensor]:
        """Return a random batch as `forward` takes it in a test, for exports.

        The first axis of every tensor is that of the clips, and may have any length; the others have the length that they have here.
        """
        n, J = places_of(self.config.shown)
        noise = torch.randn(clips, n, J, *self.maps, self.width, device=self.device)
        features = (noise * self.scaling.std + self.scaling.mean).movedim(-1, 3)
        told = {
            "mask": torch.ones(clips, n, J, dtype=torch.bool, device=self.device),
            "time": torch.arange(n * J, device=self.device).view(1, n, J).repeat(clips, 1, 1) / 25,
        }
        return {"features": features, **{name: told[name] for name in self.config.told}}

    def losses(
        self,
        output: Any,
        target: Tensor,
        batch: Batch,
        *,
        weight: Tensor | None,
        smoothing: float | Tensor,
        focal: float | Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return each loss, summed over clips, in float32; targets are classes (B,) or shares of them (B, C).

        That of the classes is weighted by `weight` (C,), and is focal where γ is given. No loss reads `features`: mixed clips have two
        targets and one output.
        """
        return {CLASSES: class_loss(output, target, weight=weight, smoothing=smoothing, focal=focal)}

    def hits(self, output: Any, batch: Batch) -> dict[str, Tensor]:
        """Say for each further question which clips it was answered rightly for.  # name → (B,) bool"""
        return {}


def class_loss(
    output: Answer,
    target: Tensor,
    *,
    weight: Tensor | None,
    smoothing: float | Tensor,
    focal: float | Tensor | None = None,
) -> Tensor:
    """Return the loss of the classes (train/losses/classes.py), summed over clips, in float32.  # (B,) or (B, C) → ()"""
    logits = wide(output.expression)
    if focal is None:
        return cross_entropy(logits, target, weight=weight, smoothing=smoothing)
    return focal_loss(logits, target, focal, weight=weight, smoothing=smoothing)


def wide(logits: Tensor) -> Tensor:
    """Return numbers in float32, or as they are where they are wider."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
