"""Trials as data: the best of them, their table, what the terminal shows, and which settings matter."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from dataclasses import replace

import pytest
from sweep_samples import DEGENERATE, HOSTILE, searched, study_of, sweep_of, trial

from est.errors import EstError
from est.sweep.found.importance import compared, importances, left_out, mean_importances, why_none
from est.sweep.found.record import Sweep
from est.sweep.found.table import lines, trials_csv


def test_the_best_has_the_highest_value_then_the_lowest_loss_then_the_lowest_number():
    records = [
        trial(0, 0.6, loss=0.1),
        trial(1, 0.7, loss=0.9),
        trial(2, 0.7, loss=None),
        trial(3, 0.7, loss=0.8),
        trial(4, 0.7, loss=0.8),
        trial(5, 0.9, "pruned", loss=0.0),
        trial(6, math.nan),
    ]
    assert study_of(*records).best.number == 3
    assert study_of(*reversed(records)).best.number == 3
    assert study_of(records[2], records[6]).best.number == 2
    assert study_of(records[5], records[6]).best is None


def test_counts_and_pace():
    study = study_of(
        *(trial(n, together=4) for n in range(4)),
        trial(4, 0.1, "pruned"),
        trial(5, None, "failed"),
        trial(6, None, "running"),
    )
    assert (study.complete, study.pruned, study.failed, study.running) == (4, 1, 1, 1)
    assert study.seconds == pytest.approx(7 * 10)
    assert study.per_minute == pytest.approx(6 * 60 / 70)
    assert study_of().per_minute is None


def test_json_round_trip():
    found = sweep_of(
        searched(),
        searched(control=True, seed=1),
        study_of(trial(0, values={"a": [1, 2], "b": None, "c": True}, curve=((1, 0.5),), error=HOSTILE), name="fold2"),
        retrained={"folds": {"fold1": {"right": 3, "total": 5, "uar": 0.5, "war": 0.6}}, "seeds": [1, 2]},
        notes=("one",),
    )
    text = json.dumps(found.to_json(), allow_nan=False)
    assert Sweep.from_json(json.loads(text)) == found
    assert json.loads(text)["studies"][1]["records"][0]["values"]["loop.batch"] in (8, 16, 32)


def test_numbers_that_json_lacks_become_none():
    data = sweep_of(study_of(trial(0, math.nan, loss=math.inf, curve=((1, math.nan),)))).to_json()
    back = Sweep.from_json(json.loads(json.dumps(data, allow_nan=False)))
    record = back.studies[0].records[0]
    assert (record.value, record.loss) == (None, None)
    assert math.isnan(record.curve[0][1])


@pytest.mark.parametrize("change", [{"format": "est-audit"}, {"version": 2}])
def test_other_files_are_refused(change):
    with pytest.raises(EstError, match=r"no sweep|version 2"):
        Sweep.from_json(sweep_of().to_json() | change)


def test_csv_round_trip():
    sweep = sweep_of(
        searched(number=6),
        study_of(
            trial(0, None, "failed", error=f"{HOSTILE},\nsecond line", values={"c": None, "d": True}), control=True
        ),
    )
    rows = list(csv.DictReader(io.StringIO(trials_csv(sweep), newline="")))
    assert len(rows) == 7
    for row, record in zip(rows, sweep.studies[0].records, strict=False):
        assert (row["study"], row["control"], row["state"]) == ("fold1", "false", "complete")
        assert float(row["value"]) == record.value
        assert float(row["loop.learning_rate"]) == record.values["loop.learning_rate"]
        assert row["model.size"] == str(record.values.get("model.size", ""))
        assert row["c"] == ""
    last = rows[-1]
    assert (last["study"], last["control"], last["value"], last["loss"]) == ("fold1/control", "true", "", "")
    assert last["error"] == f"{HOSTILE},\nsecond line"
    assert (last["c"], last["d"], last["loop.batch"]) == ("none", "true", "")


def test_the_terminal_shows_what_differs():
    shared = {"loop.batch": 16, "model.name": "est"}
    study = study_of(
        trial(0, 0.61, values=shared | {"rate": 3e-5}),
        trial(1, 0.6543, values=shared | {"rate": 0.002, "extra": "x"}, curve=((4, 0.6543),)),
        trial(2, 0.2, "pruned", values=shared | {"rate": 0.5}),
    )
    heading, header, row, last = lines(sweep_of(study, seconds=60.0))
    assert heading == "Nested search"
    assert re.sub(r" +", " ", row) == " fold1 65.43 % 2 complete, 1 pruned 6.0 rate 0.002"
    assert header.index("settings") == row.index("rate")
    assert last == "  3 trials in 60 s, 3.0 per minute"
    assert "no complete trial" in lines(sweep_of(DEGENERATE["all failed"]))[2]


@pytest.fixture
def without_sklearn(monkeypatch):
    """Import Optuna as if scikit-learn were not installed: it is not needed, and takes seconds to import."""
    if "optuna.importance" not in sys.modules:
        monkeypatch.setitem(sys.modules, "sklearn", None)


def test_the_setting_that_decides_is_found(without_sklearn, capfd):
    study = searched(number=60)
    found = importances(study)
    assert next(iter(found)) == "loop.learning_rate"
    assert found["loop.learning_rate"] > 0.8
    assert sum(found.values()) == pytest.approx(1)
    assert set(found) == {"loop.learning_rate", "loop.batch", "model.name"} == set(compared(study))
    assert left_out(study) == ("model.size",)
    other = study_of(*(replace(one, value=one.values["loop.batch"] / 100) for one in study.records))
    assert next(iter(importances(other))) == "loop.batch"  # the values decide, not the names
    mean = mean_importances([study, other, study_of()])
    assert mean["loop.learning_rate"] == pytest.approx(
        (found["loop.learning_rate"] + importances(other)["loop.learning_rate"]) / 2
    )
    assert capfd.readouterr() == ("", "")


def test_few_different_values_have_importances(without_sklearn):
    values = [0.5] * 11 + [0.6]  # all but one are equally good: these are not the best
    found = importances(study_of(*(trial(n, value, values={"a": value, "b": n % 2}) for n, value in enumerate(values))))
    assert found["a"] > found["b"]


def test_why_there_are_no_importances():
    assert why_none(searched(number=9)) == "9 complete trials, and importances need 10"
    assert "the same value" in why_none(DEGENERATE["all equal"])
    assert "differs" in why_none(study_of(*(trial(n, 0.1 * n, values={"a": 1}) for n in range(10))))
    assert mean_importances([searched(number=9), study_of()]) is None
    assert why_none(searched(number=10)) == ""
