"""GRU: torch's own equations, a model behind the contract like any other, and independent of EST."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from finetune_samples import tuning_cache, tuning_config
from refusals import differs
from torch import nn
from train_samples import Recorder, learning_cache, make_trainer, outcome, tiny_config
from tune_samples import random_start

from est.cache import open_cache
from est.cache.interrupt import Stop
from est.cli import main
from est.errors import UsageError
from est.train import Change, Run, TrainingWatch, evaluate, fit
from est.train.config.configfile import resolve, to_toml
from est.train.data.clipset import ClipSet
from est.train.loop.checkpoint import load_model
from est.train.models.gru.config import Config
from est.train.models.gru.model import GRU, Recurrence, build
from est.train.models.registry import describe_model
from est.train.runs.run import CHECKPOINT

TINY = Config(frames=15, hidden=8, dropout=0.1)
BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("est.train.models.est"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
from est.train.models import registry
registry.DEFAULT = "gru"
registry.MODELS.pop("est")
from est.cli import main
for line in sys.argv[1:]:
    try:
        main(line.split())
        raise AssertionError(f"{line} did not end")
    except SystemExit as ended:
        assert ended.code == 0, line
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("gru") / "c.zarr", 54)


# the layer


@pytest.mark.parametrize("backwards", [False, True])
def test_a_layer_is_torchs(backwards):
    ours = Recurrence(12, 8, torch.Generator().manual_seed(1))
    theirs = nn.GRU(12, 8, batch_first=True)
    theirs.load_state_dict({f"{name}_l0": value for name, value in ours.state_dict().items()})
    x = torch.randn(3, 20, 12)
    found = ours(x, backwards=backwards)
    wanted = theirs(x.flip(1))[0].flip(1) if backwards else theirs(x)[0]
    assert (found - wanted).abs().max() < 1e-6
    gradients = [
        torch.autograd.grad(value.square().sum(), list(module.parameters()))
        for value, module in ((found, ours), (wanted, theirs))
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("bidirectional", "layers"), [(True, 2), (False, 1)])
def test_the_whole_is_torchs_with_a_classifier(bidirectional, layers):
    config = Config(frames=9, hidden=6, layers=layers, bidirectional=bidirectional, pooling="last")
    model = build(config, width=5, num_classes=3, seed=2).eval()
    theirs = nn.GRU(5, 6, num_layers=layers, bidirectional=bidirectional, batch_first=True)
    names = [name for layer in range(layers) for name in (f"_l{layer}", f"_l{layer}_reverse")[: config.directions]]
    parts = [part for layer in model.layers for part in layer]
    theirs.load_state_dict(
        {
            f"{key}{name}": value
            for name, part in zip(names, parts, strict=True)
            for key, value in part.state_dict().items()
        }
    )
    x = torch.randn(4, 1, 9, 5)
    states = theirs(x[:, 0])[1][-config.directions :]  # the last layer's last states
    wanted = model.classifier(torch.cat(list(states), 1))
    torch.testing.assert_close(model({"features": x}).expression, wanted, rtol=1e-5, atol=1e-5)


def test_many_models_can_be_stacked():
    """Every operation has a rule for `vmap`: trials that differ in nothing but weights run as one."""
    models = [build(TINY, width=6, num_classes=3, seed=seed).eval() for seed in range(3)]
    weights, buffers = torch.func.stack_module_state(models)
    x = torch.randn(2, 1, 15, 6)

    def answer(own, statistics):
        return torch.func.functional_call(models[0], (own, statistics), ({"features": x},)).expression

    found = torch.vmap(answer)(weights, buffers)
    for one, model in zip(found, models, strict=True):
        torch.testing.assert_close(one, model({"features": x}).expression)


def test_the_order_of_frames_matters():
    model = build(TINY, width=6, num_classes=3, seed=1).eval()
    x = torch.randn(2, 1, 15, 6)
    assert not torch.allclose(model({"features": x}).expression, model({"features": x.flip(2)}).expression)


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
def test_a_seed_is_a_model(pooling):
    config = Config(frames=4, hidden=3, pooling=pooling)
    one, same, other = (build(config, width=5, num_classes=2, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert one({"features": torch.randn(2, 1, 4, 5)}).expression.shape == (2, 2)
    with pytest.raises(UsageError, match="5 channels"):
        one({"features": torch.randn(2, 1, 4, 6)})


# behind the contract


def test_it_learns_and_is_scored_again(cache, tmp_path):
    config = tiny_config(model=TINY, epochs=12, select="val")
    found = fit(cache, tmp_path / "run", config, watch=Recorder())
    assert found.scores.war > 0.6  # a third is chance
    assert found.answers == ()
    run = Run.open(found.run.path)
    assert run.config.model == TINY
    again = evaluate(run, watch=Recorder())
    assert (again.scores.right, again.scores.total) == (found.scores.right, found.scores.total)
    assert "GRU − control = " in (run.path / "summary.md").read_text(encoding="utf-8")


def test_interrupted_it_resumes_to_the_bit(cache, tmp_path):
    config = tiny_config(model=TINY, epochs=3)
    fit(cache, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", config, watch=Recorder(5))
    fit(None, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_backbone_learns_with_it(tmp_path):
    found = fit(
        tuning_cache(tmp_path), tmp_path / "run", tuning_config("layer4", model=TINY, epochs=1), watch=Recorder()
    )
    assert "learns with GRU" in found.run.facts["heading"]
    model, _ = load_model(found.run.part(found.run.parts[0]) / CHECKPOINT)
    start = random_start().backbone.state_dict()
    changed = {name for name, tensor in model.backbone.state_dict().items() if not torch.equal(tensor, start[name])}
    assert changed
    assert all(name.startswith("layer4") for name in changed)
    assert evaluate(found.run.path, watch=Recorder()).scores.total == found.scores.total


@pytest.mark.slow
def test_it_needs_nothing_of_est(cache, tmp_path):
    """With EST's folder unimportable it trains, resumes and evaluates."""
    (tmp_path / "c.toml").write_text(to_toml(tiny_config(model=TINY, epochs=1)), encoding="utf-8")
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(cache, out, tiny_config(model=TINY, epochs=2), watch=Recorder(3))
    lines = [
        f"train --cache {cache} --config {tmp_path / 'c.toml'} --model gru --out {tmp_path / 'other'} -q",
        f"train --resume --out {out} -q",
        f"evaluate {out} -q",
    ]
    done = subprocess.run([sys.executable, "-c", BLOCKED, *lines], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Run.open(out).complete


def test_its_costs_are_counted():
    found = describe_model(Config(frames=2, hidden=4, layers=1, bidirectional=False), 3, 5)
    assert found.parameters == 3 * 4 * (3 + 4 + 2) + 5 * (4 + 1)
    assert found.macs == 2 * 12 * (3 + 4 + 2) + 5 * 5
    with torch.device("meta"):
        model = GRU(Config(), width=512, num_classes=7)
    assert describe_model(Config(), 512, 7).parameters == sum(p.numel() for p in model.parameters())


# settings


@pytest.mark.parametrize(
    "settings",
    [
        {"frames": 0},
        {"hidden": 2.5},
        {"layers": True},
        {"pooling": "sum"},
        {"dropout": 1.0},
        {"dropout": "0.1"},
        {"dropout": None},
        {"bidirectional": "no"},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(UsageError, match=f"model.{next(iter(settings))}"):
        Config(**settings)


def test_keys_of_another_model_are_named():
    with pytest.raises(
        UsageError, match=r"model.orders is a setting of the model est, and the model is gru"
    ) as refused:
        resolve(options={"model.name": "gru", "model.orders": 4})
    assert "model.hidden" in refused.value.remedy
    with pytest.raises(
        UsageError, match=r"model.hidden is a setting of the models gru, lstm, slstt, and the model is est"
    ):
        resolve(settings=["model.hidden=4"])


def test_a_file_of_another_model_gives_all_but_its_section(tmp_path):
    """Also one that names no model, as files of earlier releases."""
    path = tmp_path / "c.toml"
    for named in ("", 'name = "est"\n'):
        path.write_text(f"[loop]\nepochs = 3\n[model]\n{named}frames = 4\nlayers = 2\norders = 5\n", encoding="utf-8")
        found = resolve(file=path, options={"model.name": "gru"})
        assert (found.model, found.loop.epochs) == (Config(), 3)
        assert resolve(file=path).model.frames == 4


def test_a_run_is_not_resumed_as_another_model(cache, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", tiny_config(), watch=Recorder(3))
    with pytest.raises(SystemExit) as ended:
        main(["train", "--resume", "--out", str(tmp_path / "run"), "--model", "gru"])
    assert ended.value.code == 2
    assert re.search(differs("model.name", "est", "gru"), capsys.readouterr().err)


def test_the_middle_snippet_of_one_is_refused(cache, tmp_path):
    run = fit(cache, tmp_path / "run", tiny_config(model=TINY, epochs=1)).run
    with pytest.raises(UsageError, match="none is in the middle") as refused:
        evaluate(run, change=Change(zero="middle"))
    assert refused.value.remedy == "--zero-middle 52:57"


def test_short_clips_are_told(cache, tmp_path):
    short = learning_cache(tmp_path / "short.zarr", 54, frames=20)
    watch = Recorder()
    fit(short, tmp_path / "run", tiny_config(model=Config(hidden=4), epochs=1), watch=watch)
    assert any("show only" in text for text in watch.warned)


def test_the_heading_names_it(cache, tmp_path):
    run = fit(cache, tmp_path / "run", tiny_config(model=TINY, epochs=1, control=False)).run
    assert run.facts["heading"] == "GRU (a reconstruction) on a frozen backbone: the published training is end to end"
    assert run.facts["model"] == "gru"


@pytest.mark.parametrize(
    "settings",
    [
        {"mixup": 0.4, "class_weights": True, "label_smoothing": 0.1},
        {"accumulate": 2, "average": 0.5, "noise": 0.1, "scaling": True},
        {"precision": "fp16", "clip_norm": 1.0},
    ],
)
def test_settings_of_the_loop_hold_for_it(cache, settings):
    trainer = make_trainer(ClipSet.from_cache(open_cache(cache), range(24)), model=TINY, **settings)
    trainer.run_epoch(0, stop=Stop(), watch=TrainingWatch())
    record = trainer.record(0, 1.0)
    assert 0 < record["loss"] < 3
    assert "order_loss" not in record


def test_building_draws_nothing_from_the_global_stream():
    before = torch.get_rng_state()
    build(TINY, width=5, num_classes=2, seed=1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("text", ["[1]", "3", "none"])
def test_a_name_that_is_no_word_is_refused(text):
    with pytest.raises(UsageError, match="There is no model"):
        resolve(settings=[f"model.name={text}"])


def test_a_model_is_named_by_its_own_key():
    with pytest.raises(UsageError, match=r"named by model.name") as refused:
        resolve(settings=["model=gru"])
    assert refused.value.remedy == "--model gru"


def test_presets_leave_other_models_alone():
    assert resolve("official", options={"model.name": "gru"}).model == Config()
    assert resolve("fast", options={"model.name": "gru"}).loop.batch == 16


def test_clips_are_not_shuffled_for_it(cache, tmp_path, capsys):
    fit(cache, tmp_path / "run", tiny_config(model=TINY, epochs=1))
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(tmp_path / "run"), "--shuffle-test"])
    assert ended.value.code == 2
    assert "no order to shuffle by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "remedy"), [("gur", "--model gru"), ("EST1", "--model est"), ("xyz", "est train --list-models")]
)
def test_a_model_that_is_not_there_names_the_nearest(cache, capsys, typed, remedy):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--cache", str(cache), "--model", typed])
    printed = capsys.readouterr().err
    assert ended.value.code == 2
    assert "--model is est, transformer, gru, " in printed
    assert f"try: {remedy}\n" in printed


def test_on_the_line(cache, tmp_path):
    call = [
        "train",
        "--cache",
        str(cache),
        "--model",
        "gru",
        "--hidden",
        "8",
        "--frames",
        "15",
        "--one-way",
        "--pooling",
        "last",
    ]
    with pytest.raises(SystemExit) as ended:
        main([*call, "--epochs", "1", "--holdout", "--out", str(tmp_path / "run"), "--quiet"])
    assert ended.value.code == 0
    config = Run.open(tmp_path / "run").config.model
    assert config == Config(hidden=8, frames=15, bidirectional=False, pooling="last")
    assert np.isclose(describe_model(config, 16, 3).macs, 15 * 24 * (16 + 8 + 2) + 27)
