"""The search of one process: trials are started, trained as stacks of one shape where that is faster, and reported to their studies.

Several processes can search the same studies. A trial that fails is recorded, and the search continues. A process whose studies have all
their trials waits for those that others work on, because one that is killed leaves its trials to be tried again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...cache.interrupt import Stop
from ...encoders.precision import Precision
from ...errors import EstError
from ...train.loop.stacks.rule import num_together, shape_of
from ...train.loop.stacks.together import run_together
from ...train.loop.training import Training
from ..space.space import Space
from .control import try_control
from .ground import Ground
from .keeping import keep_best
from .settings import SweepConfig
from .storage import KernelLock
from .study import StudiesUnreachable, Study
from .trial import Statistics, Trial, TrialTraining, begin_trial

if TYPE_CHECKING:
    from optuna.trial import Trial as Asked

SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(kw_only=True, eq=False)
class Search:
    """Studies, and the trials of this process that are under way."""

    ground: Ground
    studies: Sequence[Study]
    space: Space
    config: SweepConfig
    out: Path
    device: torch.device
    precision: Precision
    stop: Stop
    lock: KernelLock  # of the sweep: who holds it asks for trials, or writes
    deadline: float = math.inf  # by time.monotonic(): no trial begins later
    told: Callable[[], None] = lambda: None  # after each trial
    queue: list[TrialTraining] = field(default_factory=list)  # that have not begun
    trials: list[Trial] = field(default_factory=list)  # that have started, and perhaps ended
    statistics: Statistics = field(default_factory=dict)

    def run(self) -> None:
        """Search until every study has its trials, time is over, or it is stopped; what is under way then is to be tried again."""
        try:
            while not self.stop.wanted and (self.queue or self._ask() or self._others()):
                if self.queue:
                    self._train()
        finally:
            with suppress(StudiesUnreachable), self.lock.held():
                for trial in self.trials:
                    if not trial.over:
                        trial.study.give_up(trial.asked)

    def _others(self) -> bool:
        """Wait a little for trials of other processes; False when there are none. Those of a process that is gone are tried again."""
        with self.lock.held():
            if sum(study.recover() for study in self.studies):
                return True
        if not any(study.running for study in self.studies):
            return False
        time.sleep(SECONDS_BETWEEN_LOOKS)
        self.told()
        return True

    def _train(self) -> None:
        """Train what waits, from the first on: with others of its shape as a stack, or its whole trial in turns."""
        first = self.queue[0]
        size = self._size(first)
        if size == 1:
            trainings = first.trial.trainings
            self.queue = [training for training in self.queue if training not in trainings]
            self._in_turns(trainings)
            return
        shape = shape_of(first.config), id(first.trainer.clips)
        run_together(
            self._take(shape, size),
            stop=self.stop,
            places=size,
            refill=lambda places: self._take(shape, places, beside=size - places),
            on_end=self._ended,
            on_error=self._failed,
        )

    def _take(self, shape: object, places: int, *, beside: int = 0) -> list[TrialTraining]:
        """Take trainings of a shape from the queue, asking for more trials while there are too few."""
        while not self.stop.wanted:
            self.queue = [training for training in self.queue if not training.ended]
            fitting = [one for one in self.queue if (shape_of(one.config), id(one.trainer.clips)) == shape]
            if len(fitting) >= places or len(self.queue) - len(fitting) > 2 * places or not self._ask():
                break
        taken = fitting[:places] if not self.stop.wanted else []
        self.queue = [training for training in self.queue if training not in taken]
        for training in taken:
            training.trial.together = max(training.trial.together, beside + len(taken))
        return taken

    def _in_turns(self, trainings: Sequence[TrialTraining]) -> None:
        """Train the inner folds of a trial an epoch at a time, so that it can be pruned."""
        while not self.stop.wanted and not all(training.ended for training in trainings):
            for training in trainings:
                if not training.ended:
                    try:
                        training.advance()
                    except EstError as error:
                        self._failed(training, error)
                if self.stop.wanted:
                    return
        for training in trainings:
            self._ended(training)

    def _ended(self, training: Training) -> None:
        """End a trial with its last training."""
        assert isinstance(training, TrialTraining)
        trial = training.trial
        if trial.done and not trial.over:
            with self.lock.held():
                keep_best(self.out, trial, self.config.keep)
                trial.end("complete")
        self.told()

    def _failed(self, training: Training, error: EstError) -> None:
        assert isinstance(training, TrialTraining)
        if isinstance(error, StudiesUnreachable):
            raise error
        training.trial.fail(error)
        self.told()

    def _ask(self) -> bool:
        """Begin a trial, of the study that has started the fewest; False when none may begin."""
        with self.lock.held():
            open_studies = [study for study in self.studies if self._may_begin(study)]
            if not open_studies:
                return False
            study = min(open_studies, key=lambda one: one.begun)
            asked, values = study.ask()
        try:
            self._begin(study, asked, values)
        except StudiesUnreachable:
            raise
        except EstError as error:
            study.tell(asked, "failed", error=error.message)
            self.told()
        return True

    def _begin(self, study: Study, asked: Asked, values: dict[str, Any]) -> None:
        """Put the trainings of a trial into the queue; the control is tried at once."""
        if study.control:
            data = self.ground.data(self.ground.base, study.fold)
            try_control(study, asked, values, self.ground.parts(study.fold), data, self.config.objective)
            self.told()
            return
        config = replace(self.space.configure(self.ground.base, values), seeds=self.ground.base.seeds)
        parts = self.ground.parts(study.fold)
        data = self.ground.data(config, study.fold)
        for part in parts:
            data.expect_enough(part, config.loop.batch)
        trial = begin_trial(
            study,
            asked,
            config,
            [(part, self.ground.inner_config(config, study.fold, place)) for place, part in enumerate(parts)],
            data,
            start=self.ground.start(config),
            objective=self.config.objective,
            device=self.device,
            precision=self.precision,
            stop=self.stop,
            statistics=self.statistics,
            told=self.told,
        )
        self.trials = [one for one in self.trials if not one.over] + [trial]
        self.queue += trial.trainings

    def _may_begin(self, study: Study) -> bool:
        return not self.stop.wanted and time.monotonic() < self.deadline and study.left > 0

    def _size(self, training: TrialTraining) -> int:
        data = training.data
        return num_together(
            training.config,
            width=data.clips.width,
            maps=data.clips.maps,
            num_classes=len(data.labels),
            device=self.device,
            precision=self.precision,
        )[0]
