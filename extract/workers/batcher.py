"""Collects pictures of one size, to be treated in one way, until a batch is full; those of the oldest clip first."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(order=True)
class Item:
    """A picture that waits, and where its result goes."""

    clip: int
    order: int
    picture: np.ndarray = field(compare=False)
    place: Any = field(compare=False)
    way: Any = field(compare=False)


class Batcher:
    """Batches of one capacity; pictures of other sizes, or to be treated in other ways, wait in batches of their own."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._groups: dict[Hashable, list[Item]] = {}
        self._order = 0

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    @property
    def is_ready(self) -> bool:
        """Return whether there is a full batch."""
        return any(len(group) >= self.capacity for group in self._groups.values())

    def add(self, clip: int, picture: np.ndarray, place: Any, way: Hashable = None) -> None:
        """Let a picture wait."""
        self._order += 1
        group = self._groups.setdefault((picture.shape, way), [])
        heapq.heappush(group, Item(clip, self._order, picture, place, way))

    def take(self, *, partial: bool) -> list[Item]:
        """Return a full batch, or with `partial` what there is; of the group whose oldest clip is the oldest."""
        ready = [group for group in self._groups.values() if group and (partial or len(group) >= self.capacity)]
        if not ready:
            return []
        group = min(ready, key=lambda group: group[0])
        batch = [heapq.heappop(group) for _ in range(min(self.capacity, len(group)))]
        if not group:
            self._groups = {key: group for key, group in self._groups.items() if group}
        return batch

    def drop(self, clip: int) -> None:
        """Forget the pictures of a clip that failed."""
        for key, group in self._groups.items():
            kept = [item for item in group if item.clip != clip]
            heapq.heapify(kept)
            self._groups[key] = kept
