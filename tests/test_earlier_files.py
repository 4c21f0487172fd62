"""Caches and runs that earlier code has made open, score and resume (tests/fixtures/README.md says what they are)."""

from __future__ import annotations

import csv
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from train_samples import Recorder

from est.cache import convert_cache, merge_caches, open_cache, verify_cache
from est.cli import main
from est.errors import EstError, UsageError
from est.train import Run, evaluate, fit
from est.train.runs.files import read_history
from est.train.runs.run import HISTORY

ARCHIVE = Path(__file__).parent / "fixtures" / "format-1.tar.xz"


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def predictions(path):
    with open(path / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    shares = [[float(value) for name, value in row.items() if name.startswith("p_")] for row in rows]
    return [(row["id"], row["truth"], row["prediction"]) for row in rows], np.array(shares)


@pytest.mark.parametrize("name", ["pictures.zarr", "pictures.h5", "faces.zarr"])
def test_a_cache_opens_and_is_whole(earlier, name):
    assert not verify_cache(earlier / name).problems
    cache = open_cache(earlier / name)
    assert (len(cache), cache.num_frames) == ((2, 257) if name == "faces.zarr" else (24, 144))
    for feature in cache.features:
        assert np.isfinite(cache.load(feature).rows).all()


def test_both_stores_hold_the_same(earlier):
    caches = [open_cache(earlier / f"pictures.{store}") for store in ("zarr", "h5")]
    for feature in ("gap", "gap_flip", "layer3", "layer3_flip"):
        one, other = (cache.load(feature).rows for cache in caches)
        np.testing.assert_array_equal(one, other)
    one, other = (cache.crop_rows(0, 144)[0] for cache in caches)
    np.testing.assert_array_equal(one, other)


def test_a_cache_converts_and_merges(earlier, tmp_path):
    convert_cache(earlier / "pictures.h5", tmp_path / "again.zarr")
    merge_caches([earlier / "pictures.zarr"], tmp_path / "merged.h5")
    for path in (tmp_path / "again.zarr", tmp_path / "merged.h5"):
        assert not verify_cache(path).problems
        np.testing.assert_array_equal(
            open_cache(path).load("gap").rows, open_cache(earlier / "pictures.zarr").load("gap").rows
        )


@pytest.mark.parametrize(
    ("name", "cache"), [("complete", "pictures.zarr"), ("complete", "pictures.h5"), ("ssop", "pictures.h5")]
)
def test_a_run_is_scored_again(earlier, name, cache):
    found = evaluate(earlier / name, earlier / cache, watch=Recorder())
    assert found.own
    told, shares = predictions(earlier / name)
    again = [(row[1], row[3], row[4]) for row in found.rows]
    assert again == told
    np.testing.assert_allclose(np.array([row[5:] for row in found.rows], float), shares, atol=1e-4)


def test_a_run_that_was_interrupted_is_resumed(earlier, tmp_path):
    shutil.copytree(earlier / "unfinished", tmp_path / "run")
    watch = Recorder()
    resumed = fit(earlier / "pictures.zarr", tmp_path / "run", resume=True, watch=watch)
    assert watch.steps == 9  # of sixteen
    (told, shares), (wanted, exact) = predictions(resumed.run.path), predictions(earlier / "undisturbed")
    assert told == wanted
    np.testing.assert_allclose(shares, exact, atol=1e-3)
    fresh = fit(earlier / "pictures.zarr", tmp_path / "fresh", resumed.run.config)
    ours, theirs = (read_history(run.part("holdout") / HISTORY) for run in (resumed.run, fresh.run))
    for one, other in zip(ours, theirs, strict=True):  # sums over an epoch that was started by earlier code
        assert one["train_right"] == other["train_right"]
        assert abs(one["loss"] - other["loss"]) < 1e-3


def test_its_settings_are_settings_still(earlier, tmp_path):
    """`--config` takes the config.toml of an earlier run."""
    call = ["train", "--cache", str(earlier / "pictures.zarr"), "--config", str(earlier / "complete" / "config.toml")]
    with pytest.raises(SystemExit) as done:
        main([*call, "--epochs", "1", "--seeds", "1", "--fold", "fold1", "--out", str(tmp_path / "run"), "--quiet"])
    assert done.value.code == 0
    assert Run.open(tmp_path / "run").config.model == Run.open(earlier / "complete").config.model


def test_a_run_whose_cache_has_moved_names_the_option(earlier):
    for call in (lambda: evaluate(earlier / "complete"), lambda: fit(None, earlier / "unfinished", resume=True)):
        with pytest.raises(UsageError, match=r"The cache of .* was .*pictures\.zarr, and is not there") as refused:
            call()
        assert refused.value.remedy == "--cache names where it is now"


def test_a_run_of_a_model_that_is_not_here_says_so(earlier, tmp_path):
    shutil.copytree(earlier / "complete", tmp_path / "run")
    config = tmp_path / "run" / "config.toml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("[model]", '[model]\nname = "foo"'), encoding="utf-8")
    with pytest.raises(EstError, match="is a run of the model 'foo', which this release does not have; it has est, "):
        Run.open(tmp_path / "run")


def test_an_unfinished_run_is_not_begun_again(earlier):
    with pytest.raises(UsageError, match="exists already") as refused:
        fit(earlier / "pictures.zarr", earlier / "unfinished")
    assert refused.value.remedy.endswith(f"or --resume --out {earlier / 'unfinished'} to resume it")
