"""What a sweep does with a validation split of the cache, and that test halves are read once."""

from __future__ import annotations

import numpy as np
import pytest
from refusals import differs
from swept import CLIPS, SUBJECTS, base_config, folded_cache, rates_space, swept
from train_samples import learning_cache

from est.errors import UsageError
from est.sweep.search import retraining
from est.sweep.search.sweeping import first_point
from est.sweep.space.built_in import built_in
from est.train import Run, TrainConfig, model_config
from est.train.config.configfile import resolve

SPLIT = ("train", "train", "val", "test")


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    fields = {index: {"split": SPLIT[index // 3 % SUBJECTS % 4]} for index in range(CLIPS)}
    path = tmp_path_factory.mktemp("split") / "c.zarr"
    return learning_cache(path, CLIPS, subjects=SUBJECTS, strength=0.3, fields=fields)


def test_a_validation_split_chooses_alone(split, tmp_path, monkeypatch):
    learnt = []
    fitted = retraining.control_probabilities

    def watched(values, train, rows, data):
        learnt.append(data.table.ids[train].tolist())
        return fitted(values, train, rows, data)

    monkeypatch.setattr(retraining, "control_probabilities", watched)
    found = swept(split, tmp_path / "sweep", inner=0, retrain_seeds=1)
    study = found.study("split")
    held = [SPLIT[index // 3 % SUBJECTS % 4] for index in range(CLIPS)]
    assert (study.learnt, study.chosen_by, study.tested) == tuple(held.count(name) for name in ("train", "val", "test"))
    run = Run.open(tmp_path / "sweep" / "retrained" / "split")
    assert [sorted(one) for one in learnt] == [sorted(run.halves()["split"]["train"])]


def test_inner_folds_beside_a_validation_split_are_refused(split, tmp_path):
    with pytest.raises(UsageError, match="has a validation split") as refused:
        swept(split, tmp_path / "sweep", inner=2)
    assert refused.value.remedy == "leave out --inner, or --protocol kfold"


def test_test_halves_are_read_once(tmp_path):
    cache = folded_cache(tmp_path / "c.zarr")
    out = tmp_path / "sweep"
    first = swept(cache, out, retrain_seeds=1)
    assert swept(cache, out).retrained == first.retrained
    with pytest.raises(UsageError, match=differs("seeds", 1, "1, 2")) as refused:
        swept(cache, out, retrain_seeds=2)
    assert refused.value.remedy.startswith("--seeds 1")
    scores = out / "retrained" / "scores.json"
    scores.write_text(scores.read_text().replace('"control.statistics": "', '"control.statistics": "another '))
    assert "added after the test halves had been read changed fold0/control" in swept(cache, out).retrained["note"]
    with pytest.raises(UsageError, match="test halves have been read for earlier choices"):
        swept(cache, out, retrain_seeds=1)


def test_best_is_a_configuration_for_the_whole_half(tmp_path):
    out = tmp_path / "sweep"
    swept(folded_cache(tmp_path / "c.zarr"), out)
    whole = resolve(None, out / "best" / "fold0.toml")
    part = resolve(None, out / "best" / "fold0-inner2.toml")
    assert (whole.select, whole.protocol.val_part, whole.protocol.only) == ("last", "", ("fold0",))
    assert (part.select, part.protocol.val_part, part.loop.stack) == ("val", "2/2", "off")
    assert whole.loop == part.loop


def test_the_order_of_clips_in_a_cache_changes_nothing(tmp_path):
    order = np.random.default_rng(1).permutation(CLIPS)
    here, there = folded_cache(tmp_path / "a.zarr"), folded_cache(tmp_path / "b.zarr", order=order)
    one, other = swept(here, tmp_path / "one"), swept(there, tmp_path / "other")
    values = [[record.value for study in found.studies for record in study.records] for found in (one, other)]
    assert values[0] == values[1]


def test_a_base_whose_sizes_the_preset_small_cannot_have_is_searched(tmp_path):
    base = TrainConfig(model=model_config("est", dim=384, heads=6))
    assert first_point(built_in(("est",), base, 60), base) is None
    found = swept(
        folded_cache(tmp_path / "c.zarr"), tmp_path / "sweep", base=base_config(control=False), space=rates_space()
    )
    assert found.study("fold0", control=True).best is not None
