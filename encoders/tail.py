"""The way from pictures, or from a tap, to features, cut before the last stage of an encoder: what fine-tuning takes step by step.

Legend: N frames, S side, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from .backbone import FrameEncoder

PICTURES = "pictures"  # where a tail begins that takes (N, S, S, 3) uint8 RGB pictures, and no tap

Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Tail:
    """Steps that lead to rows of gap, one after the other."""

    before: tuple[Step, ...] = ()  # up to the last stage
    last: tuple[Step, ...]  # the last stage and all that follows it; the whole of a network without stages

    @property
    def steps(self) -> tuple[Step, ...]:
        """Return all of them."""
        return (*self.before, *self.last)


def normalized(encoder: FrameEncoder, pictures: Tensor) -> Tensor:
    """Return pictures as the first layer sees them.  # (N, S, S, 3) uint8 → (N, 3, S, S)"""
    return encoder.normalize(pictures.permute(0, 3, 1, 2).float().div_(255))


def through_encoder(encoder: FrameEncoder, pictures: Tensor) -> Tensor:
    """Take pictures through the whole of an encoder.  # (N, S, S, 3) uint8 → (N, D)"""
    return encoder(pictures.permute(0, 3, 1, 2).float().div_(255))


def tapped(encoder: FrameEncoder, tap: str, pictures: Tensor) -> Tensor:
    """Take pictures through an encoder up to a tap.  # (N, S, S, 3) uint8 → (N, …)"""
    return encoder.taps(pictures.permute(0, 3, 1, 2).float().div_(255), (tap,))[tap]


def pool(maps: Tensor) -> Tensor:
    """Average over places, in float32 whatever the precision.  # (N, D, h, w) → (N, D)"""
    return maps.float().mean((2, 3))
