"""Encoders besides ResNet-18 that learn with a model of features: all of them, or the last stage of those that have stages."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from encoder_samples import shaken
from finetune_samples import SMALL, cache_of, tuned_run, tuning_cache, tuning_config
from train_samples import TINY, Recorder, outcome, without_digests

from est.cache import open_cache
from est.encoders.backbone import norms_of
from est.encoders.encoder import Encoder
from est.encoders.weights import BACKBONE, load_weights
from est.errors import UsageError
from est.train import Change, Run, evaluate, fit
from est.train.loop.checkpoint import load_checkpoint, load_model
from est.train.loop.sync_batchnorm import across
from est.train.loop.world import World
from est.train.models import FinetunedModel, build_model
from est.train.models.batch_frames import BatchFrames
from est.train.runs.files import read_json, write_json
from est.train.runs.run import CHECKPOINT, FACTS, HISTORY

STAGED = "timm:test_resnet"  # four stages, 96 numbers a frame
UNSTAGED = "timm:test_efficientnet"
ALL_WAYS = [(learns, norms) for learns in ("layer4", "all") for norms in ("train", "frozen")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("encoders")


@pytest.fixture(scope="module")
def cache(folder):
    return tuning_cache(folder, weights=f"{STAGED}=random", features=("gap",))


@pytest.fixture(scope="module")
def unstaged(folder, cache):
    return cache_of(folder / "drawn" / "list.csv", folder / "un.zarr", weights=f"{UNSTAGED}=random", features=("gap",))


@pytest.fixture(scope="module")
def tuned(cache, folder):
    """A run whose last stage has learnt."""
    return tuned_run(cache, folder / "tuned", "layer4")


def losses(run):
    return [json.loads(line)["loss"] for line in (run.part("holdout") / HISTORY).read_text().splitlines()]


def backbone_of(run):
    return load_model(run.part("holdout") / CHECKPOINT)[0].backbone


def changed(run, name):
    """Name the tensors that are not what they were at the start, less what counts batches."""
    start = load_weights(f"{name}=random").backbone.state_dict()
    return {key for key, tensor in backbone_of(run).state_dict().items() if not torch.equal(tensor, start[key])}


# --- the model ---


def behind(name, learns, batch_norm, **settings):
    backbone = shaken(load_weights(f"{name}=random").backbone)
    head = build_model(SMALL, width=backbone.width, num_classes=3, seed=0)
    return FinetunedModel(backbone, head, learns=learns, batch_norm=batch_norm, **settings).train()


def frames(side, count=5):
    rows = torch.randint(0, 256, (count, side, side, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return BatchFrames(rows=rows, place=(torch.arange(12) % count).view(2, 3, 2))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("name", "side"),
    [("torchvision:shufflenet_v2_x0_5", 64), (STAGED, 64), (UNSTAGED, 64), ("timm:test_vit", 160)],
)
def test_features_are_those_of_the_extraction(name, side, training):
    model, seen = behind(name, "all", "frozen").train(training), frames(side)
    encoder = Encoder(model.backbone, ("gap",), device=torch.device("cpu"), precision="fp32", batch=8)
    expected = encoder.encode(seen.rows.numpy())["gap"][seen.place.numpy()]
    found = model.features(seen).detach().numpy()
    assert found.shape == (2, 3, 2, model.backbone.width)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    black = np.zeros((1, side, side, 3), np.uint8)
    assert np.abs(model.black(side).numpy() - encoder.encode(black)["gap"][0]).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("learns", "batch_norm"), ALL_WAYS)
def test_exactly_what_learns_changes(learns, batch_norm):
    model, seen = behind("torchvision:shufflenet_v2_x0_5", learns, batch_norm), frames(64)
    before = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    optimizer = torch.optim.Adam(model.groups()[0], lr=1e-3)
    (model.features(seen) * torch.linspace(-1, 1, model.width)).sum().backward()
    optimizer.step()
    after = model.backbone.state_dict()
    inside = ("net.stage4", "net.conv5") if learns == "layer4" else ("net",)
    of_norms = {id(weight) for norm in norms_of(model.backbone) for weight in norm.parameters()}
    weights = {
        name
        for name, weight in model.backbone.named_parameters()
        if name.startswith(inside) and not (batch_norm == "frozen" and id(weight) in of_norms)
    }
    buffers = {name for name, _ in model.backbone.named_buffers() if name.startswith(inside) and batch_norm == "train"}
    assert {name for name in after if not torch.equal(after[name], before[name])} == weights | buffers


@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
def test_checkpointing_changes_nothing(batch_norm):
    found = []
    for checkpointing in (False, True):
        model = behind(STAGED, "all", batch_norm, checkpointing=checkpointing)
        (model.features(frames(64)) * torch.linspace(-1, 1, 96)).sum().backward()
        found.append(([weight.grad for weight in model.groups()[0]], list(model.backbone.buffers())))
    for one, other in zip(*found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_without_batch_norms_each_frame_is_looked_at_once_and_nothing_is_dropped_at_random():
    model, seen = behind("timm:test_vit", "all", "train"), frames(160)
    sizes = []
    model.backbone.net.register_forward_pre_hook(lambda net, inputs: sizes.append(len(inputs[0])))
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    assert torch.equal(model.features(seen), model.features(seen))
    assert sizes == [5, 5]


# --- a run ---


@pytest.mark.parametrize("learns", ["all", "layer4"])
def test_an_encoder_that_stands_still_gives_the_losses_of_cached_training(cache, tmp_path, learns):
    model = replace(TINY, dropout=0.0, head_dropout=0.0, ssop=False)
    cached = tuned_run(cache, tmp_path / "cached", "none", model=model)
    still = tuned_run(cache, tmp_path / "still", learns, model=model, rate=0.0, batch_norm="frozen")
    np.testing.assert_allclose(losses(still.run), losses(cached.run), rtol=2e-3)
    assert not changed(still.run, STAGED)


def test_the_last_stage_learns_and_the_run_says_whose_it_is(tuned):
    assert {name.split(".")[1] for name in changed(tuned.run, STAGED)} == {"layer4"}
    facts, meta = tuned.run.facts["finetune"], load_checkpoint(tuned.run.part("holdout") / CHECKPOINT).meta
    assert (facts["encoder"], facts["width"], facts["source"]) == (STAGED, 96, "crops")
    assert (meta["encoder"], meta["width"], meta["normalize"]) == (STAGED, 96, facts["normalize"])


def test_it_goes_on_to_the_same_bytes(cache, tuned, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", tuning_config("layer4"), watch=Recorder(3))
    assert fit(cache, tmp_path / "run", resume=True, watch=Recorder()).run.complete
    runs = [tuned.run, Run.open(tmp_path / "run")]
    assert outcome(runs[0].path) == outcome(runs[1].path)
    for name in (CHECKPOINT, BACKBONE):
        one, other = (load_tensors(run.part("holdout") / name) for run in runs)
        assert one.keys() == other.keys()
        assert all(torch.equal(tensor, other[key]) for key, tensor in one.items()), name


def load_tensors(path):
    return load_checkpoint(path).tensors if path.name == CHECKPOINT else load_weights(str(path)).backbone.state_dict()


def test_evaluation_sees_with_the_encoder_of_the_run(tuned):
    found = evaluate(tuned.run.path)
    assert found.own
    assert found.scores.right == tuned.scores.right
    saved = (tuned.run.part("holdout") / "predictions.csv").read_text().splitlines()
    for line, row in zip(saved[1:], found.rows, strict=True):
        assert line.split(",")[:4] == row[1:5]
        np.testing.assert_allclose([float(x) for x in line.split(",")[4:6]], [float(x) for x in row[5:]], atol=1e-5)
    assert evaluate(tuned.run.path, change=Change(zero="middle")).scores.total == found.scores.total


def test_its_weights_come_out_and_make_features(tuned, folder, tmp_path):
    weights = load_weights(str(tuned.run.path))
    assert (weights.backbone.name, weights.trained_on.folds) == (STAGED, ("holdout",))
    state = backbone_of(tuned.run).state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in weights.backbone.state_dict().items())
    again = cache_of(folder / "drawn" / "list.csv", tmp_path / "c.zarr", weights=str(tuned.run.path), features=("gap",))
    recipe = open_cache(again).recipes.features["gap"]
    assert (recipe.backbone, recipe.shape, recipe.weights_digest) == (STAGED, (96,), weights.digest)


def test_it_starts_from_runs_frozen_and_tuned(cache, tuned, tmp_path):
    before = tuned_run(cache, tmp_path / "before", "none", epochs=1)
    after = tuned_run(cache, tmp_path / "after", "layer4", epochs=1, init=str(before.run.path), rate=0.0)
    assert after.run.facts["finetune"]["encoder"] == STAGED
    further = tuned_run(
        cache, tmp_path / "further", "all", epochs=1, init=str(tuned.run.path), rate=0.0, precision="fp32"
    )
    assert further.run.facts["finetune"]["encoder"] == STAGED
    state = backbone_of(tuned.run).state_dict()
    for name, weight in backbone_of(further.run).named_parameters():
        assert torch.equal(weight, state[name])


def test_a_cache_of_one_encoder_has_crops_for_another(cache, tmp_path):
    found = tuned_run(cache, tmp_path / "run", "layer4", weights="torchvision:shufflenet_v2_x0_5=random", epochs=1)
    assert found.run.facts["finetune"]["width"] == 1024
    found = tuned_run(cache, tmp_path / "resnet18", "layer4", weights="random", epochs=1)
    assert (found.run.facts["finetune"]["encoder"], found.run.facts["finetune"]["width"]) == ("resnet18", 512)


def test_random_starts_are_drawn_by_the_seed_of_a_training_and_earlier_runs_go_on_with_theirs(cache, tmp_path):
    still = {"weights": "timm:test_resnet=random", "rate": 0.0, "batch_norm": "frozen", "epochs": 1, "seeds": (1, 2)}
    config = tuning_config("all", **still)
    fixed = load_weights(still["weights"])
    for name in ("now", "earlier"):
        with pytest.raises(KeyboardInterrupt):
            fit(cache, tmp_path / name, config, watch=Recorder(1))
        facts = read_json(without_digests(tmp_path / name) / FACTS)
        assert facts["finetune"]["digest"] != fixed.digest
        if name == "earlier":  # when it was the same start for all seeds
            write_json(tmp_path / name / FACTS, facts | {"finetune": facts["finetune"] | {"digest": fixed.digest}})
        run = fit(cache, tmp_path / name, resume=True, watch=Recorder()).run
        second = load_model(run.part("holdout-seed2") / CHECKPOINT)[0].backbone.state_dict()
        wanted = load_weights(still["weights"], seed=2 if name == "now" else 0).backbone.state_dict()
        assert all(torch.equal(tensor, wanted[key]) for key, tensor in second.items())
    first = load_weights(still["weights"], seed=1).backbone.state_dict()
    assert not torch.equal(first["net.conv1.0.weight"], wanted["net.conv1.0.weight"])


@pytest.mark.parametrize("name", [UNSTAGED, "timm:test_vit"])
def test_all_of_an_encoder_without_stages_learns(unstaged, tmp_path, name):
    weights = "" if name == UNSTAGED else f"{name}=random"  # those of the cache, or others
    found = tuned_run(unstaged, tmp_path / "run", "all", epochs=1, scaling=True, weights=weights)
    names = {weight for weight, _ in backbone_of(found.run).named_parameters()}
    assert names <= changed(found.run, name)
    assert evaluate(found.run.path).scores.right == found.scores.right


# --- what cannot be ---


def test_what_takes_stages_is_refused_by_name(unstaged, cache, tmp_path):
    for settings, words, remedy in (
        ({"learns": "layer4"}, f"Which stage of {UNSTAGED} is the last is not known", "--finetune all"),
        ({"checkpointing": True}, f"The stages of {UNSTAGED} are not known", "finetune.checkpointing=false"),
        ({"learns": "layer4", "source": "maps"}, f"made by {UNSTAGED}, which has no maps", "finetune.source=auto"),
        (
            {"weights": "timm:vit_tiny_patch16_224=random"},
            "take crops of 32 pixels",
            "est extract … --size 224 --crops",
        ),
    ):
        with pytest.raises(UsageError, match=words) as refused:
            tuned_run(unstaged, tmp_path / "run", **settings)
        assert remedy in refused.value.remedy
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("learns", "batch_norm"), ALL_WAYS)
def test_batch_norms_that_do_more_than_normalise_learn_in_one_process_alone(learns, batch_norm):
    model = behind("timm:tf_efficientnet_b0", learns, batch_norm)
    kinds = [type(norm) for norm in norms_of(model.backbone)]
    if batch_norm == "train":
        with pytest.raises(UsageError, match="BatchNormAct2d cannot learn in several processes") as refused:
            across(model, World(rank=0, size=2))
        assert "finetune.batch_norm=frozen" in refused.value.remedy
    else:
        across(model, World(rank=0, size=2))
        assert [type(norm) for norm in norms_of(model.backbone)] == kinds
