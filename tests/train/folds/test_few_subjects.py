"""Fewer subjects than folds: the remedy is one that works."""

from __future__ import annotations

import pytest

from est.errors import UsageError
from est.train import ProtocolConfig
from est.train.folds.annotations import Annotations
from est.train.folds.protocols import plan_folds


def people(num_subjects):
    """Return eighteen clips of each of some subjects, of two classes."""
    number = 18 * num_subjects
    return Annotations.from_columns(
        ids=[f"clip {n:03d}" for n in range(number)],
        label=[("happy", "sad")[n % 2] for n in range(number)],
        labels=("happy", "sad"),
        subject=[f"s{n // 18}" for n in range(number)],
    )


@pytest.mark.parametrize(
    ("subjects", "remedy"),
    [
        (3, "--folds 3"),
        (1, "--by clip, whose result is not independent of the person, or est cache relabel CACHE LIST"),
    ],
)
def test_the_remedy_works(subjects, remedy):
    with pytest.raises(UsageError, match=f"5 folds need 5 subjects, and there are {subjects}") as refused:
        plan_folds(people(subjects), ProtocolConfig(kind="kfold"), seed=0, validation=False)
    assert refused.value.remedy.startswith(remedy)
    more = {"folds": 3} if subjects == 3 else {"by": "clip"}
    assert plan_folds(people(subjects), ProtocolConfig(kind="kfold", **more), seed=0, validation=False).folds
