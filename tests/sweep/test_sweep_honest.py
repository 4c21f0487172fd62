"""What a study chooses does not depend on its test half: neither on its labels nor on its features, to the last bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from swept import CLIPS, FOLDED, RATES, base_config, essence, folded_cache, journal_lines, rates_space, swept
from train_samples import LABELS

from est.cache import open_cache
from est.sweep.search.ground import Ground
from est.sweep.search.sweeping import own_base

TESTED = {f"fold{number}": [i for i in range(CLIPS) if FOLDED[i]["fold"] == number] for number in (0, 1)}
HOW = {"base": base_config(scaling=True), "space": rates_space(loop={"learning_rate": RATES, "epochs": [2, 3]})}


def poisoned_cache(path, numbers, what):
    """Write the cache with other labels, or with features a thousand times as large, of some clips."""
    special = {
        "labels": lambda index: {"label": LABELS[(index + 1) % len(LABELS)]},
        "features": lambda index: {"strength": -50.0, "person_strength": 1000.0},
    }[what]
    return folded_cache(path, fields={index: special(index) for index in numbers})


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("honest")
    return swept(folded_cache(folder / "cache.zarr"), folder / "sweep", **HOW)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return folded_cache(tmp_path_factory.mktemp("read") / "cache.zarr")


def results(out, fold):
    """Return a fold's configurations and checkpoints, to the byte."""
    paths = [*out.glob(f"best/{fold}-*.toml"), *out.glob(f"kept/{fold}/*")]
    assert len(paths) == 4
    return {path.relative_to(out): path.read_bytes() for path in paths}


@pytest.mark.parametrize("what", ["labels", "features"])
@pytest.mark.parametrize("fold", ["fold0", "fold1"])
def test_a_study_does_not_depend_on_its_test_half(clean, tmp_path, fold, what):
    cache = poisoned_cache(tmp_path / "cache.zarr", TESTED[fold], what)
    found = swept(cache, tmp_path / "sweep", **HOW)
    for control in (False, True):
        then, now = clean.study(fold, control=control), found.study(fold, control=control)
        assert essence(now) == essence(then)
        assert [record.state for record in now.records] == ["complete"] * 2
        assert now.best.values == then.best.values
    other = next(name for name in TESTED if name != fold)  # it learns from what was poisoned
    for control in (False, True):
        assert essence(found.study(other, control=control)) != essence(clean.study(other, control=control))


def test_configurations_and_models_do_not_either(tmp_path):
    with_labels = poisoned_cache(tmp_path / "labels.zarr", TESTED["fold0"], "labels")
    swept(folded_cache(tmp_path / "clean.zarr"), tmp_path / "one", control=False, **HOW)
    swept(with_labels, tmp_path / "other", control=False, **HOW)
    assert results(tmp_path / "one", "fold0") == results(tmp_path / "other", "fold0")
    assert results(tmp_path / "one", "fold1") != results(tmp_path / "other", "fold1")


def test_a_study_depends_on_its_inner_validation_clips(clean, tmp_path):
    ground = Ground.prepare(open_cache(folded_cache(tmp_path / "read.zarr")), own_base(base_config()), 2)
    chosen_by = {ground.table.ids[row] for row in ground.parts("fold0")[0].val}
    numbers = [index for index in range(CLIPS) if f"clip{index:03d}" in chosen_by]
    assert 0 < len(numbers) < CLIPS - len(TESTED["fold0"])
    cache = poisoned_cache(tmp_path / "cache.zarr", numbers, "labels")
    found = swept(cache, tmp_path / "sweep", **HOW)
    for control in (False, True):
        then, now = clean.study("fold0", control=control), found.study("fold0", control=control)
        assert all(one.loss != other.loss for one, other in zip(now.records, then.records, strict=True))


def test_a_study_is_given_no_label_of_its_test_half(cache):
    ground = Ground.prepare(open_cache(cache), own_base(base_config()), 2)
    for fold, numbers in TESTED.items():
        data = ground.data(ground.base, fold)
        test = ground.outer(fold).test
        assert sorted(data.table.ids[test]) == [f"clip{index:03d}" for index in numbers]
        assert (data.truth[test] == -1).all()
        assert (data.target.numpy()[data.place[test]] == -1).all()
        learnt = ground.outer(fold).train
        assert (data.truth[learnt] >= 0).all()
        assert (data.target.numpy()[data.place[learnt]] == data.truth[learnt]).all()
        for part in ground.parts(fold):
            assert len(part.test) == 0
            assert not np.isin([*part.train, *part.val], test).any()
            assert sorted([*part.train, *part.val]) == learnt.tolist()
        validated = np.concatenate([part.val for part in ground.parts(fold)])
        assert sorted(validated) == learnt.tolist()  # each clip once
        assert set(data.table.subject[ground.parts(fold)[0].val]).isdisjoint(
            data.table.subject[ground.parts(fold)[0].train]
        )


def test_how_many_clips_are_never_read_is_recorded(cache, tmp_path):
    found = swept(cache, tmp_path / "sweep", trials=1)
    for study in found.studies:
        assert study.tested == len(TESTED[study.fold])
        assert study.chosen_by == CLIPS - study.tested
    said = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [study["tested"] for study in said["studies"]] == [len(TESTED["fold0"])] * 2 + [len(TESTED["fold1"])] * 2
    attributes = [line["user_attr"] for line in journal_lines(tmp_path / "sweep") if "user_attr" in line]
    assert {"never read": {fold: len(numbers) for fold, numbers in TESTED.items()}} in attributes
