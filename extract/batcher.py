"""Collects pictures of one size until a batch is full, those of the oldest clip first."""

from __future__ import annotations

import heapq
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


class Batcher:
    """Batches of one capacity; pictures of other sizes wait in batches of their own."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._groups: dict[tuple[int, ...], list[Item]] = {}
        self._order = 0

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def add(self, clip: int, picture: np.ndarray, place: Any) -> None:
        """Let a picture wait."""
        self._order += 1
        heapq.heappush(self._groups.setdefault(picture.shape, []), Item(clip, self._order, picture, place))

    def take(self, *, partial: bool) -> list[Item]:
        """Return a full batch, or with `partial` what there is; of the group whose oldest clip is the oldest."""
        ready = [group for group in self._groups.values() if group and (partial or len(group) >= self.capacity)]
        if not ready:
            return []
        group = min(ready, key=lambda group: group[0])
        batch = [heapq.heappop(group) for _ in range(min(self.capacity, len(group)))]
        if not group:
            self._groups = {shape: group for shape, group in self._groups.items() if group}
        return batch

    def drop(self, clip: int) -> None:
        """Forget the pictures of a clip that failed."""
        for shape, group in self._groups.items():
            kept = [item for item in group if item.clip != clip]
            heapq.heapify(kept)
            self._groups[shape] = kept
