"""SLSTT's trainable half: its published size, its parity with torch's LSTM, what it passes over, and the training of its authors."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from train_samples import Recorder, learning_cache, tiny_config

from est.errors import UsageError
from est.train import fit
from est.train.config.configfile import resolve
from est.train.loop.optimizer import learning_rate
from est.train.models.registry import build_model, describe_model, model_config

WIDTH = 12
SIZES = {"hidden": 10, "classifier_hidden": 6}


def built(**settings):
    """Return a model of three classes and three layers whose norm does something."""
    model = build_model(model_config("slstt", **{**SIZES, **settings}), width=WIDTH, num_classes=3, seed=2).eval()
    with torch.no_grad():
        for parameter in (*model.norm.parameters(), *model.classifier.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    return model


def batch_of(frames, mask=None):
    """Return clips as a model is shown them.  # (B, T, D), (B, T) → (B, 1, T, D), (B, 1, T)"""
    mask = torch.ones(frames.shape[:2], dtype=torch.bool) if mask is None else mask
    return {"features": frames[:, None], "mask": mask[:, None]}


@pytest.mark.parametrize(("aggregation", "parameters"), [("lstm", 6_961_667), ("mean", 1536 + 769 * 3)])
def test_it_has_the_published_number_of_parameters(aggregation, parameters):
    config = model_config("slstt", aggregation=aggregation)
    assert describe_model(config, 768, 3).parameters == parameters
    with torch.device("meta"):
        assert sum(one.numel() for one in nn.LSTM(768, 512, 3).parameters()) == 6_828_032  # as published


def test_it_counts_what_a_clip_costs():
    rows = describe_model(model_config("slstt", **SIZES), WIDTH, 3, lengths=[11]).rows
    layers = [
        11 * 4 * 10 * (WIDTH + 10 + 2),
        *[11 * 4 * 10 * (10 + 10 + 2)] * 2,
    ]  # four gates of x, state and two biases
    assert [row.macs for row in rows if row.part.startswith(("norm", "LSTM", "classes"))] == [
        11 * 2 * WIDTH,
        *layers,
        10 * 6 + 6 + 6 * 3 + 3,
    ]


@pytest.mark.parametrize("size", [1.0, 1e-3])  # of small numbers the norm's 1e-6 counts
def test_it_computes_what_torchs_lstm_computes(size):
    model, frames = built(), size * torch.randn(4, 11, WIDTH)
    lstm, norm = nn.LSTM(WIDTH, 10, 3, batch_first=True), nn.LayerNorm(WIDTH, eps=1e-6)
    lstm.load_state_dict(
        {
            f"{name}_l{number}": value
            for number, layer in enumerate(model.layers)
            for name, value in layer.state_dict().items()
        }
    )
    norm.load_state_dict(model.norm.state_dict())
    last = lstm(norm(frames))[0][:, -1]
    wanted = model.classifier(torch.relu(model.fc1(last)))
    assert (model(batch_of(frames)).expression - wanted).abs().max() < 1e-6


def test_of_means_the_logits_are_the_mean_of_those_of_the_frames():
    model, frames = built(aggregation="mean"), torch.randn(4, 11, WIDTH)
    wanted = torch.stack([model.classifier(model.norm(frames[:, at])) for at in range(11)]).mean(0)
    torch.testing.assert_close(model(batch_of(frames)).expression, wanted)


@pytest.mark.parametrize("aggregation", ["lstm", "mean"])
def test_what_a_clip_leaves_over_and_frames_without_a_face_change_nothing(aggregation):
    model, frames = built(aggregation=aggregation), torch.randn(3, 14, WIDTH)
    mask = torch.ones(3, 14, dtype=torch.bool)
    mask[:, 11:], mask[1, 4:6], mask[2] = False, False, False
    found = model(batch_of(frames, mask)).expression
    torch.testing.assert_close(found[0], model(batch_of(frames[:1, :11])).expression[0])
    kept = torch.cat([frames[1:2, :4], frames[1:2, 6:11]], 1)
    torch.testing.assert_close(found[1], model(batch_of(kept)).expression[0])
    assert torch.isfinite(found[2]).all()  # no frame at all
    other = frames.clone()
    other[:, 11:] = 100.0
    torch.testing.assert_close(model(batch_of(other, mask)).expression, found)
    other[0, 10] *= -1  # the last real one
    assert not torch.allclose(model(batch_of(other, mask)).expression[0], found[0], atol=1e-4)


def test_the_classifier_of_means_begins_with_zeros():
    model = build_model(model_config("slstt", aggregation="mean"), width=WIDTH, num_classes=3, seed=2)
    assert not any(parameter.any() for parameter in model.classifier.parameters())


def test_the_training_of_its_authors_is_a_preset():
    config = resolve("published", options={"model.name": "slstt"})
    loop = config.loop
    assert (loop.optimizer, loop.momentum, loop.weight_decay, loop.batch) == ("sgd", 0.9, 1e-4, 2)
    assert [learning_rate(loop, epoch) for epoch in range(loop.epochs)] == pytest.approx([0.01] * 29 + [0.001] * 11)
    assert config.model == model_config("slstt")
    config.expect_effective()
    small = resolve("small", base=config)  # another preset puts back what this one sets
    assert (small.loop.schedule, small.loop.step_epochs) == ("cosine", 40)
    with pytest.raises(UsageError, match="is of slstt; there is no preset of the training of gru") as refused:
        resolve("published", options={"model.name": "gru"})
    assert refused.value.remedy == "--preset, one of official, paper-text, fast, small, modern"


def test_a_run_says_what_the_published_system_reads(tmp_path):
    config = tiny_config(model=model_config("slstt", **SIZES), epochs=1, control=False)
    said = {}
    for modality in ("", "flow"):
        cache = learning_cache(tmp_path / f"c{modality}.zarr", 18, frames=11, weights={"modality": modality})
        watch = Recorder()
        results = fit(cache, tmp_path / f"run{modality}", config, watch=watch)
        said[modality] = [line for line in watch.said if "The published SLSTT reads features of flow" in line]
        assert results.run.facts["heading"] == "SLSTT on a frozen backbone"
    assert [len(lines) for lines in said.values()] == [1, 0]
    assert "gap of" in said[""][0]
