"""The optimisers and schedules: SGD by its formula, steps of the learning rate, and a resumed run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from train_samples import Recorder, fit_interrupted, learning_cache, outcome, tiny_config

from est.errors import UsageError
from est.train import LoopConfig, fit, model_config
from est.train.loop.optimizer import build_optimizer, learning_rate


def test_sgd_is_its_formula():
    """v ← 0.8 v + g + 0.1 w; w ← w − 0.5 v."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    loop = LoopConfig(optimizer="sgd", momentum=0.8, weight_decay=0.1, learning_rate=0.5)
    optimizer = build_optimizer([{"params": [weight]}], loop, torch.device("cpu"))
    wanted, velocity = weight.detach().clone(), torch.zeros(2)
    for gradient in (torch.tensor([0.3, 0.1]), torch.tensor([-0.2, 0.4])):
        velocity = 0.8 * velocity + gradient + 0.1 * wanted
        wanted = wanted - 0.5 * velocity
        weight.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(weight.detach(), wanted)


def test_the_rate_falls_by_steps():
    loop = LoopConfig(schedule="step", step_epochs=3, warmup=2, epochs=10, learning_rate=1.0)
    rates = [learning_rate(loop, epoch) for epoch in range(10)]
    assert rates == pytest.approx([0.5, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001])
    by_five = replace(loop, step_factor=0.2)
    assert [learning_rate(by_five, epoch) for epoch in (2, 3, 6, 9)] == pytest.approx([1, 0.2, 0.04, 0.008])
    with pytest.raises(UsageError, match=r"loop\.step_factor goes from 0\.001 to 1, found 2"):
        LoopConfig(step_factor=2.0)


def test_a_run_with_sgd_resumes_bit_for_bit(tmp_path):
    cache = learning_cache(tmp_path / "c.zarr", 24)
    config = tiny_config(
        model=model_config("gru", frames=9, hidden=8), epochs=3, optimizer="sgd", schedule="step", step_epochs=1
    )
    fit(cache, tmp_path / "whole", config, watch=Recorder())
    fit_interrupted(cache, tmp_path / "run", config, 4)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_recorded_step_is_adams():
    with pytest.raises(UsageError, match=r"found loop\.optimizer = sgd"):
        LoopConfig(optimizer="sgd", graph=True)
