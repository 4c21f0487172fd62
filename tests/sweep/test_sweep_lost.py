"""Trials whose process is gone, and studies of an earlier release."""

from __future__ import annotations

import json
import os
import socket
from types import SimpleNamespace

import pytest
from swept import base_config, folded_cache, rates_space, swept

from est.errors import EstError
from est.sweep.found.record import Record
from est.sweep.search.identity import SETTINGS
from est.sweep.search.keeping import keep_best
from est.sweep.search.settings import SweepConfig
from est.sweep.search.storage import open_storage
from est.sweep.search.study import ATTEMPTS, Study

GONE = f"{socket.gethostname()}|999999999|0|0"


def opened(folder, worker, config=None):
    how = {"facts": {}, "fold": "fold0", "control": False, "space": rates_space(), "worker": worker, "shared": False}
    return Study.open(open_storage(folder), "sweep", "fold0", config=config or SweepConfig(trials=2), **how)


def test_a_trial_that_loses_its_process_again_and_again_is_failed(tmp_path):
    tried = []
    for attempt in range(ATTEMPTS):
        _, values = opened(tmp_path, GONE).ask()
        tried.append(values)
        assert opened(tmp_path, "another").recover() == 1
        records = opened(tmp_path, "another").records()
        assert [record.state for record in records] == ([] if attempt + 1 < ATTEMPTS else ["failed"])
    assert all(values == tried[0] for values in tried)
    assert "it was killed, perhaps because memory ran out" in records[0].error
    _, values = opened(tmp_path, "another").ask()
    assert values != tried[0]
    assert opened(tmp_path, "another").left == 0


def test_a_point_of_a_grid_is_not_lost_with_a_trial_that_had_drawn_nothing(tmp_path):
    """As a disk that refuses a line of the journal leaves it, or a kill between two lines."""
    study = opened(tmp_path, GONE, SweepConfig(sampler="grid", trials=2))
    study.study.enqueue_trial({"loop.learning_rate": 0.01})
    study.study.ask()
    assert study.recover() == 1
    assert study.ask()[1]["loop.learning_rate"] == 0.01


def test_what_a_trial_could_not_keep_is_removed(tmp_path):
    study = opened(tmp_path, GONE)
    asked, _ = study.ask()
    trial = SimpleNamespace(
        study=study, asked=asked, trainings=(), record=Record(number=0, state="complete", value=0.5)
    )
    left = tmp_path / "kept" / "fold0" / "0000-2.safetensors.partial"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    keep_best(tmp_path, trial, 1)
    assert not left.exists()


def test_studies_that_cannot_be_written_end_a_search_in_a_sentence(tmp_path, monkeypatch):
    study = opened(tmp_path, GONE)
    asked, _ = study.ask()
    monkeypatch.setattr(type(asked), "set_user_attr", lambda *_: os.close(-1))
    with pytest.raises(EstError, match="The studies cannot be written"):
        study.note(asked, "epochs", 3)


def test_a_new_release_finds_the_trials_of_an_earlier_one(tmp_path):
    cache, out = folded_cache(tmp_path / "c.zarr"), tmp_path / "sweep"
    first = swept(cache, out)
    known = json.loads((out / SETTINGS).read_text())
    del known["config"]["loop.stack"]  # a setting that was not there, and has its default
    (out / SETTINGS).write_text(json.dumps(known))
    journal = (out / "studies.journal").read_bytes()
    again = swept(cache, out, base=base_config())
    assert (out / "studies.journal").read_bytes() == journal
    assert [study.records for study in again.studies] == [study.records for study in first.studies]
