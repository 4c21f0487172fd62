"""Labelled frames to draw from, whatever they are of: clips of a cache or single images.

A unit is what has a label: a clip, or an image, which is a unit of one frame. A unit's label is a share of each class; an ordinary label
gives all of it to one. Frames have weights, so that those near a clip's apex are drawn more often.

Legend: U units, F frames of all units, C classes, B frames of a batch, K frames that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from ..train.data.prefetch import BatchRequest
from ..train.models.batch_frames import BatchFrames


class Pictures(Protocol):
    """Where the pictures of frames come from, loaded ahead."""

    line: str  # says so

    @property
    def waited(self) -> float:
        """Return the seconds that `take` has spent on what was not loaded yet."""
        ...

    def index(self, frames: np.ndarray, mirrored: np.ndarray | None = None) -> Tensor:
        """Name frames, mirrored or not, for `take`.  # (B,), (B,) → (B, 1, 1)"""
        ...

    def take(self, index: Tensor, augmentation: Tensor | None = None) -> BatchFrames:
        """Return pictures on the device, each as its look says (train/data/clipset.py).  # (B, 1, 1), (B, 4)"""
        ...

    def expect(self, batches: Iterable[BatchRequest]) -> None:
        """Receive what will be taken, in order."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Frames, and whose they are."""

    unit: np.ndarray  # (F,) ascending: each unit's frames stand together, and each unit has one at least
    weight: np.ndarray  # (F,) above 0
    target: np.ndarray  # (U, C) share of each class; rows sum to 1
    names: np.ndarray  # (U,) text
    labels: tuple[str, ...]
    pictures: Pictures
    side: int  # of a picture
    noun: str  # clips or images
    facts: dict[str, Any]  # what the card says of them

    def __post_init__(self) -> None:
        assert len(self.unit) == len(self.weight)
        assert (np.diff(self.unit) >= 0).all()
        assert self.count.min() > 0
        assert self.weight.min() > 0

    @cached_property
    def truth(self) -> np.ndarray:
        """Return each unit's class: the one with the largest share.  # (U,)"""
        return self.target.argmax(1)

    @cached_property
    def count(self) -> np.ndarray:
        """Count each unit's frames.  # (U,)"""
        return np.bincount(self.unit, minlength=len(self.target))

    @cached_property
    def first(self) -> np.ndarray:
        """Return each unit's first frame.  # (U,)"""
        return np.cumsum(self.count) - self.count

    @cached_property
    def _reach(self) -> np.ndarray:
        """Return the unit's number plus the share of its weight up to and with each frame.  # (F,)"""
        sums = np.cumsum(self.weight)
        before = sums[self.first] - self.weight[self.first]
        whole = np.add.reduceat(self.weight, self.first)
        return self.unit + (sums - before[self.unit]) / whole[self.unit]

    def frames_at(self, units: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Return the frame of each unit at which so much of its weight is behind; shares go from 0 to below 1.  # (K,), (K,) → (K,)"""
        found = np.searchsorted(self._reach, units + share, side="right")
        return np.clip(found, self.first[units], self.first[units] + self.count[units] - 1)

    def spread(self, units: np.ndarray, most: int) -> np.ndarray:
        """Return up to so many different frames of each unit, evenly over its weight, in ascending order.  # (K,)"""
        found = []
        for unit in units.tolist():
            number = min(most, int(self.count[unit]))
            found.append(self.frames_at(np.full(number, unit), (np.arange(number) + 0.5) / number))
        return np.unique(np.concatenate(found))
