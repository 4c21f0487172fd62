"""Every data set the whole way: extracted, trained by its protocol, scored in every fold."""

from __future__ import annotations

import csv

import pytest
from dataset_trees import MAKERS

from est.cache import open_cache
from est.cli import main

EXTRACT = ("--detector", "none", "--weights", "random", "--size", 32, "--precision", "fp32", "--workers", 1)
TINY = (
    "--epochs",
    1,
    "--batch",
    4,
    "--layers",
    1,
    "--snippets",
    2,
    "--frames",
    2,
    "--no-ssop",
    "--set",
    "model.ffn=64",
    "--allow-leak",  # the clips of a tree show the same few pictures
)
FOLDS = {  # that the command names; the others have theirs from the lists
    "bu4dfe": ("--folds", 4), "mmi": ("--folds", 4), "ck+": ("--folds", 2), "ravdess": ("--folds", 6), "crema-d": ("--folds", 5),
}  # fmt: skip
HALVES = ("afew", "ferv39k")
QUICK = ("dfew", "afew", "mmi")  # one of each kind: given folds, given halves, folds that are dealt


def est(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 0


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MAKERS]
)
def test_from_a_tree_to_scores(name, tmp_path):
    cache, run = tmp_path / "cache.zarr", tmp_path / "run"
    est("extract", "--dataset", name, "--root", MAKERS[name](tmp_path / "data"), "--out", cache, *EXTRACT)
    est("train", "--cache", cache, "--out", run, *FOLDS.get(name, ()), *TINY)
    parts = sorted(path.name for path in (run / "parts").iterdir())
    assert parts == (["split"] if name in HALVES else [f"fold{n + 1}" for n in range(FOLDS.get(name, (0, 5))[1])])
    labelled = {i for i, label in zip(*ids_and_labels(cache), strict=True) if label is not None}
    with open(run / "predictions.csv", encoding="utf-8", newline="") as file:
        tested = [row["id"] for row in csv.DictReader(file)]
    assert len(tested) == len(set(tested)) == (len(labelled) // 2 if name in HALVES else len(labelled))
    assert set(tested) <= labelled


def ids_and_labels(path):
    cache = open_cache(path)
    return cache.ids, cache.clips.label_names
