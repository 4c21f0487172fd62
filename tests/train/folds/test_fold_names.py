"""Folds by name, and by the number at the end of their name."""

from __future__ import annotations

import pytest

from est.errors import UsageError
from est.train.config.protocol import ProtocolConfig
from est.train.folds.annotations import Annotations
from est.train.folds.protocols import fold_named, plan_folds


def test_a_fold_may_be_named_by_its_number_where_that_is_one_fold():
    names = [f"fold{number}" for number in range(1, 11)]
    assert fold_named("1", names) == "fold1", "and not fold10"
    assert fold_named("1", ["fold1", "part1"]) == "1", "which of them?"
    assert fold_named("1", ["1", "fold1"]) == "1"


def test_the_plan_takes_it():
    numbers = range(12)
    table = Annotations.from_columns(
        ids=[f"clip{n}" for n in numbers],
        label=["happy" if n % 2 else "sad" for n in numbers],
        labels=("happy", "sad"),
        subject=[f"s{n // 2}" for n in numbers],
        fold=[n // 2 % 3 + 1 for n in numbers],
    )
    found = plan_folds(table, ProtocolConfig(only=("2",)), seed=0, validation=False)
    assert [fold.name for fold in found.folds] == ["fold2"]
    with pytest.raises(UsageError, match="no fold '7'"):
        plan_folds(table, ProtocolConfig(only=("7",)), seed=0, validation=False)
