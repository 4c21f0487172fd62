"""Weights whose record names data sets as a whole: a warning where one of them is tested, in training, evaluation and tables."""

from __future__ import annotations

from train_samples import LABELS, Recorder, learning_cache, learning_clip, learning_recipes, tiny_config

from est.cache import CacheWriter, open_cache
from est.cache.reading.datasets import datasets_of
from est.cache.trained import TrainedOn
from est.train import ProtocolConfig, evaluate, fit
from est.train.folds.leaks import notes_on_datasets
from est.train.preparation import prepare

SPLIT = ProtocolConfig(kind="split")


def test_a_data_set_that_chose_the_weights_is_warned_about(tmp_path):
    """Single clips are not on record there: training goes on, and every table has the note."""
    record = TrainedOn(clips=(), datasets=("AFEW: the file was chosen on it, by its name", "AffectNet: expressions"))
    recipes = learning_recipes(trained_on=record.fingerprint)
    path = tmp_path / "c.zarr"
    environment = {"dataset": {"name": "afew"}}
    with CacheWriter.open(path, recipes, labels=LABELS, trained_on=[record], environment=environment) as writer:
        for index in range(54):
            writer.add(learning_clip(index, strength=0.25))
    (note,) = (note for note in prepare(path, tiny_config(protocol=SPLIT)).plan.notes if "LEAK" in note)
    assert "of the features 'gap' have seen the data set that is tested: AFEW: the file was chosen on it" in note
    watch = Recorder()
    run = fit(path, tmp_path / "run", tiny_config(epochs=1, protocol=SPLIT, seeds=(1,)), watch=watch).run
    assert note in watch.warned
    assert note in run.facts["protocol"]["notes"]
    again = Recorder()
    evaluate(run, watch=again)
    assert note in again.warned
    seen = [(record, "the features 'gap'")]
    assert notes_on_datasets(seen, ["affect-net"]) != []
    assert notes_on_datasets(seen, ["dfew", ""]) == []
    assert datasets_of(open_cache(learning_cache(tmp_path / "other.zarr", 3))) == []
