"""The loss of the classes: cross-entropy, or focal loss, of targets that are classes or shares of them.

With q = (1 − ε) · target + ε / C, weights w and probabilities p it is −Σ w q (1 − p)^γ log p, summed over classes and clips. γ = 0 is
torch's own cross-entropy. Of a certain target without smoothing it is the focal loss of Lin et al. (ICCV 2017).

Legend: B clips, C classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST = 1e-12  # of 1 − p, whose power has a gradient


def cross_entropy(logits: Tensor, target: Tensor, *, weight: Tensor | None, smoothing: float | Tensor) -> Tensor:
    """Return the cross-entropy, summed over clips.  # (B, C), (B,) or (B, C) → ()

    Models in a stack (loop/stacks/stack.py) have a smoothing each, a tensor, which torch's own function does not take.
    """
    if not isinstance(smoothing, Tensor):
        return F.cross_entropy(logits, target, weight=weight, label_smoothing=smoothing, reduction="sum")
    certain = F.cross_entropy(logits, target, weight=weight, reduction="sum")
    shares = logits.log_softmax(1)
    even = -(shares if weight is None else shares * weight).sum()  # the loss of a target that is all classes alike
    return (1 - smoothing) * certain + smoothing / logits.shape[1] * even


def focal_loss(
    logits: Tensor, target: Tensor, gamma: float | Tensor, *, weight: Tensor | None, smoothing: float | Tensor
) -> Tensor:
    """Return the focal loss, summed over clips.  # (B, C), (B,) or (B, C) → ()"""
    num_classes = logits.shape[1]
    shares = F.one_hot(target, num_classes).to(logits.dtype) if target.ndim == 1 else target
    shares = (1 - smoothing) * shares + smoothing / num_classes
    log = logits.log_softmax(1)
    wrong = (-torch.expm1(log)).clamp(min=SMALLEST)
    found = -shares * wrong**gamma * log
    return (found if weight is None else found * weight).sum()
