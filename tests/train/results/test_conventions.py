"""The conventions of the field, on counts whose scores are known."""

from __future__ import annotations

import numpy as np
import pytest

from est.train.results.conventions import conventions
from est.train.results.predictions import Predictions


def folds_of_unequal_size():
    """Return fold1: 5 and 3 clips, one of the latter wrong; fold2: 2 clips of one class, all wrong."""
    truth = np.array([0, 0, 0, 0, 0, 1, 1, 1, 0, 0])
    predicted = truth.copy()
    predicted[7:] = [0, 1, 1]
    return Predictions(
        labels=("a", "b"),
        seeds=(1,),
        ids=np.array([f"c{n}" for n in range(10)]),
        subjects=np.array([f"P{n}" for n in range(10)]),
        folds=np.array(["fold1"] * 8 + ["fold2"] * 2),
        truth=truth,
        predicted=predicted[None],
    )


PARTS = [
    {"part": "fold1", "oracle": {"right": 7, "total": 8, "epoch": 3}},
    {"part": "fold2", "oracle": {"right": 1, "total": 2, "epoch": 1}},
]
HISTORIES = {
    "fold1": [{"epoch": 1}, {"epoch": 3, "test_right": 7, "test_uar": 5 / 6}],
    "fold2": [{"epoch": 1, "test_right": 1, "test_uar": 0.5}, {"epoch": 2, "test_right": 0, "test_uar": 0.0}],
}


def test_each_convention_has_its_own_numbers():
    pooled, mean, oracle = conventions(folds_of_unequal_size(), PARTS, HISTORIES)
    assert (pooled.name, pooled.war, pooled.uar) == ("pooled", 0.7, pytest.approx((5 / 7 + 2 / 3) / 2))
    assert (mean.name, mean.war, mean.uar) == ("mean_of_folds", 7 / 16, pytest.approx(5 / 12))
    assert (oracle.name, oracle.war, oracle.uar) == ("oracle", 11 / 16, pytest.approx(2 / 3))
    for one in (pooled, mean, oracle):
        assert one.what.endswith(".")
        assert one.to_json()["name"] == one.name


@pytest.mark.parametrize("parts", [[{"part": "fold1"}, PARTS[1]], [{"part": "fold1"}, {"part": "fold2"}]])
def test_without_tested_epochs_there_is_no_oracle(parts):
    assert [one.name for one in conventions(folds_of_unequal_size(), parts, HISTORIES)] == ["pooled", "mean_of_folds"]
