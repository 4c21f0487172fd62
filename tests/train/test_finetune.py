"""A backbone that learns with EST: the same loop, the same run, and what comes of it is whole."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from finetune_samples import SMALL, cache_of, tuned_run, tuning_cache, tuning_config
from processor import needs_bf16
from train_samples import TINY, Recorder, outcome, without_digests

from est.cache import open_cache
from est.encoders.weights import BACKBONE, load_weights
from est.errors import CacheError, EstError, UsageError
from est.train import Change, ProtocolConfig, Run, evaluate, fit
from est.train.config.configfile import resolve
from est.train.data import memory
from est.train.loop.checkpoint import load_model
from est.train.models import FinetunedModel
from est.train.runs.run import CHECKPOINT, FACTS, HISTORY

STILL = replace(SMALL, dropout=0.0, head_dropout=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("finetune")


@pytest.fixture(scope="module")
def cache(folder):
    return tuning_cache(folder)


@pytest.fixture(scope="module")
def tuned(cache, folder):
    """A run whose whole backbone has learnt."""
    return tuned_run(cache, folder / "tuned", "all")


def history(run):
    lines = (run.part(run.parts[0]) / HISTORY).read_text().splitlines()
    return [json.loads(line) for line in lines]


def losses(run):
    return [record["loss"] for record in history(run)]


def backbone_of(run):
    model, _ = load_model(run.part(run.parts[0]) / CHECKPOINT)
    assert isinstance(model, FinetunedModel)
    return model.backbone.state_dict()


def untouched(state, names=("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")):
    start = load_weights("random").backbone.state_dict()
    return all(torch.equal(tensor, start[name]) for name, tensor in state.items() if name.startswith(names))


# --- one model, whatever it looks at ---


@pytest.mark.parametrize("learns", ["all", "layer4"])
def test_a_backbone_that_stands_still_gives_the_losses_of_cached_training(cache, tmp_path, learns):
    """The cache's features are float16, and its maps; nothing else differs. (The order head's batch norm would magnify that.)"""
    model = replace(TINY, dropout=0.0, head_dropout=0.0, ssop=learns == "all")
    cached = tuned_run(cache, tmp_path / "cached", "none", model=model)
    still = tuned_run(cache, tmp_path / "still", learns, model=model, rate=0.0, batch_norm="frozen")
    np.testing.assert_allclose(losses(still.run), losses(cached.run), rtol=1e-2)
    assert untouched(backbone_of(still.run))
    ours, theirs = outcome(cached.run.path), outcome(still.run.path)
    assert [line.split(",")[:4] for line in ours["predictions.csv"].splitlines()] == [
        line.split(",")[:4] for line in theirs["predictions.csv"].splitlines()
    ]


def test_layer4_learns_the_same_from_maps_and_from_pictures(cache, tmp_path):
    for norm in ("train", "frozen"):
        found = [
            tuned_run(
                cache,
                tmp_path / f"{source}-{norm}",
                "layer4",
                model=STILL,
                source=source,
                batch_norm=norm,
                learning_rate=1e-5,  # maps are float16: a small rate keeps the two ways from parting
            )
            for source in ("maps", "crops")
        ]
        np.testing.assert_allclose(losses(found[0].run), losses(found[1].run), rtol=1e-2)
        for one in found:
            state = backbone_of(one.run)
            assert untouched(state, ("conv1", "bn1", "layer1", "layer2", "layer3"))
            assert not untouched(state, ("layer4",))
            assert one.run.facts["finetune"]["source"] in ("maps", "crops")


def test_all_of_it_learns(tuned):
    state = backbone_of(tuned.run)
    for name in ("conv1", "layer1", "layer2", "layer3", "layer4"):
        assert not untouched(state, (name,)), name
    assert tuned.run.facts["heading"] == "the backbone learns with EST"
    assert "frozen" not in (tuned.run.path / "summary.md").read_text()


def test_the_head_learns_first(cache, tmp_path):
    alone = tuned_run(cache, tmp_path / "alone", "all", epochs=1, head_first=1)
    assert untouched(backbone_of(alone.run))
    both = tuned_run(cache, tmp_path / "both", "all", epochs=2, head_first=1)
    assert not untouched(backbone_of(both.run))
    assert losses(both.run)[0] == losses(alone.run)[0]


def test_augmented_clips_are_other_clips(cache, tmp_path):
    plain = tuned_run(cache, tmp_path / "plain", "all", epochs=1)
    moved = tuned_run(cache, tmp_path / "moved", "all", epochs=1, shift=0.2, zoom=0.1, brightness=0.4)
    flipped = tuned_run(cache, tmp_path / "flipped", "all", epochs=1, mirrored=True)  # no mirrored features are needed
    assert len({losses(one.run)[0] for one in (plain, moved, flipped)}) == 3


def test_a_run_is_the_same_again(cache, tuned, folder):
    again = tuned_run(cache, folder / "again", "all", workers=3)
    assert losses(again.run) == losses(tuned.run)
    assert outcome(again.run.path)["predictions.csv"] == outcome(tuned.run.path)["predictions.csv"]


# --- going on ---


@pytest.mark.slow
@pytest.mark.parametrize("early", [(), (8,)], ids=["late", "late and early"])
def test_it_goes_on_after_kills(trainings, cache, tmp_path, early):
    config = tuning_config("all", average=0.9, head_first=1, shift=0.1, batch=6, accumulate=2)
    status, moments = trainings.run(tmp_path / "whole" / "run", cache=cache, config=config, seconds=60.0)
    assert status == 0
    for stop in (moments - 15, *early, 0):
        begun = (tmp_path / "killed" / "run" / FACTS).exists()
        status, _ = trainings.run(tmp_path / "killed" / "run", cache=cache, config=None if begun else config, stop=stop)
        assert status == (-signal.SIGKILL if stop else 0)
    runs = [Run.open(tmp_path / name / "run") for name in ("killed", "whole")]
    assert outcome(runs[0].path) == outcome(runs[1].path)
    backbones = [run.part("holdout") / BACKBONE for run in runs]
    assert backbones[0].read_bytes() == backbones[1].read_bytes()


def test_a_run_goes_on_with_what_it_was_begun_on(folder, tmp_path):
    own = tuning_cache(folder, "own.zarr")
    watch = Recorder(3)
    with pytest.raises(KeyboardInterrupt):
        fit(own, tmp_path / "run", tuning_config("layer4"), watch=watch)
    assert Run.open(tmp_path / "run").facts["finetune"]["source"] == "maps"
    bare = cache_of(folder / "drawn" / "list.csv", tmp_path / "bare.zarr", features=("gap",))
    with pytest.raises(EstError, match="layer3"):
        fit(bare, tmp_path / "run", resume=True, watch=Recorder())
    assert fit(own, tmp_path / "run", resume=True, watch=Recorder()).run.complete


# --- where it starts ---


def test_it_starts_from_a_run_whose_head_has_learnt(cache, tmp_path):
    before = tuned_run(cache, tmp_path / "before", "none", epochs=3)
    after = tuned_run(cache, tmp_path / "after", "layer4", epochs=1, init=str(before.run.path), rate=0.0, head_first=1)
    assert after.run.facts["finetune"]["init"] == str(before.run.path)
    fresh = tuned_run(cache, tmp_path / "fresh", "layer4", epochs=1, rate=0.0)
    assert losses(after.run)[0] < losses(fresh.run)[0]
    further = tuned_run(cache, tmp_path / "further", "all", epochs=1, init=str(after.run.path))
    assert further.run.facts["finetune"]["weights"] == "of after"
    record = load_weights(str(further.run.path)).trained_on
    assert record.how == "est train; est train --finetune all; est train --finetune layer4"  # all that came before


def test_a_run_that_does_not_fit_is_no_start(cache, tmp_path):
    before = tuned_run(cache, tmp_path / "before", "none", epochs=1)
    for changes, words in (
        ({"model": replace(TINY, layers=2)}, "layers"),
        ({"seeds": (7,)}, "no model of holdout with seed 7"),
        ({"protocol": ProtocolConfig(kind="kfold", folds=2)}, "no model of fold"),
        ({"weights": "synface"}, "the backbone starts as synface"),
    ):
        with pytest.raises(EstError, match=words):
            tuned_run(cache, tmp_path / "no", "all", init=str(before.run.path), **changes)
    assert not (tmp_path / "no").exists()


def test_models_of_other_classes_are_no_start(cache, folder, tmp_path):
    before = tuned_run(cache, tmp_path / "before", "none", epochs=1)
    text = (folder / "drawn" / "list.csv").read_text().replace("right", "down")
    (folder / "drawn" / "other.csv").write_text(text)
    other = cache_of(folder / "drawn" / "other.csv", tmp_path / "other.zarr")
    with pytest.raises(UsageError, match="have the classes left, right; the clips here have down, left"):
        tuned_run(other, tmp_path / "after", "all", init=str(before.run.path))


def test_a_run_on_other_halves_has_seen_the_test_clips(cache, tmp_path):
    before = tuned_run(
        cache, tmp_path / "before", "none", epochs=1, protocol=ProtocolConfig(kind="kfold", folds=2, by="clip")
    )
    halves = json.loads((without_digests(before.run.path) / "folds.json").read_text())
    for fold in halves.values():  # as if folds of the same names had been dealt otherwise
        fold["train"], fold["test"] = fold["test"], fold["train"]
    (before.run.path / "folds.json").write_text(json.dumps(halves))
    settings = {"init": str(before.run.path), "protocol": ProtocolConfig(kind="kfold", folds=2, by="clip"), "epochs": 1}
    with pytest.raises(EstError, match=r"learnt from before.*before.*clip\d\d") as refused:
        tuned_run(cache, tmp_path / "after", "all", **settings)
    assert "--allow-leak" in refused.value.remedy
    allowed = tuned_run(cache, tmp_path / "allowed", "all", allow_leak=True, **settings)
    assert "learnt from before" in (allowed.run.path / "summary.md").read_text()


# --- what it leaves behind ---


def test_the_backbone_comes_out_with_what_it_has_learnt_from(cache, tuned):
    part = tuned.run.part("holdout")
    weights = load_weights(str(tuned.run.path))
    model, _ = load_model(part / CHECKPOINT)
    for name, tensor in weights.backbone.state_dict().items():
        assert torch.equal(tensor, model.backbone.state_dict()[name])
    halves = tuned.run.halves()["holdout"]
    assert weights.trained_on.clips == tuple(sorted(halves["train"] + halves["val"]))
    assert weights.trained_on.folds == ("holdout",)
    opened = open_cache(cache)
    tested = {opened.clips.subject[opened.ids.index(name)] for name in halves["test"]}
    assert weights.trained_on.subjects
    assert not tested & set(weights.trained_on.subjects)


def test_features_that_have_seen_the_test_clips_are_refused(cache, tuned, folder, tmp_path):
    again = cache_of(
        folder / "drawn" / "list.csv", tmp_path / "tuned.zarr", weights=str(tuned.run.path), features=("gap",)
    )
    halves = tuned.run.halves()["holdout"]
    assert open_cache(again).trained_on("gap").clips == tuple(sorted(halves["train"]))
    same = tuned_run(again, tmp_path / "same", "none", epochs=1)  # the same halves: the test clips are new to them
    assert "leaks" not in same.run.facts
    other = {"protocol": ProtocolConfig(kind="kfold", folds=2), "epochs": 1}
    with pytest.raises(EstError, match="learnt from before"):
        tuned_run(again, tmp_path / "other", "none", **other)
    with pytest.raises(EstError, match="learnt from before"):  # the weights themselves, as a start
        tuned_run(cache, tmp_path / "other", "all", weights=str(tuned.run.path), **other)
    assert not (tmp_path / "other").exists()


def test_evaluation_sees_with_the_backbone_of_the_run(cache, tuned, folder, tmp_path):
    found = evaluate(tuned.run.path)
    assert found.own
    assert found.scores.right == tuned.scores.right
    saved = (tuned.run.part("holdout") / "predictions.csv").read_text().splitlines()
    for line, row in zip(saved[1:], found.rows, strict=True):
        told = line.split(",")
        assert told[:4] == row[1:5]
        np.testing.assert_allclose([float(x) for x in told[4:6]], [float(x) for x in row[5:]], atol=1e-5)
    assert evaluate(tuned.run.path, change=Change(shuffle=True)).answers[0].total == found.scores.total
    assert evaluate(tuned.run.path, change=Change(zero="middle")).scores.total == found.scores.total


def test_another_cache_without_crops_is_seen_through_its_sources(tuned, folder, tmp_path):
    bare = cache_of(folder / "drawn" / "list.csv", tmp_path / "bare.zarr", crops=False, features=("gap",))
    watch = Recorder()
    with pytest.raises(EstError, match="12 of 16 clips to be scored show the same frames"):
        evaluate(tuned.run.path, bare)
    found = evaluate(tuned.run.path, bare, allow_leak=True, watch=watch)
    assert not found.own
    assert any("est extract … --crops" in text for text in watch.said)
    assert found.scores.total == 16
    shares = {row[1]: row[5:] for row in found.rows}
    for row in evaluate(tuned.run.path).rows:  # JPEG takes little away
        np.testing.assert_allclose([float(x) for x in shares[row[1]]], [float(x) for x in row[5:]], atol=0.03)


# --- what cannot be ---


def test_what_is_missing_is_said_before_anything_is_trained(folder, tmp_path):
    bare = cache_of(folder / "drawn" / "list.csv", tmp_path / "bare.zarr", crops=False, features=("gap",))
    with pytest.raises(UsageError, match="no maps of layer3") as refused:
        tuned_run(bare, tmp_path / "run", "layer4", source="maps")
    assert "--features gap,layer3" in refused.value.remedy
    with pytest.raises(UsageError, match="no crops"):
        tuned_run(bare, tmp_path / "run", "all", source="crops")
    copy = tmp_path / "copy"
    shutil.copytree(folder / "drawn", copy)
    moved = cache_of(copy / "list.csv", tmp_path / "moved.zarr", crops=False, features=("gap",))
    (copy / "clip03" / "0.png").unlink()
    with pytest.raises(CacheError, match="clip03"):
        tuned_run(moved, tmp_path / "run", "all")
    shutil.rmtree(copy)
    with pytest.raises(CacheError, match="16 of 16 clips"):
        tuned_run(moved, tmp_path / "run", "all")
    assert not (tmp_path / "run").exists()


def test_other_weights_than_those_of_the_maps_are_refused(cache, tmp_path):
    with pytest.raises(EstError, match="was made with random") as refused:
        tuned_run(cache, tmp_path / "run", "layer4", weights="synface")
    assert "finetune.source=crops" in refused.value.remedy
    other = tuned_run(cache, tmp_path / "other", "layer4", weights="synface", source="crops", epochs=1)
    assert other.run.facts["finetune"]["weights"] == "synface"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"noise": 0.1}, "data.noise"),
        ({"views": True}, "data.views"),
        ({"source": "maps"}, "needs the pixels"),
        ({"accumulate": 3}, "divides the batch"),
        ({"residency": "pinned"}, "CUDA|residency"),
    ],
)
def test_what_does_not_go_together(cache, tmp_path, changes, words):
    with pytest.raises(EstError, match=words):
        tuned_run(cache, tmp_path / "run", "all", **changes)


def test_scaling_is_that_of_the_features_at_the_start(cache, tmp_path):
    still = {"learns": "layer4", "rate": 0.0, "batch_norm": "frozen", "epochs": 1, "precision": "fp32", "scaling": True}
    tuned = tuned_run(cache, tmp_path / "tuned", **still, average=0.9)
    plain = tuned_run(cache, tmp_path / "plain", "none", epochs=1, scaling=True)
    mine, theirs = (load_model(run.run.part(run.run.parts[0]) / CHECKPOINT)[0] for run in (tuned, plain))
    std = theirs.scaling.std
    assert std.max() / std.min() > 2
    assert (std == std.min()).sum() > 1, "quiet channels are all left as quiet as they are to each other"
    np.testing.assert_allclose(mine.scaling.mean, theirs.scaling.mean, atol=2e-3 * float(std.mean()) + 2e-3)
    np.testing.assert_allclose(mine.scaling.std, std, rtol=0.02)
    onward = tuned_run(cache, tmp_path / "onward", "layer4", epochs=1, scaling=True, init=str(tmp_path / "plain"))
    found = load_model(onward.run.part(onward.run.parts[0]) / CHECKPOINT)[0]
    assert torch.equal(found.scaling.std, std), "the models that go on bring their own"


def test_settings_of_a_backbone_that_does_not_learn_are_refused():
    with pytest.raises(UsageError, match=r"finetune\.rate, finetune\.head_first: a setting of --finetune"):
        resolve(options={"finetune.rate": 0.1, "finetune.head_first": 1})
    with pytest.raises(UsageError, match="which is not asked for"):
        resolve("modern")
    assert resolve("modern", options={"finetune.learns": "all"}).finetune.batch_norm == "frozen"


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: 9")]
)
def test_too_little_memory_says_what_to_lower(cache, tmp_path, monkeypatch, error):
    monkeypatch.setattr(memory, "why_emulated", lambda precision, device: None)

    def fail(*_):
        raise error

    monkeypatch.setattr(FinetunedModel, "features", fail)
    with pytest.raises(EstError, match="does not fit into the memory of cpu") as refused:
        tuned_run(cache, tmp_path / "run", "all")
    for way in ("finetune.checkpointing=true", "loop.accumulate=2", "--precision bf16", "--batch"):
        assert way in refused.value.remedy
    monkeypatch.setattr(memory, "why_emulated", lambda precision, device: "it would be emulated")
    with pytest.raises(EstError) as refused:
        tuned_run(cache, tmp_path / "run", "all")
    assert "bf16" not in refused.value.remedy


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"precision": "bf16"}, marks=[needs_bf16, pytest.mark.slow]),
        pytest.param({"accumulate": 2, "checkpointing": True}, marks=pytest.mark.slow),
    ],
    ids=["bf16", "parts"],
)
def test_less_memory_learns_the_same(cache, tmp_path, settings):
    """Where no clip depends on another, nothing but rounding differs. (fp16 is tried without a backbone: its convolutions take minutes.)"""
    made = {"model": replace(STILL, ssop=False), "batch_norm": "frozen", "epochs": 2}
    whole = tuned_run(cache, tmp_path / "whole", "all", **made)
    found = tuned_run(cache, tmp_path / "run", "all", **made, **settings)
    reduced = "precision" in settings
    np.testing.assert_allclose(losses(found.run), losses(whole.run), rtol=3e-2 if reduced else 1e-4)
    assert not reduced or losses(found.run) != losses(whole.run)
    assert not untouched(backbone_of(found.run), ("conv1", "layer1", "layer4"))
