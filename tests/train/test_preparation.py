"""Rows are loaded once for many trainings, each of which is what it would have been alone."""

from __future__ import annotations

import pytest
from refusals import differs
from train_samples import learning_cache, outcome, tiny_config

from est.errors import UsageError
from est.train import ProtocolConfig, TrainingWatch, fit, prepare
from est.train.data.data import Data


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("prepared") / "c.zarr", 36)


def test_trainings_on_prepared_rows_are_those_of_the_cache(cache, tmp_path, monkeypatch):
    configs = [tiny_config(epochs=2, learning_rate=rate, seeds=(3, 4)) for rate in (1e-3, 3e-3)]
    for number, config in enumerate(configs):
        fit(cache, tmp_path / f"alone{number}", config)
    loads, load = [], Data.load
    monkeypatch.setattr(Data, "load", lambda *args, **rest: loads.append(args) or load(*args, **rest))
    ready = prepare(cache, configs[0])
    for number, config in enumerate(configs):
        fit(ready, tmp_path / f"together{number}", config)
        assert outcome(tmp_path / f"together{number}") == outcome(tmp_path / f"alone{number}")
    assert len(loads) == 1
    fit(ready, tmp_path / "default")
    assert outcome(tmp_path / "default") == outcome(tmp_path / "alone0"), "the configuration that it was prepared by"


def test_a_run_resumes_on_prepared_rows(cache, tmp_path):
    class Impatient(TrainingWatch):
        def epoch(self, part, record):
            raise KeyboardInterrupt

    config = tiny_config(epochs=2)
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", config, watch=Impatient())
    fit(prepare(cache, config), tmp_path / "run", resume=True)
    fit(cache, tmp_path / "whole", config)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"mirrored": True}, differs("data.mirrored", False, True)),
        ({"select": "val"}, differs("a validation part", False, True)),
        ({"seeds": (9,)}, differs("the first seed", 3456, 9)),
        ({"control": False}, differs("control", True, False)),
        ({"protocol": ProtocolConfig(kind="holdout")}, differs("protocol.kind", "auto", "holdout")),
        ({"residency": "stream"}, differs("data.residency", "auto", "stream")),
    ],
)
def test_settings_that_read_other_rows_are_refused(cache, tmp_path, other, what):
    with pytest.raises(UsageError, match=what):
        fit(prepare(cache, tiny_config()), tmp_path / "run", tiny_config(**other))
    assert not (tmp_path / "run").exists()
