"""Encoders are tuned fold by fold and part by part, no clip's rows come from one that has seen it, and training reads each fold's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from finetune_samples import SIDE, tuning_cache
from train_samples import LABELS, TINY, Recorder, learning_cache, learning_clip, learning_recipes

from est.cache import CacheWriter, open_cache, verify_cache
from est.cli import main
from est.encoders.weights import load_weights
from est.errors import EstError, UsageError
from est.extract.arrayplan import ArrayPlan
from est.extract.config import ExtractConfig
from est.extract.recaching import recache
from est.train import LoopConfig, ProtocolConfig, TrainConfig, evaluate, fit
from est.train.folds.annotations import Annotations
from est.train.folds.leaks import find_in_features, learnt_from
from est.train.folds.protocols import plan_folds
from est.train.runs.files import read_json
from est.train.runs.run import FOLDS
from est.tune import TuneConfig, recache_tuned, tune_folds

PROTOCOL = ProtocolConfig(kind="kfold", folds=2)
TUNE = TuneConfig(
    epochs=1, batch=8, frames_per_clip=2, select="last", precision="fp32", device="cpu", threads=1, workers=1
)
ROWS = ExtractConfig(size=SIDE, precision="fp32", device="cpu", workers=1)
TRAIN = TrainConfig(
    model=TINY,
    loop=LoopConfig(epochs=1, warmup=0, batch=4, threads=1),
    protocol=PROTOCOL,
    device="cpu",
    control=False,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A cache of 32 clips of 8 people."""
    return tuning_cache(tmp_path_factory.mktemp("crossfit"))


@pytest.fixture(scope="module")
def tuned(source, tmp_path_factory):
    """The same, tuned and re-cached for two folds, in two parts each, with a view."""
    out = tmp_path_factory.mktemp("tuned") / "tuned.zarr"
    report = recache_tuned(open_cache(source), out, TUNE, ROWS, protocol=PROTOCOL, parts=2, views=1)
    assert report.unfilled == 0
    return out


def halves(run):
    return read_json(run.path / FOLDS)


def test_each_fold_and_each_part_has_an_encoder_of_its_own(source, tuned):
    cache = open_cache(source)
    watch = Recorder()
    arrays = tune_folds(cache, tuned, TUNE, protocol=PROTOCOL, parts=2, watch=watch)
    assert [(plan.name, plan.fold) for plan in arrays] == [("gap_fold1", "fold1"), ("gap_fold2", "fold2")]
    subject = dict(zip(cache.ids, cache.clips.subject, strict=True))
    learnt = [set(plan.weights.trained_on.clips) for plan in arrays]
    assert learnt[0] | learnt[1] == set(cache.ids)
    assert not learnt[0] & learnt[1], "each is the other's test half"
    for plan, half in zip(arrays, learnt, strict=True):
        assert plan.weights.trained_on.folds == (plan.fold,)
        assert set().union(*(ids for _, ids in plan.parts)) == half
        for weights, ids in plan.parts:
            others = set(weights.trained_on.clips)
            assert others == half - ids
            assert not {subject[name] for name in others} & {subject[name] for name in ids}
    digests = {weights.digest for plan in arrays for weights in plan.encoders}
    assert len(digests) == 6


def test_rows_come_from_encoders_that_have_not_seen_the_clip(source, tuned, tmp_path):
    cache, made = open_cache(source), open_cache(tuned)
    assert not verify_cache(tuned).problems
    assert made.features == ["gap_fold1", "gap_fold1_view1", "gap_fold2", "gap_fold2_view1"]
    assert made.ids == cache.ids
    folder = tuned.with_name("tuned-encoders") / "fold1"
    files = {name: folder / f"{name}.safetensors" for name in ("encoder", "part1", "part2")}
    seen = {name: set(load_weights(str(path)).trained_on.clips) for name, path in files.items()}
    rows = {}
    for name, path in files.items():
        recache(cache, tmp_path / f"{name}.zarr", [ArrayPlan(name="gap", weights=load_weights(str(path)))], ROWS)
        rows[name] = open_cache(tmp_path / f"{name}.zarr")
    makers = set()
    for clip in cache.ids:
        found = made.clip(clip, features=["gap_fold1"]).features["gap_fold1"]
        (maker,) = [
            name
            for name, one in rows.items()
            if np.array_equal(one.clip(clip, features=["gap"]).features["gap"], found)
        ]
        assert clip not in seen[maker]
        makers.add(maker)
    assert makers == set(files)


def test_training_reads_each_folds_own_and_the_guard_knows(tuned, tmp_path):
    found = fit(tuned, tmp_path / "run", TRAIN, watch=Recorder())
    assert found.run.reads == {"fold1": "gap_fold1", "fold2": "gap_fold2"}
    assert evaluate(found.run, watch=Recorder()).scores.right == found.scores.right
    for other in (
        replace(TRAIN, seeds=(1,)),
        replace(TRAIN, protocol=replace(PROTOCOL, by="clip")),
        replace(TRAIN, data=replace(TRAIN.data, feature="gap_fold1")),
        replace(TRAIN, data=replace(TRAIN.data, feature="gap_fold2_view1")),
    ):
        with pytest.raises(EstError, match="were learnt from before, by"):
            fit(tuned, tmp_path / "other", other, watch=Recorder())


def test_an_epoch_may_be_chosen_by_clips_whose_rows_come_from_encoders_that_have_not_seen_them(tuned, tmp_path):
    chosen = replace(TRAIN, select="val")
    run = fit(tuned, tmp_path / "run", chosen, watch=Recorder()).run
    halves = run.halves()["fold1"]
    assert halves["val"]
    assert set(halves["val"]) <= set(open_cache(tuned).trained_on("gap_fold1").clips)


def test_only_its_own_fold_may_choose_by_cross_fit_rows(tmp_path):
    """Of three folds: clips that fold2 chooses by are in the training half of fold1, and its encoders have learnt from them."""
    table = Annotations.from_cache(open_cache(learning_cache(tmp_path / "plain.zarr")))
    plan = plan_folds(table, ProtocolConfig(kind="kfold", folds=3), seed=1, validation=True)
    first, second, _ = plan.folds
    record = learnt_from(table, np.concatenate([first.train, first.val]), folds=["fold1"], how="est tune")
    recipes = learning_recipes(trained_on=record.fingerprint, fold="fold1", cross_fit="00")
    with CacheWriter.open(tmp_path / "tuned.zarr", recipes, labels=LABELS, trained_on=[record]) as writer:
        for index in range(54):
            writer.add(learning_clip(index))
    recipes = learning_recipes(trained_on=record.fingerprint, fold="fold1")  # all rows by an encoder that has seen them
    with CacheWriter.open(tmp_path / "one.zarr", recipes, labels=LABELS, trained_on=[record]) as writer:
        for index in range(54):
            writer.add(learning_clip(index))
    found = find_in_features(open_cache(tmp_path / "one.zarr"), {fold.name: "gap" for fold in plan.folds}, plan, table)
    assert [leak for leak in found if (leak.fold, leak.half) == ("fold1", "val")]
    leaks = find_in_features(
        open_cache(tmp_path / "tuned.zarr"), {fold.name: "gap" for fold in plan.folds}, plan, table
    )
    assert not [leak for leak in leaks if leak.fold == "fold1"]
    halves = {(leak.fold, leak.half): set(leak.clips) for leak in leaks if leak.by == "id"}
    assert halves["fold2", "val"] == set(table.ids[second.val]) & set(record.clips) != set()
    assert halves["fold2", "test"] == set(table.ids[second.test])


def test_what_is_there_is_not_done_again(source, tuned):
    encoders = sorted(tuned.with_name("tuned-encoders").glob("*/*.safetensors"))
    before = {path: path.stat().st_mtime_ns for path in encoders}
    assert len(before) == 6
    report = recache_tuned(open_cache(source), tuned, TUNE, ROWS, protocol=PROTOCOL, parts=2, views=1)
    assert (report.filled, report.unfilled) == (0, 0)
    assert {path: path.stat().st_mtime_ns for path in encoders} == before
    encoders[0].unlink()  # it is tuned again, and is the same
    report = recache_tuned(open_cache(source), tuned, TUNE, ROWS, protocol=PROTOCOL, parts=2, views=1)
    assert (report.filled, report.unfilled) == (0, 0)


def test_without_parts_a_fold_has_one_encoder(source, tmp_path):
    out = tmp_path / "plain.zarr"
    only = replace(PROTOCOL, only=("fold2",))
    recache_tuned(open_cache(source), out, TUNE, ROWS, protocol=only, parts=0)
    recipe = open_cache(out).recipes.features["gap_fold2"]
    assert (recipe.fold, recipe.cross_fit) == ("fold2", "")
    assert len(list(out.with_name("plain-encoders").rglob("*.safetensors"))) == 1
    with pytest.raises(UsageError, match="none for fold1"):
        fit(out, tmp_path / "run", TRAIN, watch=Recorder())


@pytest.mark.parametrize(
    ("parts", "by", "words", "remedy"),
    [
        (1, "subject", "takes two parts or more", "--cross-fit 5"),
        (3, "subject", "3 parts need 3 subjects to learn from, and there are 2", "--cross-fit 2"),
        (9, "clip", "9 parts need 9 clips to learn from, and there are 8", "--cross-fit 8"),
    ],
)
def test_parts_that_cannot_be_dealt_are_refused(source, tmp_path, parts, by, words, remedy):
    with pytest.raises(UsageError, match=words) as refused:
        recache_tuned(
            open_cache(source), tmp_path / "out.zarr", replace(TUNE, by=by), ROWS, protocol=PROTOCOL, parts=parts
        )
    assert remedy in refused.value.remedy
    assert not list(tmp_path.iterdir())


def test_a_start_that_has_seen_the_clips_is_refused(source, tuned, tmp_path):
    seen = str(tuned.with_name("tuned-encoders") / "fold1" / "encoder.safetensors")
    start = replace(TUNE, weights=seen)
    with pytest.raises(EstError, match="test clips of fold2 were learnt from before, by the weights"):
        recache_tuned(open_cache(source), tmp_path / "out.zarr", start, ROWS, protocol=PROTOCOL, parts=2)
    only = replace(PROTOCOL, only=("fold1",))
    with pytest.raises(
        EstError, match="Encoders that start from them cannot make rows of clips that they have not seen"
    ) as no:
        recache_tuned(open_cache(source), tmp_path / "out.zarr", start, ROWS, protocol=only, parts=2)
    assert "--cross-fit 0" in no.value.remedy
    assert not list(tmp_path.iterdir())


def call(*words):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, words)))
    return ended.value.code


@pytest.mark.slow
def test_one_command_does_all_of_it(source, tmp_path, capsys):
    out = tmp_path / "tuned.zarr"
    quick = ["--epochs", 1, "--batch", 8, "--frames-per-clip", 2, "--select", "last", "--threads", 1, "--device", "cpu"]
    train = ["--train", "--preset", "fast", "--set", "loop.epochs=2", "--set", "loop.batch=4", "--set", "model.dim=16"]
    train += ["--set", "model.heads=2", "--set", "model.ffn=32", "--set", "model.layers=1"]
    words = ["recache", source, "--tune", "--out", out, "--folds", 2, "--cross-fit", 2, "--views", 1, *quick, *train]
    assert call(*words) == 0
    told = capsys.readouterr()
    assert "6 encoders, 3 a fold" in told.err
    assert "each fold reads features that were tuned for it: gap_fold1, gap_fold2" in told.err
    assert "clips are also shown by 1 view" in told.err
    assert f"cache: {out}" in told.out
    summary = (tmp_path / "tuned-run" / "summary.md").read_text()
    assert "weights behind gap_fold2: learnt from 8 clips of 2 subjects, fold2 (est tune)" in summary
    assert call(*words) == 0  # nothing is left to do
    assert "is trained already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "No encoder is given"),
        (["--tune", "--preset", "fast"], "--preset can be used only with --train"),
        (["--tune", "--views", "99"], "--views goes from 0 to 16"),
        (["--tune", "--fold", "fold7"], "There is no fold 'fold7'"),
        (["--tune", "--features", "layer9"], "layer9"),
        (["--tune", "--weights", "nowhere.pth"], "there is no file 'nowhere.pth'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_tuned(source, tmp_path, capsys, words, told):
    assert call("recache", source, "--out", tmp_path / "out.zarr", "--folds", 2, "--cross-fit", 2, *words) in (1, 2)
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
