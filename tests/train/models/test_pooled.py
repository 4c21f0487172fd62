"""Pooled statistics: places that all clips leave over change no bit of what the model says or learns."""

from __future__ import annotations

import pytest
import torch
from train_samples import learning_cache, make_trainer

from est.cache import open_cache
from est.train.config.sampling import SamplingConfig
from est.train.data.clipset import ClipSet
from est.train.data.sampling import sampler_of
from est.train.models.contract import AllFrames
from est.train.models.pooled.config import Config
from est.train.models.pooled.model import build

PLACES, WIDTH, CLASSES = 400, 40, 3


def answer(features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return logits, statistics and the gradient of the classifier."""
    model = build(Config(), width=WIDTH, num_classes=CLASSES, seed=0)
    output = model({"features": features, "mask": mask})
    output.expression.square().sum().backward()
    return output.expression, output.embedding, model.classifier.weight.grad


@pytest.mark.parametrize("longest", [1, 4, 17, 100, 290, 359, 400])
def test_places_behind_the_longest_clip_change_no_bit(longest):
    generator = torch.Generator().manual_seed(longest)
    counts = torch.randint(1, longest + 1, (33,), generator=generator)
    counts[0] = longest
    place = torch.arange(PLACES)
    there = (place < counts[:, None]) & (torch.rand(33, PLACES, generator=generator) < 0.8)  # some show no face
    frames = torch.randn(33, PLACES, WIDTH, generator=generator)
    last = place.minimum(counts[:, None] - 1)  # as a set of clips gives it: the last frame again
    frames = frames.gather(1, last[..., None].expand_as(frames))[:, None]
    shown = sampler_of(SamplingConfig(), Config().shown, longest=longest).test(counts).shape[2]
    assert longest <= shown < longest + 4
    whole = answer(frames, there[:, None])
    cut = answer(frames[:, :, :shown].contiguous(), there[:, None, :shown])
    for one, other in zip(whole, cut, strict=True):
        assert torch.equal(one, other)


def test_a_training_has_as_many_places_as_its_longest_clip(tmp_path, monkeypatch):
    cache = open_cache(learning_cache(tmp_path / "c.zarr", 12, fields={3: {"frames": 18}}, frames=9))
    clips = ClipSet.from_cache(cache, range(12), told=["mask"])
    weights = []
    for places in (20, 400):
        trainer = make_trainer(clips, model=Config(), batch=4)
        plan = trainer.planner.draw(0)
        assert plan.index.shape == (3, 4, 1, places)
        for step in range(trainer.num_steps):
            trainer.step(plan, step)
        weights.append(trainer.model.classifier.weight.detach().clone())
        monkeypatch.setattr(Config, "shown", AllFrames(most=400))  # as before: padded
    assert torch.equal(*weights)
