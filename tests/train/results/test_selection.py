"""What an epoch is chosen by, and that the control learns from no other clips than the model."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from train_samples import Recorder, learning_cache, read_csv, tiny_config

from est.cache import open_cache
from est.train import evaluate, fit
from est.train.data.control import fit_control, pooled
from est.train.loop.fold_training import FoldTraining

HARD = {"strength": 0.25, "failures": [("gone", "anger", "P2", "test")], "faceless": (6, 7, 8)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("selection") / "cache.zarr", flip=True, **HARD)


def test_selection_by_val_is_by_subject_and_keeps_the_best_epoch(cache, tmp_path):
    watch = Recorder()
    config = tiny_config(select="val", epochs=8, learning_rate=0.02)
    results = fit(cache, tmp_path / "run", config, watch=watch)
    halves = results.run.halves()["split"]
    opened = open_cache(cache)
    subject = dict(zip(opened.ids, opened.clips.subject, strict=True)) | {"gone": "P2"}
    people = [{subject[name] for name in halves[half]} for half in ("train", "val", "test")]
    assert all(people)
    assert not people[0] & people[1]
    assert not (people[0] | people[1]) & people[2]
    reached = [(record["val_right"], -record["val_loss"]) for record in watch.records]
    best = reached.index(max(reached))
    assert best + 1 < 8, "the last epoch would be no test"
    assert len({right for right, _ in reached}) < 8, "epochs alike are there to choose among"
    assert any("mostly chance" in text for text in watch.warned)
    (result,) = watch.results
    assert result["selected"] == {"by": "val", "epoch": best + 1}
    assert result["right"] == watch.records[best]["test_right"], "what is scored is that epoch's model"
    again = evaluate(results.run)  # what is kept is that model too
    assert [row[5:] for row in again.rows] == [
        [row[f"p_{label}"] for label in results.run.labels] for row in read_csv(tmp_path / "run" / "predictions.csv")
    ]
    assert result["train_clips"] + len(halves["val"]) <= 36


def test_the_control_learns_from_the_very_clips_that_the_model_learns_from(cache, tmp_path):
    run = fit(cache, tmp_path / "run", tiny_config(select="val", epochs=1)).run
    halves, opened = run.halves()["split"], open_cache(cache)
    loaded = opened.load("gap")
    statistics = pooled(loaded.rows, opened.clips.start, opened.clips.count, loaded.mask)

    def said(learnt):
        rows = [opened.clips.index(name) for name in learnt if name in opened.ids]
        truth = np.array([run.labels.index(opened.clips.label_names[row]) for row in rows])
        fitted = fit_control(statistics[rows], truth, num_classes=len(run.labels))
        tested = [row for row in read_csv(run.path / "predictions.csv") if row["control"]]
        found = fitted.predict_proba(statistics[[opened.clips.index(row["id"]) for row in tested]])
        return [run.labels[place] for place in found.argmax(1)], [row["control"] for row in tested]

    ours, theirs = said(halves["train"])
    assert ours == theirs
    assert halves["val"]


@pytest.mark.parametrize(
    ("reached", "loss", "chosen"), [(5, 0.9, True), (3, 0.1, False), (4, 0.4, True), (4, 0.5, True), (4, 0.6, False)]
)
def test_of_epochs_alike_the_lower_loss_is_chosen_then_the_later_one(reached, loss, chosen):
    before = SimpleNamespace(best_right=4, best_loss=0.5)
    assert FoldTraining._is_best(before, reached, loss) is chosen
    begun_earlier = SimpleNamespace(best_right=4, best_loss=None)
    assert FoldTraining._is_best(begun_earlier, reached, loss) is (reached > 4)
