"""A trial: one configuration, trained on each inner fold of an outer fold's training half, and scored by the inner validation clips.

The value of an epoch is the score of the clips of all inner folds together, each predicted by the model that has not learnt from it. That
of the trial is the value of its last epoch: no epoch is chosen, so that a training on the whole half can be as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...cache.interrupt import Stop
from ...encoders.precision import Precision
from ...errors import EstError
from ...train.config.config import TrainConfig
from ...train.data.data import Data
from ...train.folds.fold import Fold
from ...train.loop.starts.initial_weights import Start
from ...train.loop.training import Training, loss_of
from ...train.loop.watch import Part, TrainingWatch
from ...train.results.metrics import score
from ..found.record import Record, State
from .settings import Objective
from .study import TENTHS, Study

if TYPE_CHECKING:
    from optuna.trial import Trial as Asked

# By the identity of data and by part: what features are scaled by, which is the same for every trial that reads them.
Statistics = dict[tuple[int, str], tuple[Tensor, Tensor]]


class TrialTraining(Training):
    """The training of a trial on one inner fold: nothing of it is saved, and it ends when its trial is over."""

    trial: Trial

    def __init__(self, *args: Any, statistics: Statistics, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._statistics = statistics

    def begin(self) -> None:
        """Set the model up."""
        if not self.config.data.scaling:
            return
        key = id(self.data), self.part.name
        if key in self._statistics:
            for model in (self.model, self.trainer.scored):
                model.scaling.fit(*self._statistics[key])
            return
        self.fit_scaling()
        self._statistics[key] = self.model.scaling.mean.clone(), self.model.scaling.std.clone()

    @property
    def ended(self) -> bool:
        """Return whether no step is left to take."""
        return super().ended or self.trial.over

    @property
    def spent(self) -> float:
        """Return the seconds of its steps, of a stack its share."""
        return self.seconds + sum(record["seconds"] for record in self.history)

    def end_epoch(self, record: dict[str, Any]) -> None:
        """Score the epoch on the inner validation clips, and tell the trial."""
        super().end_epoch(record)
        predicted, probabilities = self.latest["val"]
        self.trial.note(self, self.epoch + 1, predicted, probabilities)

    def _is_best(self, right: int, loss: float) -> bool:
        """Choose no epoch."""
        return False

    @property
    def due(self) -> float:
        """Return when the next checkpoint is due: never."""
        return math.inf

    def keep(self) -> None:
        """Keep nothing: a trial that is interrupted is tried again."""

    def save(self) -> None:
        """Keep nothing."""


@dataclass(kw_only=True, eq=False)
class Trial:
    """A configuration under trial."""

    study: Study
    asked: Asked
    config: TrainConfig
    objective: Objective
    trainings: list[TrialTraining] = field(default_factory=list)
    told: Callable[[], None] = lambda: None  # after each epoch
    over: bool = False  # pruned or failed
    together: int = 1  # the most trainings that took their steps beside one of these
    _said: dict[int, dict[int, tuple[np.ndarray, np.ndarray]]] = field(
        default_factory=dict
    )  # epoch → inner fold → predicted
    _tenth: int = 0  # of the training, whose value the study knows
    _value: float | None = None
    _loss: float | None = None

    def note(self, training: TrialTraining, epoch: int, predicted: np.ndarray, probabilities: np.ndarray) -> None:
        """Take what an inner fold says after an epoch; with that of the last one, tell the study."""
        self.study.give_sign()
        self.told()
        said = self._said.setdefault(epoch, {})
        said[self.trainings.index(training)] = predicted, probabilities
        if len(said) < len(self.trainings):
            return
        del self._said[epoch]
        order = range(len(self.trainings))
        data = training.data
        truth = np.concatenate([data.truth[one.val] for one in self.trainings])
        scores = score(truth, np.concatenate([said[place][0] for place in order]), data.labels)
        self._value = scores.uar if self.objective == "uar" else scores.war
        self._loss = loss_of(np.concatenate([said[place][1] for place in order]), truth)
        tenth = TENTHS * epoch // self.config.loop.epochs
        if tenth > self._tenth:
            self._tenth = tenth
            if self.study.report(self.asked, tenth, self._value) and tenth < TENTHS:
                self.end("pruned")

    @property
    def done(self) -> bool:
        """Return whether all its trainings are at their ends."""
        return all(training.ended for training in self.trainings)

    @property
    def record(self) -> Record:
        """Return it as it will be when it is complete."""
        return Record(number=self.asked.number, state="complete", value=self._value, loss=self._loss)

    def fail(self, error: EstError) -> None:
        """End it with what went wrong."""
        self.end("failed", error=error.message)

    def end(self, state: State, **facts: Any) -> None:
        """Tell the study how it ended."""
        if self.over:
            return
        self.over = True
        self.study.tell(
            self.asked,
            state,
            self._value if state == "complete" else None,
            loss=self._loss,
            seconds=round(sum(training.spent for training in self.trainings), 3),
            together=self.together,
            **facts,
        )


def begin_trial(
    study: Study,
    asked: Asked,
    config: TrainConfig,
    inner: Sequence[tuple[Fold, TrainConfig]],
    data: Data,
    *,
    start: Start | None,
    objective: Objective,
    device: torch.device,
    precision: Precision,
    stop: Stop,
    statistics: Statistics,
    told: Callable[[], None] = lambda: None,
) -> Trial:
    """Build a trial's trainings, one for each inner fold with the configuration that divides it so."""
    trial = Trial(study=study, asked=asked, config=config, objective=objective, told=told)
    for number, (fold, own) in enumerate(inner):
        part = Part(
            name=f"{fold.name}-inner{number + 1}", fold=fold.name, seed=own.seeds[0], index=number, total=len(inner)
        )
        training = TrialTraining(
            own,
            part,
            fold,
            data,
            device=device,
            precision=precision,
            watch=TrainingWatch(),
            stop=stop,
            start=start,
            statistics=statistics,
        )
        training.trial = trial
        training.begin()
        trial.trainings.append(training)
    trial.study.note(asked, "epochs", config.loop.epochs)
    return trial
