"""What a training counts and how its losses are put together: classes on its own half, right answers, both clips of a mixture."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from train_samples import LABELS, PLAIN, Recorder, learning_cache, make_trainer, tiny_config

from est.cache import open_cache
from est.train import model_config
from est.train.config.loss import LossConfig
from est.train.data.clipset import ClipSet
from est.train.loop.fold_training import FoldTraining

CLIPS = 30
GRU = model_config("gru", frames=9, hidden=8, dropout=0.0)
UNEVEN = np.array([0] * 20 + [1] * 7 + [2] * 3)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    cache = learning_cache(tmp_path_factory.mktemp("counts") / "c.zarr", CLIPS, frames=24)
    return ClipSet.from_cache(open_cache(cache), range(CLIPS), told=["mask"])


def votes_of(label, certain=1.0):
    """Return shares: so much for the label, the rest for the next class."""
    label = torch.from_numpy(label)
    return certain * F.one_hot(label, 3).float() + (1 - certain) * F.one_hot((label + 1) % 3, 3).float()


@pytest.mark.parametrize("voted", [False, True], ids=["labels", "votes"])
def test_classes_are_counted_on_the_training_half_by_what_is_learnt(clips, voted):
    half = np.array([*range(14), 20, 21, 22, 27])  # 14, 3 and 1 of the classes
    votes = votes_of(UNEVEN, 0.7) if voted else None
    counts = torch.tensor([0.7 * 14 + 0.3, 0.7 * 3 + 0.3 * 14, 0.7 + 0.3 * 3] if voted else [14.0, 3.0, 1.0])
    how = {"model": GRU, "label": UNEVEN, "train": half, "votes": votes}
    found = make_trainer(clips, **how, loss=LossConfig(adjustment=2.0)).weighting.adjustment
    torch.testing.assert_close(found, 2 * (counts / 18).log())
    found = make_trainer(clips, **how, class_weights=True).class_weight
    torch.testing.assert_close(found, 18 / (3 * counts))
    found = make_trainer(clips, **how, loss=LossConfig(effective_number=0.9)).class_weight
    wanted = 1 / (1 - 0.9**counts)
    torch.testing.assert_close(found, wanted * 18 / (wanted * counts).sum())


def test_what_is_right_is_counted_without_the_adjustment(clips):
    trainer = make_trainer(clips, model=GRU, label=UNEVEN, loss=LossConfig(adjustment=10.0), batch=30)
    plan, seen = trainer.begin_epoch(0), {}
    trainer.model.register_forward_hook(lambda _, given, output: seen.update(output=output))
    trainer.step(plan, 0)
    logits, target = seen["output"].expression.detach(), plan.target[0]
    right = int((logits.argmax(1) == target).sum())
    adjusted = logits + 10 * torch.tensor([20 / 30, 7 / 30, 3 / 30]).log()
    assert int((adjusted.argmax(1) == target).sum()) == 20 != right
    assert int(trainer.tally[0, trainer.columns.index("right")]) == right


def test_centres_learn_at_their_rate_and_do_not_decay(clips):
    loss = LossConfig(centre=1.0, centre_rate=3.0)
    trainer = make_trainer(clips, model=GRU, loss=loss, weight_decay=0.1, warmup=0, optimizer="sgd", momentum=0.0)
    trainer.begin_epoch(0)
    weights, centres = trainer.optimizer.param_groups
    assert centres["lr"] == pytest.approx(3 * weights["lr"])
    assert (weights["weight_decay"], centres["weight_decay"]) == (0.1, 0)


def test_mixed_clips_have_both_orders(clips):
    trainer = make_trainer(clips, model=PLAIN, mixup=0.4)
    plan, seen = trainer.begin_epoch(0), {}
    trainer.model.register_forward_hook(lambda _, given, output: seen.update(output=output))
    trainer.step(plan, 1)
    share, order, said = float(plan.mix[1]), plan.extras["order"][1], seen["output"].order.detach()
    own, other = (F.cross_entropy(said, one) for one in (order, order.roll(1)))
    assert abs(own - other) > 1e-4
    assert float(trainer.tally[1, 1]) == pytest.approx(float(share * own + (1 - share) * other), abs=1e-6)


def test_only_a_loss_that_is_like_guessing_is_told_to_be_so():
    told = {}
    for name, on in {
        "plain": {},
        "beside": {"compact": 0.1},
        "focal": {"focal": 1.0},
        "prior": {"adjustment": 1.0},
    }.items():
        config = tiny_config(model=GRU, loss=LossConfig(**on))
        history, watch = [{"expression_loss": 1.2}] * 10, Recorder()
        data, part = SimpleNamespace(labels=LABELS), SimpleNamespace(name="fold1")
        FoldTraining._warn_of_guessing(
            SimpleNamespace(config=config, history=history, data=data, part=part, watch=watch)
        )
        told[name] = bool(watch.warned)
    assert told == {"plain": True, "beside": True, "focal": False, "prior": False}
