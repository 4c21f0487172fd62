"""Losses that hold the clips of a class at a centre. Centres are learnt with the model, belong to the loss, and predict nothing.

`centre_loss` is that of Wen et al. (ECCV 2016), ½ ‖x − c‖², whose centres move by gradient here and not by their own running mean.

`compact_loss` is a reconstruction of the compact loss of STT (arXiv 2205.04749), whose formula we have not found: what is said of it is
that it shortens distances within classes and lengthens those between them. Here, on the unit sphere, it is the squared distance to the
own class's centre, less the mean squared distance between centres, plus the most that this can be, 2 C / (C − 1): so that the least is 0.

Legend: B clips, E width of the embedding, C classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def draw_centres(num_classes: int, width: int, seed: int) -> Tensor:
    """Draw a direction for each class, of length 1, from a generator of its own.  # → (C, E)"""
    drawn = torch.randn(num_classes, width, generator=torch.Generator().manual_seed(seed))
    return F.normalize(drawn, dim=1)


def centre_loss(embedding: Tensor, target: Tensor, centres: Tensor) -> Tensor:
    """Return half the squared distance to the own class's centre, summed over clips.  # (B, E), (B,), (C, E) → ()"""
    return (embedding - centres[target]).square().sum() / 2


def compact_loss(embedding: Tensor, target: Tensor, centres: Tensor) -> Tensor:
    """Return how far clips are from their centres, less how far centres are apart, summed over clips.  # (B, E), (B,), (C, E) → ()"""
    unit, centres = F.normalize(embedding, dim=1), F.normalize(centres, dim=1)
    within = (unit - centres[target]).square().sum()
    others = max(len(centres) - 1, 1)
    lacking = 2 * centres.sum(0).square().sum() / (len(centres) * others)  # 2 C / (C − 1) less the mean of ‖c − c′‖²
    return within + len(target) * lacking
