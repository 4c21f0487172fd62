"""What a backbone that learns is given: each different frame of a batch once, and where snippets look at it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchFrames:
    """The different frames of a batch, and where each is looked at."""

    rows: Tensor  # (U, S, S, 3) uint8 RGB pictures, or (U, C, h, w) float maps; on the device
    place: Tensor  # (B, n, J) → 0 … U−1; on the device
