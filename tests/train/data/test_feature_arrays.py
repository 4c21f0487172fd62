"""A fold reads its own array where there is one, a clip is shown by its views in training, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from train_samples import LABELS, WIDTH, Recorder, learning_clip, learning_recipes, make_trainer, tiny_config

from est.cache import CacheWriter, Recipes, open_cache
from est.cache.trained import TrainedOn
from est.errors import EstError, RecipeMismatch, UsageError
from est.train import Change, ProtocolConfig, evaluate, fit
from est.train.config.config import DataConfig, TrainConfig
from est.train.data.clipset import ClipSet
from est.train.data.feature_arrays import Arrays, array_of_fold, arrays_of, views_of
from est.train.runs.files import read_json
from est.train.runs.run import FOLDS

FOLDS_BY_SUBJECT = ProtocolConfig(kind="kfold", folds=2)
CLIPS = 36
TURN = {name: np.random.default_rng(number).permutation(WIDTH) for number, name in enumerate(("fold1", "fold2"))}


def turned(rows, fold):
    """Return what the encoder of a fold makes of the same faces: the numbers in another order."""
    return rows[:, TURN[fold]]


def halves(tmp_path):
    """Return the ids that each fold learns from."""
    plain = plain_cache(tmp_path / "plain.zarr", lambda rows: rows)
    fit(plain, tmp_path / "plain", tiny_config(epochs=1, protocol=FOLDS_BY_SUBJECT, control=False), watch=Recorder())
    return read_json(tmp_path / "plain" / FOLDS)


def plain_cache(path, change, *, digest="00", name="gap", **fields):
    recipes = learning_recipes(weights_digest=digest)
    recipes = Recipes(frames=recipes.frames, features={name: recipes.features["gap"]})
    with CacheWriter.open(path, recipes, labels=LABELS, black={name: (0.5,) * WIDTH}) as writer:
        for index in range(CLIPS):
            clip = learning_clip(index, **fields)
            writer.add(replace(clip, features={name: change(clip.features["gap"])}))
    return path


def tuned_cache(path, learnt, folds=("fold1", "fold2")):
    """Write a cache with an array for each fold, whose weights have learnt from the fold's training half."""
    records = {fold: TrainedOn(clips=tuple(learnt[fold]["train"]), folds=(fold,), how="est tune") for fold in folds}
    base = learning_recipes().features["gap"]
    made = {
        f"gap_{fold}": replace(
            base,
            weights_digest=f"{number}{number}",
            fold=fold,
            cross_fit="3 parts, abc",
            trained_on=records[fold].fingerprint,
        )
        for number, fold in enumerate(folds, start=1)
    }
    recipes = Recipes(frames=learning_recipes().frames, features=made)
    black = {f"gap_{fold}": (0.5,) * WIDTH for fold in folds}
    with CacheWriter.open(path, recipes, labels=LABELS, black=black, trained_on=records.values()) as writer:
        for index in range(CLIPS):
            clip = learning_clip(index)
            rows = {f"gap_{fold}": turned(clip.features["gap"], fold) for fold in folds}
            writer.add(replace(clip, features=rows))
    return path


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    return halves(tmp_path_factory.mktemp("halves"))


def test_each_fold_learns_from_its_own_array(tmp_path, learnt):
    cache = tuned_cache(tmp_path / "tuned.zarr", learnt)
    watch = Recorder()
    config = tiny_config(epochs=2, protocol=FOLDS_BY_SUBJECT)
    found = fit(cache, tmp_path / "run", config, watch=watch)
    assert found.run.reads == {"fold1": "gap_fold1", "fold2": "gap_fold2"}
    assert "each fold reads features that were tuned for it: gap_fold1, gap_fold2" in watch.said
    for fold in ("fold1", "fold2"):
        alone = plain_cache(tmp_path / f"{fold}.zarr", lambda rows, fold=fold: turned(rows, fold))
        only = replace(config, protocol=replace(FOLDS_BY_SUBJECT, only=(fold,)))
        expected = fit(alone, tmp_path / fold, only, watch=Recorder())
        here, there = (run.path / "parts" / fold / "predictions.csv" for run in (found.run, expected.run))
        assert here.read_bytes() == there.read_bytes(), "control and model"
    again = evaluate(found.run, watch=Recorder())
    assert again.own
    assert (again.scores.right, again.scores.total) == (found.scores.right, found.scores.total)
    assert (
        "weights behind gap_fold2: learnt from 18 clips, fold2 (est tune)"
        in (found.run.path / "summary.md").read_text()
    )
    black = evaluate(found.run, change=Change(zero="middle"), watch=Recorder())
    assert black.scores.total == CLIPS


def test_resuming_insists_on_the_arrays(tmp_path, learnt):
    cache = tuned_cache(tmp_path / "tuned.zarr", learnt)
    config = tiny_config(epochs=2, protocol=FOLDS_BY_SUBJECT, control=False)
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", config, watch=Recorder(interrupt_after=5))
    other = plain_cache(tmp_path / "other.zarr", lambda rows: rows)
    with pytest.raises(EstError, match="reads 'gap_fold1'"):
        fit(other, tmp_path / "run", resume=True, watch=Recorder())
    resumed = fit(None, tmp_path / "run", resume=True, watch=Recorder())
    straight = fit(cache, tmp_path / "straight", config, watch=Recorder())
    for fold in ("fold1", "fold2"):
        mine, theirs = (run.run.path / "parts" / fold / "predictions.csv" for run in (resumed, straight))
        assert mine.read_bytes() == theirs.read_bytes()


def test_other_clips_are_read_from_arrays_of_the_same_weights(tmp_path, learnt):
    cache = tuned_cache(tmp_path / "tuned.zarr", learnt)
    run = fit(cache, tmp_path / "run", tiny_config(epochs=2, protocol=FOLDS_BY_SUBJECT), watch=Recorder()).run
    base = learning_recipes().features["gap"]
    made = {f"by_{number}": replace(base, weights_digest=f"{number}{number}") for number in (2, 1)}
    recipes = Recipes(frames=learning_recipes().frames, features=made)
    with CacheWriter.open(tmp_path / "new.zarr", recipes, labels=LABELS) as writer:
        for index in range(100, 112):
            clip = learning_clip(index)
            rows = {f"by_{n}": turned(clip.features["gap"], f"fold{n}") for n in (1, 2)}
            writer.add(replace(clip, id=f"new{index}", subject=f"Q{index}", features=rows))
    found = evaluate(run, tmp_path / "new.zarr", watch=Recorder())
    assert found.scores.total == 12
    assert not found.own
    assert {one.right for one in found.models.values()} <= set(range(13))
    stranger = plain_cache(tmp_path / "stranger.zarr", lambda rows: rows, digest="77")
    with pytest.raises(RecipeMismatch, match="gap_fold1"):
        evaluate(run, stranger, watch=Recorder())


def test_a_fold_that_was_not_tuned_for_is_refused(tmp_path, learnt):
    cache = tuned_cache(tmp_path / "tuned.zarr", learnt, folds=("fold1",))
    with pytest.raises(UsageError, match="has gap for the folds fold1, and none for fold2") as refused:
        fit(cache, tmp_path / "run", tiny_config(protocol=FOLDS_BY_SUBJECT), watch=Recorder())
    assert "--fold fold1" in refused.value.remedy
    opened = open_cache(cache)
    assert array_of_fold(opened, "gap", "fold1") == array_of_fold(opened, "gap_fold1", "fold2") == "gap_fold1"
    with pytest.raises(UsageError, match="has the features gap_fold1, asked for 'layer3'"):
        array_of_fold(opened, "layer3", "fold1")


def test_an_array_of_another_fold_is_a_leak(tmp_path, learnt):
    cache = tuned_cache(tmp_path / "tuned.zarr", learnt)
    wrong = tiny_config(protocol=FOLDS_BY_SUBJECT, feature="gap_fold1")
    with pytest.raises(EstError, match="18 of 18 test clips of fold2 were learnt from"):
        fit(cache, tmp_path / "run", wrong, watch=Recorder())
    dealt_otherwise = tiny_config(protocol=ProtocolConfig(kind="kfold", folds=2, by="clip"))
    with pytest.raises(EstError, match="were learnt from before, by the features 'gap_fold1'"):
        fit(cache, tmp_path / "run", dealt_otherwise, watch=Recorder())
    allowed = fit(cache, tmp_path / "run", replace(wrong, allow_leak=True), watch=Recorder())
    assert {leak.fold for leak in allowed.leaks} == {"fold2"}


def viewed_cache(path, views=2, *, strength=1.5):
    base = learning_recipes().features["gap"]
    made = {"gap": base} | {
        f"gap_view{number}": replace(base, view=number, look="shift 0.1") for number in range(1, views + 1)
    }
    recipes = Recipes(frames=learning_recipes().frames, features=made)
    with CacheWriter.open(path, recipes, labels=LABELS) as writer:
        for index in range(CLIPS):
            clip = learning_clip(index, frames=105, strength=strength)
            rows = {name: (clip.features["gap"] * (1 + number)) for number, name in enumerate(made)}
            writer.add(replace(clip, features=rows))
    return path


def test_views_are_drawn_for_each_clip_and_epoch(tmp_path):
    cache = open_cache(viewed_cache(tmp_path / "views.zarr"))
    assert views_of(cache, "gap") == ("gap_view1", "gap_view2")
    assert views_of(cache, "gap_view1") == ()
    reads = arrays_of(cache, TrainConfig(data=DataConfig(views=True)), "any")
    assert reads == Arrays(plain="gap", others=("gap_view1", "gap_view2"))
    clips = ClipSet.from_cache(cache, range(CLIPS), others=reads.others, no_face="keep")
    planner = make_trainer(clips, views=True, batch=CLIPS).planner
    drawn = []
    for epoch in range(4):
        index = planner.draw(epoch).index[0]
        array = index // (CLIPS * 105)
        assert (array == array[:, :1, :1]).all(), "a clip as a whole"
        drawn.append(array[:, 0, 0])
        place, by = index % (CLIPS * 105), array[..., None]
        torch.testing.assert_close(clips.take(index), clips.take(place) * (1 + by), rtol=2e-3, atol=1e-3)
    assert all(set(one.tolist()) == {0, 1, 2} for one in drawn)
    assert not torch.equal(drawn[0], drawn[1])
    assert (make_trainer(clips, batch=CLIPS).planner.draw(0).index < CLIPS * 105).all()


def test_tests_see_the_plain_array(tmp_path):
    config = tiny_config(epochs=2, protocol=FOLDS_BY_SUBJECT, control=False)
    cache = viewed_cache(tmp_path / "views.zarr")
    watch = Recorder()
    run = fit(cache, tmp_path / "run", replace(config, data=DataConfig(views=True)), watch=watch).run
    assert "clips are also shown by 2 views, one view drawn for each clip and epoch" in watch.said
    plain = plain_cache(tmp_path / "plain.zarr", lambda rows: rows, frames=105)
    there = evaluate(run, plain, allow_leak=True, watch=Recorder())
    assert [row[4:] for row in there.rows] == [row[4:] for row in evaluate(run, watch=Recorder()).rows]
    quiet = Recorder()
    fit(cache, tmp_path / "without", config, watch=quiet)
    assert any("has 2 views: --views learns from them too" in line for line in quiet.said)


def test_views_that_are_not_there_are_refused(tmp_path):
    plain = plain_cache(tmp_path / "plain.zarr", lambda rows: rows)
    with pytest.raises(UsageError, match="has no views of 'gap'") as refused:
        fit(plain, tmp_path / "run", tiny_config(views=True), watch=Recorder())
    assert "--views 3" in refused.value.remedy
