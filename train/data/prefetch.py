"""Batches that are loaded before they are asked for, by one thread behind the one that learns.

What will be asked for is told in order. Up to `depth` batches behind the one in use are there or under way; whatever else is asked for is
loaded on the spot. A batch is the same either way, and what went wrong with it is raised where it is taken.

Threads of an executor end with the process: Python waits for what has been begun, so it is little.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..models.frames import Frames

DEPTH = 3


class Ahead:
    """The batches that come next."""

    def __init__(self, load: Callable[[Tensor, Tensor | None], Frames], *, depth: int = DEPTH) -> None:
        self._load, self._depth = load, depth
        self._feeder = ThreadPoolExecutor(1, thread_name_prefix="est-ahead")
        self._alone = Lock()
        self._coming: Iterator[Asked] = iter(())
        self._begun: deque[tuple[Asked, Future[Frames]]] = deque()
        self.waited = 0.0  # seconds in `take`

    def expect(self, batches: Iterable[Asked]) -> None:
        """Load these from now on, and forget what was expected before."""
        for _, future in self._begun:
            future.cancel()
        self._begun.clear()
        self._coming = iter(batches)
        self._begin()

    def take(self, index: Tensor, look: Tensor | None) -> Frames:
        """Return a batch: the next one that is expected, or any other."""
        start = time.perf_counter()
        try:
            if not self._begun or not _are_same(self._begun[0][0], (index, look)):
                return self._load_alone(index, look)
            _, future = self._begun.popleft()
            self._begin()
            return future.result()
        finally:
            self.waited += time.perf_counter() - start

    def _begin(self) -> None:
        while len(self._begun) < self._depth and (asked := next(self._coming, None)) is not None:
            self._begun.append((asked, self._feeder.submit(self._load_alone, *asked)))

    def _load_alone(self, index: Tensor, look: Tensor | None) -> Frames:
        """Load a batch, while nobody else does: each has all threads that decode, and no more memory is needed than for one."""
        with self._alone:
            return self._load(index, look)


def _are_same(one: Asked, other: Asked) -> bool:
    (index, look), (other_index, other_look) = one, other
    if not torch.equal(index, other_index):
        return False
    return look is other_look or (look is not None and other_look is not None and torch.equal(look, other_look))


Asked = tuple[Tensor, Tensor | None]  # rows (B, n, J), and how each clip is looked at (B, 4)
