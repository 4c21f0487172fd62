"""The search of one process: trials begun where there is room, trained as stacks of one shape where that is faster, and told their studies.

Several processes can search the same studies. A trial that fails is recorded, and the search goes on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from ...cache.interrupt import Stop
from ...encoders.precision import Precision
from ...errors import EstError
from ...train.config.config import TrainConfig
from ...train.data.data import Data
from ...train.loop.stacking import num_together, shape_of
from ...train.loop.together import run_together
from ...train.loop.training import Training
from ..space.space import Space
from .control import try_control
from .ground import Ground
from .keeping import keep_best
from .settings import SweepConfig
from .storage import LOCK, KernelLock
from .study import Study
from .trial import Statistics, TrialTraining, begin_trial


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
    deadline: float = math.inf  # by time.monotonic(): no trial begins later
    told: Callable[[], None] = lambda: None  # after each trial
    queue: list[TrialTraining] = field(default_factory=list)  # that have not begun
    statistics: Statistics = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lock = KernelLock(self.out / LOCK)

    def run(self) -> None:
        """Search until every study has its trials, time is over, or somebody stops it."""
        for study in self.studies:
            while study.control and self._may_begin(study):
                try_control(study, self.ground.parts(study.fold), self._data(study), self.config.objective)
                self.told()
        while not self.stop.wanted and (self.queue or self._ask()):
            if self.queue:
                self._train()

    def _train(self) -> None:
        """Train what waits, from the first on: with others of its shape as a stack, or its whole trial in turns."""
        first = self.queue[0]
        size = self._size(first.config)
        if size == 1:
            trainings = first.trial.trainings
            self.queue = [training for training in self.queue if training not in trainings]
            self._in_turns(trainings)
            return
        shape = shape_of(first.config), id(first.trainer.clips)
        run_together(
            self._take(shape, size),
            stop=self.stop,
            refill=lambda places: self._take(shape, places),
            on_end=self._ended,
            on_error=self._failed,
        )

    def _take(self, shape: object, places: int) -> list[TrialTraining]:
        """Take trainings of a shape from the queue, asking for more trials while there are too few."""
        while not self.stop.wanted:
            self.queue = [training for training in self.queue if not training.ended]
            fitting = [one for one in self.queue if (shape_of(one.config), id(one.trainer.clips)) == shape]
            if len(fitting) >= places or len(self.queue) - len(fitting) > 2 * places or not self._ask():
                break
        taken = fitting[:places] if not self.stop.wanted else []
        self.queue = [training for training in self.queue if training not in taken]
        for training in taken:
            training.trial.together = max(training.trial.together, len(taken))
        return taken

    def _in_turns(self, trainings: Sequence[TrialTraining]) -> None:
        """Train the inner folds of a trial an epoch at a time, so that it can be pruned."""
        while not self.stop.wanted and not all(training.ended for training in trainings):
            for training in trainings:
                if not training.ended:
                    try:
                        training.advance()
                    except EstError as error:
                        training.trial.fail(error)
                if self.stop.wanted:
                    return
        for training in trainings:
            self._ended(training)

    def _ended(self, training: Training) -> None:
        """End a trial with its last training."""
        assert isinstance(training, TrialTraining)
        trial = training.trial
        if trial.done and not trial.over:
            trial.end("complete")
            keep_best(self.out, trial, self.config.keep)
        self.told()

    def _failed(self, training: Training, error: EstError) -> None:
        assert isinstance(training, TrialTraining)
        training.trial.fail(error)
        self.told()

    def _ask(self) -> bool:
        """Begin a trial, of the study that has begun the fewest; False when none may begin."""
        with self.lock.held():
            open_studies = [study for study in self.studies if not study.control and self._may_begin(study)]
            if not open_studies:
                return False
            study = min(open_studies, key=lambda one: one.begun)
            asked, values = study.ask()
        try:
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
                objective=self.config.objective,
                device=self.device,
                precision=self.precision,
                stop=self.stop,
                statistics=self.statistics,
            )
        except EstError as error:
            study.tell(asked, "failed", error=error.message)
            self.told()
            return True
        self.queue += trial.trainings
        return True

    def _may_begin(self, study: Study) -> bool:
        return not self.stop.wanted and time.monotonic() < self.deadline and study.left > 0

    def _data(self, study: Study) -> Data:
        return self.ground.data(self.ground.base, study.fold)

    def _size(self, config: TrainConfig) -> int:
        data = self.ground.ready.data
        return num_together(
            config,
            width=data.clips.width,
            num_classes=len(data.labels),
            device=self.device,
            precision=self.precision,
        )[0]
