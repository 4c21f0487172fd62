"""Pooled statistics: places that all clips leave over change no bit of what the model says or learns."""

from __future__ import annotations

import pytest
import torch

from est.train.config.sampling import SamplingConfig
from est.train.data.sampling import sampler_of
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
