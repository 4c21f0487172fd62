"""A space may vary losses: trials of one shape are stacked, and score as alone; the votes are those of the whole sweep."""

from __future__ import annotations

import pytest
from swept import base_config, folded_cache, rates_space, swept

from est.errors import UsageError
from est.sweep.space.tables import read_space
from est.train import ProtocolConfig

ONE = ProtocolConfig(only=("fold0",))
LOSSES = {"contrastive": [0.1, 1.0], "temperature": [0.1, 0.5], "focal": [1.0, 2.0], "centre": 0.1}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return folded_cache(tmp_path_factory.mktemp("losses") / "cache.zarr")


def test_losses_are_drawn_and_stacked(cache, tmp_path):
    found = {}
    for stack in ("on", "off"):
        base = base_config(epochs=2, protocol=ONE, stack=stack)
        how = {"base": base, "space": rates_space(base, loss=LOSSES), "sampler": "grid", "trials": 8, "control": False}
        (study,) = swept(cache, tmp_path / stack, **how).studies
        found[stack] = {tuple(sorted(record.values.items())): record for record in study.records}
        assert {record.state for record in study.records} <= {"complete", "pruned"}
    assert found["on"].keys() == found["off"].keys()
    assert len(found["on"]) == 8
    assert len({record.loss for record in found["on"].values()}) == 8
    for point, record in found["on"].items():
        assert record.loss == pytest.approx(found["off"][point].loss, rel=1e-3)


def test_votes_are_no_setting_of_a_space(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text('[data]\nvotes = ["a.csv", "b.csv"]\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"data\.votes cannot be in a search space"):
        read_space(path, model="gru")
