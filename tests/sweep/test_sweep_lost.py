"""Trials whose process is gone, and studies of an earlier release."""

from __future__ import annotations

import json
import socket

from swept import base_config, folded_cache, rates_space, swept

from est.sweep.search.identity import SETTINGS
from est.sweep.search.settings import SweepConfig
from est.sweep.search.storage import open_storage
from est.sweep.search.study import ATTEMPTS, Study

GONE = f"{socket.gethostname()}|999999999|0|0"


def opened(folder, worker):
    how = {"facts": {}, "fold": "fold0", "control": False, "space": rates_space(), "worker": worker, "shared": False}
    return Study.open(open_storage(folder), "sweep", "fold0", config=SweepConfig(trials=2), **how)


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
