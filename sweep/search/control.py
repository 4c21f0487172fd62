"""The search for the control: as many trials as the model has, on the same inner folds.

What can be chosen of pooled statistics and a linear classifier is how far weights are held back, and which statistics are read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...train.data.control import L2, STATISTICS, fit_control, fitted_on
from ...train.data.data import Data
from ...train.folds.fold import Fold
from ...train.loop.predict import likeliest
from ...train.loop.training import loss_of
from ...train.results.metrics import score
from ..space.setting import Setting
from ..space.space import Space
from .settings import Objective
from .study import Study

if TYPE_CHECKING:
    from optuna.trial import Trial as Asked

WEIGHT, READS = "control.l2", "control.statistics"
CHOICES = {
    "all": STATISTICS,
    "mean": ("mean",),
    "mean and deviation": ("mean", "deviation"),
    "mean and range": ("mean", "minimum", "maximum"),
}
DEFAULT = {WEIGHT: L2, READS: "all"}


class ControlSpace(Space):
    """What is searched for the control; its keys are no configuration's."""

    def __post_init__(self) -> None:
        """Take the settings as they are."""

    def walk(self, pick: Any, model: str | None = None) -> dict[str, Any]:
        """Return the values of a point."""
        return {setting.key: setting.settled(pick(setting)) for setting in self.settings}


def control_space() -> ControlSpace:
    """Return what is searched for the control."""
    return ControlSpace(
        settings=(
            Setting(key=WEIGHT, low=1e-4, high=100.0, log=True),
            Setting(key=READS, choices=tuple(CHOICES)),
        )
    )


def try_control(
    study: Study, asked: Asked, values: Mapping[str, Any], inner: Sequence[Fold], data: Data, objective: Objective
) -> None:
    """Try the control with the settings that were asked for."""
    began = time.monotonic()
    found = [control_probabilities(values, fold.train, fold.val, data) for fold in inner]
    probabilities = np.concatenate(found)
    truth = np.concatenate([data.truth[fold.val] for fold in inner])
    scores = score(truth, likeliest(probabilities), data.labels)
    value = scores.uar if objective == "uar" else scores.war
    study.tell(asked, "complete", value, loss=loss_of(probabilities, truth), seconds=round(time.monotonic() - began, 3))


def control_probabilities(values: Mapping[str, Any], train: np.ndarray, rows: np.ndarray, data: Data) -> np.ndarray:
    """Return what a control with settings says of rows, having learnt from others: NaN where nothing shows a face.  # → (N, C)"""
    assert data.control is not None
    learnt, seen = fitted_on(data.learnt(train)), data.visible(rows)
    columns = columns_of(CHOICES[values[READS]], data.control.shape[1])
    fitted = fit_control(
        data.control[data.place[learnt]][:, columns],
        data.truth[learnt],
        num_classes=len(data.labels),
        l2=values[WEIGHT],
    )
    found = np.full((len(rows), len(data.labels)), np.nan, np.float32)
    blocks = data.control.blocks(data.place[rows[seen]])
    found[seen] = np.concatenate([fitted.predict_proba(block[:, columns]) for block in blocks])
    return found


def columns_of(statistics: Sequence[str], width: int) -> np.ndarray:
    """Return the columns of statistics that are read, of all that a clip has."""
    each = width // len(STATISTICS)
    return np.concatenate([np.arange(each) + each * STATISTICS.index(name) for name in statistics])
