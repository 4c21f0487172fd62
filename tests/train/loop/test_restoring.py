"""Steps that are taken otherwise: in parts, in half precision, with a running mean of the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from train_samples import TINY, learning_cache, make_trainer

from est.cache import open_cache
from est.cache.interrupt import Stop
from est.train import EstConfig, TrainingWatch
from est.train.data.clipset import ClipSet
from est.train.loop.checkpoint import Checkpoint

CLIPS = 30


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    cache = open_cache(learning_cache(tmp_path_factory.mktemp("parts") / "c.zarr", CLIPS, frames=105))
    return ClipSet.from_cache(cache, range(CLIPS))


def test_half_precision_resumes_with_its_scale(clips):
    def run(trainer, epochs):
        for epoch in epochs:
            trainer.run_epoch(epoch, stop=Stop(), watch=TrainingWatch())
        return trainer

    whole = run(make_trainer(clips, model=TINY, precision="fp16"), range(3))
    first = run(make_trainer(clips, model=TINY, precision="fp16"), range(2))
    state = {name: tensor.clone() for name, tensor in first.state().items()}
    assert state["scaler"].tolist()[1] == 6  # steps since the scale has changed
    second = make_trainer(clips, model=TINY, precision="fp16", seed=1)
    second.restore(Checkpoint(path=Path("checkpoint"), tensors=state))
    ours, theirs = whole.state(), run(second, [2]).state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_batch_in_parts_is_the_same_batch(clips):
    """Without dropout and batch norm, what a step does follows from the whole batch alone."""
    model = EstConfig(dim=16, heads=2, ffn=32, layers=1, dropout=0.0, head_dropout=0.0, ssop=False)
    for settings in ({}, {"class_weights": True, "label_smoothing": 0.1}):
        whole, parts = (make_trainer(clips, model=model, batch=6, accumulate=parts, **settings) for parts in (1, 3))
        for trainer in (whole, parts):
            trainer.model.train()
            trainer.step(trainer.planner.draw(0), 0)
        torch.testing.assert_close(whole.tally[0], parts.tally[0], atol=1e-6, rtol=1e-6)
        for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-4)


def test_the_average_follows_and_is_what_is_scored(clips):
    trainer = make_trainer(clips, average=0.5)
    assert trainer.scored is not trainer.model
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.model.train()
    plan = trainer.planner.draw(0)
    mean = before
    for step in range(3):
        trainer.step(plan, step)
        keep = min(0.5, (1 + step) / (10 + step))
        now = trainer.model.state_dict()
        mean = {name: keep * mean[name] + (1 - keep) * now[name] for name in now}
        for name, tensor in trainer.scored.state_dict().items():
            if tensor.is_floating_point():
                torch.testing.assert_close(tensor, mean[name])
            else:
                assert torch.equal(tensor, now[name])
    plain = make_trainer(clips)
    assert plain.scored is plain.model
