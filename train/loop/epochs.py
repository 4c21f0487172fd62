"""A training under way: epoch after epoch, with a checkpoint whenever one is due or it is stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

from ...cache.interrupt import Stop
from .trainer import clock
from .watch import Part, TrainingWatch
from .world import ALONE, World

SECONDS_BETWEEN_CHECKPOINTS = 60.0


class Steps(Protocol):
    """What takes the steps: of features (trainer.py), or of single frames (tune/loop.py)."""

    num_steps: int

    def run_epoch(self, epoch: int, *, first_step: int, stop: Stop, watch: TrainingWatch, until: float) -> int:
        """Take the steps of an epoch from one on; return how many are done."""
        ...

    def record(self, epoch: int, seconds: float) -> dict[str, Any]:
        """Sum an epoch up; refuse one that diverged."""
        ...

    def expect_sound(self, epoch: int, steps: int) -> None:
        """Refuse to continue from what is not finite."""
        ...


class Epochs(ABC):
    """The epochs of one training; what is saved, and what is done after each, is said by those that inherit it."""

    def __init__(
        self, trainer: Steps, part: Part, num_epochs: int, *, watch: TrainingWatch, stop: Stop, world: World = ALONE
    ) -> None:
        self.steps, self.part, self.num_epochs = trainer, part, num_epochs
        self.watch, self.stop, self.world = watch, stop, world
        self.epoch = self.step = 0
        self.seconds = 0.0  # of the epoch under way
        self.saved = clock()

    @abstractmethod
    def save(self) -> None:
        """Write all that resuming needs."""

    @abstractmethod
    def end_epoch(self, record: dict[str, Any]) -> None:
        """Score an epoch, keep its model where it is the best, tell those who watch."""

    @property
    def ended(self) -> bool:
        """Return whether no step is left to take."""
        return self.epoch == self.num_epochs

    def run_epochs(self) -> bool:
        """Go to the end; return False if it was stopped, which saves a checkpoint."""
        self.watch.begin(self.part, epochs=self.num_epochs, steps=self.steps.num_steps, first_epoch=self.epoch + 1)
        while not self.ended:
            self.advance()
            stopping = self.world.any(self.stop.wanted)
            if not self.ended and (stopping or self.world.any(clock() >= self.due)):
                self.keep()
            if stopping:
                break
        return self.ended

    def keep(self) -> None:
        """Save a training that is sound."""
        self.steps.expect_sound(self.epoch, self.step)
        self.save()
        self.saved = clock()

    @property
    def due(self) -> float:
        """Return when the next checkpoint is due."""
        return self.saved + SECONDS_BETWEEN_CHECKPOINTS

    def count_steps(self, step: int, seconds: float) -> None:
        """Note that the steps before one are taken, in so much time; after the last one the epoch ends."""
        self.step = step
        self.seconds += seconds
        if step == self.steps.num_steps:
            self.end_epoch(self.steps.record(self.epoch, self.seconds))
            self.epoch, self.step, self.seconds = self.epoch + 1, 0, 0.0

    def advance(self) -> None:
        """Go to the end of the epoch, or as far as it may go."""
        start = clock()
        step = self.steps.run_epoch(self.epoch, first_step=self.step, stop=self.stop, watch=self.watch, until=self.due)
        self.count_steps(step, clock() - start)
