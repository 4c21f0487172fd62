"""A stack: trainings of models of one shape that take their steps together.

Its models are computed as one with an axis more (part.py); on a CPU as one for each thread, because small operations do not
profit from a second thread each. Every training keeps its own optimiser, schedule, running mean, counts and checkpoints, and its own
random streams: the same clips, frames and dropout as alone. What differs is the order in which sums are computed: after 50
steps in float64 weights agree to 1e-9.

Trainings may stand at different epochs, end at different times and have epochs of different length.

Legend: K trainings, B clips of a batch, n snippets, J frames of a snippet, D feature width.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from ...data.memory import enough_memory
from ..trainer import Trainer
from .part import At, StackPart


class Stack:
    """Trainers of one shape (rule.py says which are), computed in parts, one for each of torch's threads."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        first = trainers[0]
        assert all(trainer.clips is first.clips for trainer in trainers), "trainings of a stack read the same clips"
        self.trainers = list(trainers)
        self.device, self.clips = first.device, first.clips
        number = min(torch.get_num_threads(), len(trainers)) if self.device.type == "cpu" else 1
        bounds = [len(trainers) * part // number for part in range(number + 1)]
        self.slices = [slice(first, end) for first, end in pairwise(bounds)]
        self.parts = [StackPart(self.trainers[own]) for own in self.slices]
        self.pool = ThreadPoolExecutor(number, thread_name_prefix="est-stack") if number > 1 else None

    def without(self, gone: Sequence[Trainer]) -> Stack | None:
        """Return the stack of those that stay; the models of the others get tensors of their own. None when all leave."""
        for trainer in gone:
            _release(trainer.objective)
        if self.pool is not None:
            self.pool.shutdown()
        stay = [trainer for trainer in self.trainers if trainer not in gone]
        return Stack(stay) if stay else None

    def release(self) -> None:
        """Give every model tensors of its own."""
        self.without(self.trainers)

    def step(self, at: Sequence[At]) -> None:
        """Let each training take the step at which it is."""
        with enough_memory(self.device, self.trainers[0].config):
            features = self._gather(at)
            if self.pool is None:
                self.parts[0].step(at, features)
                return
            with _one_thread_each():
                steps = [
                    self.pool.submit(part.step, at[own], features[own])
                    for part, own in zip(self.parts, self.slices, strict=True)
                ]
                failures = [step.exception() for step in steps]  # waits for all
            for failure in failures:
                if failure is not None:
                    raise failure

    def _gather(self, at: Sequence[At]) -> Tensor:
        """Return the features of all trainings' batches.  # (K, B, n, J, D)"""
        taken = self.clips.take(torch.cat([plan.index[step] for plan, step, _ in at]))
        assert isinstance(taken, Tensor)
        return taken.view(len(at), -1, *taken.shape[1:])


@contextmanager
def _one_thread_each() -> Generator[None]:
    """Let operations of torch use no threads of their own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _release(objective: nn.Module) -> None:
    """Give a model, and what its losses learn, tensors of their own."""
    for parameter in objective.parameters():
        parameter.grad = None
    for tensor in (*objective.parameters(), *objective.buffers()):
        tensor.data = tensor.data.clone()
