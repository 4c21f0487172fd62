"""`est report RUN RUN`: paired differences, settings that differ, clips that tell runs apart, and runs that cannot be compared."""

from __future__ import annotations

import json
import re
import shutil
from os.path import commonpath

import pytest
from report_samples import KFOLD, expect_accessible
from train_samples import TINY, learning_cache, tiny_config

from est.report.runpage.page import run_page
from est.train import fit, model_config
from est.train.results.compare import compare_runs
from est.train.runs.run import RESULT


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    cache = learning_cache(folder / "c.zarr", 36, strength=0.1)
    for name, model in (("est", TINY), ("gru", model_config("gru", hidden=8))):
        fit(cache, folder / name, tiny_config(epochs=2, seeds=(1, 2), protocol=KFOLD, model=model))
    return folder


def made(paths, out):
    return expect_accessible(run_page(paths, out).read_text(encoding="utf-8"))


def test_runs_are_compared(runs, tmp_path):
    paths = [runs / "est", runs / "gru"]
    page, found = made(paths, tmp_path / "page.html"), compare_runs(paths)
    words = page.words()
    (duel,) = found.duels
    assert duel.war.sentence("EST", "GRU") in words
    for key, (one, other) in found.settings.items():
        assert f"{key}{one}{other}" in words.replace(" ", "")
    (data,) = [json.loads(one.text) for one in page.all("script") if one.attributes.get("type") == "application/json"]
    right = [one.predictions.right.mean(axis=0) for one in found.contestants]
    assert len(data["columns"][0]["values"]) == int((right[0] != right[1]).sum()) > 0
    titles = {one.text for one in page.all("title")}
    assert {"EST − GRU", "WAR on test halves (never used to choose)", "WAR in training"} <= titles


def test_a_run_that_is_not_complete_is_shown_and_not_compared(runs, tmp_path):
    shutil.copytree(runs / "gru", tmp_path / "half")
    next((tmp_path / "half").rglob(RESULT)).unlink()
    words = made([runs / "est", tmp_path / "half"], tmp_path / "page.html").words()
    half = (tmp_path / "half").relative_to(commonpath([runs, tmp_path]))  # folders that all runs share are left out
    assert f"{half} is not compared. This run is not complete: 3 of 4 parts trained and scored." in words
    assert f"est train --resume --out {half}" in words
    assert "Paired differences" not in words
    assert "Learning curves" in words
    words = made([runs / "est", tmp_path / "half", runs / "gru"], tmp_path / "three.html").words()
    half = (tmp_path / "half").relative_to(commonpath([runs, tmp_path]))  # folders that all runs share are left out
    assert f"{half} is not compared." in words
    assert compare_runs([runs / "est", runs / "gru"]).duels[0].war.sentence("EST", "GRU") in words


def test_runs_of_other_classes_are_shown_and_not_compared(runs, tmp_path):
    cache = learning_cache(tmp_path / "two.zarr", 36, labels=("anger", "joy"))
    fit(cache, tmp_path / "two", tiny_config(epochs=1, seeds=(1,), protocol=KFOLD))
    words = made([runs / "est", tmp_path / "two"], tmp_path / "page.html").words()
    assert "These runs cannot be compared clip by clip: est tells" in words
    assert "Paired differences" not in words


def test_runs_of_other_clips_are_compared_on_those_in_common(runs, tmp_path):
    cache = learning_cache(tmp_path / "c.zarr", [n for n in range(36) if n not in (5, 6)], strength=0.1)
    fit(cache, tmp_path / "fewer", tiny_config(epochs=1, seeds=(1,), protocol=KFOLD))
    words = made([runs / "est", tmp_path / "fewer"], tmp_path / "page.html").words()
    assert "compared on the 34 clips that all tested" in words
    assert re.search(r"tested 2 clips that others have not: clip005(,| and) clip006", words)
