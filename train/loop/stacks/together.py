"""Trainings that go to their ends together, a step at a time, as one stack; others may take the places of those that have ended.

Each has its own epochs, checkpoints and choice of an epoch, as alone. `--stack off` trains one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from ....cache.interrupt import Stop
from ....errors import EstError
from ...data.epoch import EpochPlan
from ..epochs import SECONDS_BETWEEN_CHECKPOINTS
from ..trainer import clock
from ..training import Training
from .stack import Stack

Refill = Callable[[int], Sequence[Training]]  # free places → trainings that take them: as many or fewer


def run_together(
    trainings: Sequence[Training],
    *,
    stop: Stop,
    places: int = 0,
    refill: Refill | None = None,
    on_end: Callable[[Training], None] | None = None,
    on_error: Callable[[Training, EstError], None] | None = None,
) -> bool:
    """Train to the end; False if it was stopped, which saves a checkpoint of each.

    `refill` is asked for trainings whenever some of so many places are free. A training that fails raises, after the others are saved;
    with `on_error` it leaves, and the others go on.
    """
    return _Together(stop, places, refill, on_end, on_error).run(trainings)


class _Together:
    """Trainings under way, and the stack of those whose steps are taken."""

    def __init__(
        self,
        stop: Stop,
        places: int,
        refill: Refill | None,
        on_end: Callable[[Training], None] | None,
        on_error: Callable[[Training, EstError], None] | None,
    ) -> None:
        self.stop, self.places = stop, places
        self.refill, self.on_end, self.on_error = refill, on_end, on_error
        self.running: list[Training] = []
        self.plans: dict[int, EpochPlan] = {}  # by the identity of a training: of its epoch
        self.stack: Stack | None = None

    def run(self, trainings: Sequence[Training]) -> bool:
        self._enter(trainings)
        saved = clock()
        while self.running and not self.stop.wanted:
            self._step()
            gone = [training for training in self.running if training.ended]
            if gone:
                self._leave(gone)
                if self.refill is not None:
                    self._enter(self.refill(self.places - len(self.running)))
            if clock() >= saved + SECONDS_BETWEEN_CHECKPOINTS:
                self._keep()
                saved = clock()
        if self.running:
            self._keep()
            self._release()
        return not self.running

    def _enter(self, trainings: Sequence[Training]) -> None:
        """Take trainings in, those that have steps left."""
        for training in trainings:
            if training.ended:
                self._end(training)
                continue
            self.running.append(training)
            self.plans[id(training)] = training.trainer.begin_epoch(training.epoch, first_step=training.step)
        if trainings:
            self._restack()

    def _step(self) -> None:
        """Take a step of each, and end the epochs whose last one it was."""
        assert self.stack is not None
        start = clock()
        self.stack.step([(self.plans[id(one)], one.step, one.epoch) for one in self.running])
        seconds = (clock() - start) / len(self.running)
        self.running[0].watch.step(self.running[0].epoch, self.running[0].step + 1)
        failed = []
        for training in self.running:
            epoch = training.epoch
            try:
                training.count_steps(training.step + 1, seconds)
            except EstError as error:
                if self.on_error is None:
                    with suppress(EstError):  # the first error counts
                        self._keep(but=training)
                    self._release()
                    raise
                self.on_error(training, error)
                failed.append(training)
                continue
            if training.epoch > epoch and not training.ended:
                self.plans[id(training)] = training.trainer.begin_epoch(training.epoch)
        if failed:
            self._drop(failed)

    def _leave(self, gone: Sequence[Training]) -> None:
        self._drop(gone)
        for training in gone:
            self._end(training)

    def _drop(self, gone: Sequence[Training]) -> None:
        """Take trainings out of the stack."""
        assert self.stack is not None
        for training in gone:
            self.running.remove(training)
            del self.plans[id(training)]
        self.stack = self.stack.without([training.trainer for training in gone])

    def _end(self, training: Training) -> None:
        if self.on_end is not None:
            self.on_end(training)

    def _restack(self) -> None:
        self._release()
        self.stack = Stack([training.trainer for training in self.running]) if self.running else None

    def _keep(self, but: Training | None = None) -> None:
        """Save every training that is sound, then raise what is wrong with the first of the others."""
        wrong: list[EstError] = []
        for training in self.running:
            try:
                if training is not but:
                    training.keep()
            except EstError as error:
                wrong.append(EstError(f"{training.part.name}: {error.message}", remedy=error.remedy))
        if wrong:
            raise wrong[0]

    def _release(self) -> None:
        if self.stack is not None:
            self.stack.release()
            self.stack = None
