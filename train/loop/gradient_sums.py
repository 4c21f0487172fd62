"""Gradients of several processes are added while the backward pass still runs, a bucket as soon as its last gradient is there.

Buckets are begun in one order on all processes, that in which the last layers come first, so that sums always meet their own. Which
parameters get a gradient is seen in a step; where that changes (a backbone that learns from a later epoch on), what is not under way is
added at the end, and buckets are made anew. Every gradient is added exactly once, and the sums are those that `World.add` finds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from .world import World, buckets


class GradientSums:
    """Adds the gradients of some parameters over all processes. Alone it does nothing."""

    def __init__(self, world: World, parameters: Sequence[nn.Parameter], *, early: bool = True) -> None:
        self._world, self._parameters = world, parameters
        self._active = False
        self._buckets: list[list[Tensor]] = []  # of parameters that got a gradient in the step before
        self._bucket_of: dict[Tensor, int] = {}
        self._missing: list[int] = []  # gradients of each bucket that have not come in this step
        self._under_way: list[Callable[[], None]] = []  # of the first buckets; each waits for its sums
        self._early = early and world.size > 1
        self._watched = [one for one in parameters if one.requires_grad] if self._early else []
        for parameter in self._watched:
            parameter.register_post_accumulate_grad_hook(self._take)

    @contextmanager
    def during_last_backward(self) -> Generator[None]:
        """Let gradients of this block be added as they come: they are whole then."""
        self._active, self._missing = self._early, [len(bucket) for bucket in self._buckets]
        try:
            yield
        finally:
            self._active = False

    def finish(self, others: Sequence[Tensor]) -> None:
        """Add what is not under way, and other tensors; wait for all sums."""
        if self._world.size == 1:
            return
        begun = {parameter for bucket in self._buckets[: len(self._under_way)] for parameter in bucket}
        rest = [one.grad for one in self._parameters if one.grad is not None and one not in begun]
        for wait in self._under_way:
            wait()
        self._under_way.clear()
        self._world.add([*rest, *others])
        if rest and self._early:
            self._buckets = list(buckets(one for one in reversed(self._watched) if one.grad is not None))
            self._bucket_of = {parameter: place for place, bucket in enumerate(self._buckets) for parameter in bucket}

    def _take(self, parameter: Tensor) -> None:
        """Note that a gradient is whole, and begin to add all buckets that are."""
        if not self._active or parameter not in self._bucket_of:
            return
        self._missing[self._bucket_of[parameter]] -= 1
        while (place := len(self._under_way)) < len(self._buckets) and not self._missing[place]:
            gradients = [one.grad for one in self._buckets[place]]
            self._under_way.append(self._world.begin_to_add([one for one in gradients if one is not None]))
