"""Supervised contrastive loss (Khosla et al., NeurIPS 2020), the form with the sum outside of the logarithm, over a batch.

Clips of one class are drawn together and apart from all others. The paper contrasts two augmented views of each image; here every clip
of the batch stands once, so that a clip without another of its class adds nothing.

Legend: B clips, E width of the embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive_loss(embedding: Tensor, target: Tensor, temperature: float | Tensor) -> Tensor:
    """Return the mean of −log p over each clip's positives, summed over clips.  # (B, E), (B,) → ()"""
    unit = F.normalize(embedding, dim=1)
    likeness = unit @ unit.T / temperature
    itself = torch.eye(len(target), dtype=torch.bool, device=target.device)
    others = likeness.masked_fill(itself, torch.finfo(likeness.dtype).min)
    log = likeness - others.logsumexp(1, keepdim=True)
    positive = (target[:, None] == target[None, :]) & ~itself
    number = positive.sum(1)
    found = torch.where(positive, log, 0.0).sum(1) / number.clamp(min=1)
    return -found.sum()
