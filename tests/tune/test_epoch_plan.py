"""Which frames an epoch looks at: classes alike, clips bounded, the apex more often; and how pictures are changed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tune_samples import config

from est.tune.clips import weigh
from est.tune.epoch_plan import draw_epoch, draw_units, punch, shape_of_epoch, spread_shares
from est.tune.samples import Samples


class Numbers:
    """Pictures that are never looked at."""

    line, waited = "", 0.0

    def index(self, frames, mirrored=None):
        return torch.from_numpy(frames)[:, None, None]

    def take(self, index, augmentation=None):
        raise AssertionError

    def expect(self, batches):
        raise AssertionError


def samples(counts, truth, weight=None):
    """Return units with so many frames, of these classes."""
    counts, truth = np.asarray(counts), np.asarray(truth)
    classes = int(truth.max()) + 1
    return Samples(
        unit=np.repeat(np.arange(len(counts)), counts),
        weight=np.ones(counts.sum()) if weight is None else weight,
        target=np.eye(classes, dtype=np.float32)[truth],
        names=np.array([str(number) for number in range(len(counts))]),
        labels=tuple("abc"[:classes]),
        pictures=Numbers(),
        side=8,
        noun="clips",
        facts={},
    )


@settings(max_examples=40)
@given(st.lists(st.integers(1, 30), min_size=4, max_size=25), st.integers(1, 9), st.integers(2, 20), st.booleans())
def test_an_epoch_is_bounded_and_fair(counts, per_clip, batch, balanced):
    found = samples(counts, [0, 1, *(number % 3 == 0 for number in range(2, len(counts)))])
    train = np.arange(len(counts))
    wanted = config(batch=batch, frames_per_clip=per_clip, balanced=balanced)
    steps, size = shape_of_epoch(found, train, wanted)
    plan = draw_epoch(found, train, wanted, epoch=1)
    assert plan.frames.shape == (steps, size)
    assert size <= batch
    assert abs(plan.frames.size - sum(min(count, per_clip) for count in counts)) <= size
    units = found.unit[plan.frames.ravel()]
    drawn = np.bincount(units, minlength=len(counts))
    groups = [train[found.truth == code] for code in (0, 1)] if balanced else [train]
    for group in groups:  # of a group no unit comes again before all have come
        assert drawn[group].max() - drawn[group].min() <= 1
    if balanced:
        classes = np.bincount(found.truth[units])
        assert classes.max() - classes.min() <= 1


def test_an_epoch_follows_from_seed_and_number():
    found = samples([5] * 12, [0, 1] * 6)
    plans = [
        draw_epoch(found, np.arange(12), config(seed=seed), epoch) for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))
    ]
    assert (plans[0].frames == plans[1].frames).all()
    assert torch.equal(plans[0].augmentation, plans[1].augmentation)
    assert torch.equal(plans[0].holes, plans[1].holes)
    assert plans[0].seeds == plans[1].seeds
    for other in plans[2:]:
        assert (plans[0].frames != other.frames).any()


def test_frames_of_a_clip_are_spread_before_they_repeat():
    found = samples([6, 6], [0, 1])
    plan = draw_epoch(found, np.arange(2), config(frames_per_clip=6), 0)
    assert sorted(plan.frames.ravel()) == list(range(12))  # as many as there are: each once


def test_frames_near_the_apex_are_drawn_more_often():
    position, count = np.arange(21), np.full(21, 21)
    for apex, peak in (("end", 20), ("middle", 10), ("late", 14)):
        weight = weigh(position, count, apex)
        assert weight.argmax() == peak
        found = samples([21, 21], [0, 1], np.concatenate([weight, weight]))
        drawn = Counter()
        for epoch in range(200):
            drawn.update(
                (draw_epoch(found, np.arange(2), config(frames_per_clip=3), epoch).frames % 21).ravel().tolist()
            )
        share = np.array([drawn[frame] for frame in range(21)]) / sum(drawn.values())
        assert np.abs(share - weight / weight.sum()).max() < 0.04
    assert (weigh(position, count, "uniform") == 1).all()
    assert weigh(np.array([0]), np.array([1]), "end") > 0  # a clip of a single frame


def test_units_of_a_rare_class_come_as_often_as_others():
    rng = np.random.default_rng(0)
    units = draw_units([np.arange(10), np.array([10])], 41, rng)
    assert sorted([(units < 10).sum(), (units == 10).sum()]) == [20, 21]


def test_each_k_th_of_a_units_weight_is_met_once():
    units = np.array([3, 1, 3, 3, 1, 0])
    shares = spread_shares(units, np.random.default_rng(0))
    assert sorted((shares[units == 3] * 3).astype(int)) == [0, 1, 2]
    assert sorted((shares[units == 1] * 2).astype(int)) == [0, 1]
    assert 0 <= shares[units == 0][0] < 1


def test_frames_that_score_are_spread_and_different():
    found = samples([9, 2], [0, 1])
    assert found.spread(np.array([0, 1]), 3).tolist() == [1, 4, 7, 9, 10]


def test_augmentation_stays_within_its_bounds_and_can_be_switched_off():
    found = samples([4] * 40, [0, 1] * 20)
    wanted = config(shift=0.1, zoom=0.2, brightness=0.3, occlusion=0.4)
    plan = draw_epoch(found, np.arange(40), wanted, 0)
    low, high = plan.augmentation.flatten(0, 1).amin(0), plan.augmentation.flatten(0, 1).amax(0)
    assert (low >= torch.tensor([-0.1, -0.1, 0.8, 0.7])).all()
    assert (low[:2] < -0.08).all()
    assert (high <= torch.tensor([0.1, 0.1, 1.2, 1.3])).all()
    side = plan.holes[..., 2]
    assert 0.3 < (side == 0).float().mean() < 0.7
    assert 0.3 < side.max() <= 0.4
    plain = draw_epoch(found, np.arange(40), config(shift=0.0, zoom=0.0, brightness=0.0, occlusion=0.0), 0)
    assert plain.augmentation is None
    assert plain.holes is None


@pytest.mark.parametrize("side", [0.0, 0.5])
def test_a_square_is_hidden_and_nothing_else(side):
    pictures = torch.full((2, 8, 8, 3), 7, dtype=torch.uint8)
    found = punch(pictures, torch.tensor([[0.5, 0.25, side], [0.0, 0.0, 0.0]]))
    assert (found[1] == 7).all()
    grey = found[0] == 128
    assert grey.sum() == 3 * (side * 8) ** 2
    if side:
        assert grey[0:4, 2:6].all()  # down around 0.25, across around 0.5
    assert (pictures == 7).all()


def test_frames_that_are_judged_together_are_of_one_clip_and_spread_over_it():
    found = samples([9] * 8, [0, 1] * 4)
    wanted = config(together=3, batch=8, frames_per_clip=6)
    steps, size = shape_of_epoch(found, np.arange(8), wanted)
    assert (steps, size) == (8, 6)  # two clips a step
    frames = draw_epoch(found, np.arange(8), wanted, 0).frames.reshape(-1, 3)
    assert (found.unit[frames] == found.unit[frames[:, :1]]).all()
    assert (frames % 9 // 3 == [0, 1, 2]).all()  # one of each third
    assert np.bincount(found.unit[frames[:, 0]]).tolist() == [2] * 8
    images = samples([1] * 8, [0, 1] * 4)
    assert shape_of_epoch(images, np.arange(8), wanted) == (1, 8)  # an image has one frame


def test_settings_that_earlier_releases_had_not_are_said_where_they_change_something():
    assert not {"together", "average"} & config(together=1, average=0.0).settings().keys()
    assert config(together=2).settings()["together"] == 2
