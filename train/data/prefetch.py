"""Batches that are loaded before they are asked for, by a background thread.

What will be asked for is told in order. Up to `depth` batches behind the one in use are there or under way; whatever else is asked for is
loaded on the spot. A batch is the same either way, and what went wrong with it is raised where it is taken.

Threads of an executor end with the process: Python waits for what has been started, so it is little.
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
    from ..models.batch_frames import BatchFrames

DEPTH = 3


class Prefetcher:
    """The batches that come next."""

    def __init__(self, load: Callable[[Tensor, Tensor | None], BatchFrames], *, depth: int = DEPTH) -> None:
        self._load, self._depth = load, depth
        self._feeder = ThreadPoolExecutor(1, thread_name_prefix="est-ahead")
        self._alone = Lock()
        self._coming: Iterator[BatchRequest] = iter(())
        self._begun: deque[tuple[BatchRequest, Future[BatchFrames]]] = deque()
        self.waited = 0.0  # seconds in `take`

    def expect(self, batches: Iterable[BatchRequest]) -> None:
        """Load these from now on, and forget what was expected before."""
        for _, future in self._begun:
            future.cancel()
        self._begun.clear()
        self._coming = iter(batches)
        self._begin()

    def take(self, index: Tensor, augmentation: Tensor | None) -> BatchFrames:
        """Return a batch: the next one that is expected, or any other."""
        start = time.perf_counter()
        try:
            if not self._begun or not _are_same(self._begun[0][0], (index, augmentation)):
                return self._load_alone(index, augmentation)
            _, future = self._begun.popleft()
            self._begin()
            return future.result()
        finally:
            self.waited += time.perf_counter() - start

    def _begin(self) -> None:
        while len(self._begun) < self._depth and (asked := next(self._coming, None)) is not None:
            self._begun.append((asked, self._feeder.submit(self._load_alone, *asked)))

    def _load_alone(self, index: Tensor, augmentation: Tensor | None) -> BatchFrames:
        """Load a batch, while no other thread does: each has all threads that decode, and no more memory is needed than for one."""
        with self._alone:
            return self._load(index, augmentation)


def _are_same(one: BatchRequest, other: BatchRequest) -> bool:
    (index, augmentation), (other_index, other_augmentation) = one, other
    if not torch.equal(index, other_index):
        return False
    return augmentation is other_augmentation or (
        augmentation is not None and other_augmentation is not None and torch.equal(augmentation, other_augmentation)
    )


BatchRequest = tuple[Tensor, Tensor | None]  # rows (B, n, J), and how each clip's pictures are augmented (B, 4)
