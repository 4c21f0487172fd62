"""The loop: what an epoch looks at, what a step learns from it, and that everything follows from the seed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from train_samples import PLAIN, TINY, learning_cache, make_trainer

from est.cache import open_cache
from est.cache.interrupt import Stop
from est.errors import EstError
from est.train import EstConfig, TrainingWatch
from est.train.data import memory
from est.train.data.clipset import ClipSet
from est.train.loop.checkpoint import Checkpoint
from est.train.loop.trainer import clock, reproducible
from est.train.losses.class_weights import inverse

CLIPS = 30


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Clips of 105 frames, each with a face or not: a unified frame is a frame."""
    folder = tmp_path_factory.mktemp("loop")
    cache = open_cache(learning_cache(folder / "c.zarr", CLIPS, frames=105, flip=True))
    return ClipSet.from_cache(cache, range(CLIPS), others=["gap_mirrored"], no_face="keep")


def one_step(trainer, epoch=0, step=0):
    """Take a step; return its plan, what the model was given, and what it said."""
    seen = {}
    before = trainer.model.register_forward_pre_hook(lambda _, given: seen.update(given=given[0]))
    after = trainer.model.register_forward_hook(lambda _, given, output: seen.update(output=output))
    trainer.model.train()
    plan = trainer.planner.draw(epoch)
    trainer.step(plan, step)
    before.remove()
    after.remove()
    return plan, seen["given"], seen["output"]


def nll(logits, target):
    """Return −log p of each target, in double precision."""
    logits = logits.detach().double()
    return (logits.logsumexp(1) - logits[torch.arange(len(target)), target]).float()


def test_an_epoch_shows_every_clip_once_and_drops_the_rest(clips):
    trainer = make_trainer(clips, batch=8)
    plan = trainer.planner.draw(0)
    assert plan.target.shape == (CLIPS // 8, 8)
    shown = plan.index.view(-1, 35)[:, 0] // 105
    assert len(set(shown.tolist())) == 24
    assert torch.equal(plan.target.view(-1), torch.from_numpy(clips.label)[shown])
    others = [set((trainer.planner.draw(epoch).index.view(-1, 35)[:, 0] // 105).tolist()) for epoch in range(6)]
    assert set().union(*others) == set(range(CLIPS)), "who is dropped changes"
    assert torch.equal(trainer.planner.draw(3).index, make_trainer(clips, batch=8).planner.draw(3).index)
    assert not torch.equal(trainer.planner.draw(3).index, trainer.planner.draw(4).index)
    # another seed draws other clips, besides having other orders
    other = make_trainer(clips, batch=8, seed=2).planner.draw(3)
    assert not torch.equal(trainer.planner.draw(3).index // 105, other.index // 105)


def test_an_epoch_planned_in_blocks_is_the_same(clips, monkeypatch):
    trainer = make_trainer(clips, batch=8, mirrored=True)
    whole = trainer.planner.draw(1)
    told = clips.told(["mask"], torch.arange(CLIPS), torch.arange(120).expand(CLIPS, 1, -1))["mask"]
    monkeypatch.setattr(memory, "BLOCK", 5)
    assert torch.equal(trainer.planner.draw(1).index, whole.index)
    assert torch.equal(clips.told(["mask"], torch.arange(CLIPS), torch.arange(120).expand(CLIPS, 1, -1))["mask"], told)
    assert told[..., :105].any()
    assert not told[..., 105:].any()


def test_snippets_stand_as_the_order_says(clips):
    trainer = make_trainer(clips, model=EstConfig(**{**vars(PLAIN), "position": "snippet"}))
    plan = trainer.planner.draw(0)
    orders = trainer.model.orders[plan.extras["order"]].view(-1, 7)
    assert len(set(plan.extras["order"].view(-1).tolist())) > 5
    for rows, order in zip(plan.index.view(-1, 7, 5), orders, strict=True):
        position = rows % 105
        assert len((rows // 105).unique()) == 1
        # a window that starts at s shows snippet i in the frames s + 10 i … s + 10 i + 14: one s must do for all seven
        first = (position.max(1).values - 14 - 10 * order).max()
        last = (position.min(1).values - 10 * order).min()
        assert max(0, int(first)) <= min(29, int(last))
        assert (position.diff(dim=1) > 0).all(), "frames keep their order inside a snippet"


def test_the_model_is_given_the_frames_and_their_order(clips):
    trainer = make_trainer(clips)
    plan, given, _ = one_step(trainer, step=1)
    assert torch.equal(given["features"], clips.take(plan.index[1]))
    assert torch.equal(given["order"], plan.extras["order"][1])
    without = make_trainer(clips, model=EstConfig(**{**vars(PLAIN), "ssop": False}))
    plan, given, output = one_step(without)
    assert list(given) == ["features"]
    assert output.order is None
    assert ((plan.index.view(-1, 35) % 105).diff(dim=1) > -15).all(), "without orders snippets stand naturally"


def test_the_plain_loss_and_the_plain_step(clips):
    """Nothing but cross entropy and Adam: against the same step written out here."""
    trainer, other = make_trainer(clips), make_trainer(clips)
    plan, given, output = one_step(trainer)
    expression, order = nll(output.expression, plan.target[0]).mean(), nll(output.order, plan.extras["order"][0]).mean()
    assert trainer.tally[0, 0] == pytest.approx(float(expression), abs=1e-6)
    assert trainer.tally[0, 1] == pytest.approx(float(order), abs=1e-6)
    assert trainer.tally[0, 2] == (output.expression.argmax(1) == plan.target[0]).sum()
    assert trainer.tally[0, 3] == (output.order.argmax(1) == plan.extras["order"][0]).sum()
    model = other.model.train()
    again = model(given)
    log = again.expression.log_softmax(1)[range(8), plan.target[0]].mean()
    (-log - again.order.log_softmax(1)[range(8), plan.extras["order"][0]].mean() / 7).backward()
    rate, decay, tiny = trainer.learning_rate(0), 1e-4, 1e-8
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            gradient = parameter.grad + decay * parameter
            expected = parameter - rate * gradient / (gradient.abs() + tiny)  # Adam's first step
            moved = dict(trainer.model.named_parameters())[name]
            # where a gradient is next to nothing its sign is a matter of rounding
            large = gradient.abs() > 1e-6
            torch.testing.assert_close(moved[large], expected[large], atol=1e-5, rtol=0)


def test_label_smoothing(clips):
    trainer = make_trainer(clips, label_smoothing=0.3)
    plan, _, output = one_step(trainer)
    log = output.expression.detach().log_softmax(1)
    expected = 0.7 * nll(output.expression, plan.target[0]).mean() - 0.3 * log.mean()
    assert trainer.tally[0, 0] == pytest.approx(float(expected), abs=1e-6)
    assert trainer.tally[0, 1] == pytest.approx(float(nll(output.order, plan.extras["order"][0]).mean()), abs=1e-6)


def test_mixup(clips):
    trainer = make_trainer(clips, mixup=0.4)
    plan, given, output = one_step(trainer, step=2)
    share = float(plan.mix[2])
    assert 0 < share < 1
    rows = clips.take(plan.index[2])
    torch.testing.assert_close(given["features"], share * rows + (1 - share) * rows.roll(1, 0))
    for column, logits, target in ((0, output.expression, plan.target[2]), (1, output.order, plan.extras["order"][2])):
        expected = share * nll(logits, target).mean() + (1 - share) * nll(logits, target.roll(1)).mean()
        assert trainer.tally[2, column] == pytest.approx(float(expected), abs=1e-6)
    assert len(plan.mix.unique()) == 3
    assert make_trainer(clips).planner.draw(0).mix is None


def test_noise_is_in_deviations_of_each_feature(clips):
    trainer = make_trainer(clips, noise=0.5, batch=24)
    plan, given, _ = one_step(trainer)
    features = given["features"]
    added = (features - clips.take(plan.index[0])).view(-1, clips.width)
    expected = 0.5 * clips.statistics(trainer.train)[1]
    assert added.std(0) == pytest.approx(expected, rel=0.15)
    assert added.mean(0).abs().max() < 0.15 * expected.max()
    again = make_trainer(clips, noise=0.5, batch=24)
    assert torch.equal(one_step(again)[1]["features"], features)
    assert not torch.equal(
        one_step(again, epoch=1)[1]["features"] - clips.take(again.planner.draw(1).index[0]), added.view_as(features)
    )


def test_class_weights_are_inverse_to_the_share_and_average_to_one(clips):
    counts = torch.tensor([12.0, 3.0, 0.0])
    weight = inverse(counts)
    assert weight.tolist() == pytest.approx([15 / (2 * 12), 15 / (2 * 3), 0.0])
    assert float((weight * counts).sum() / counts.sum()) == pytest.approx(1)
    label = np.array([0] * 20 + [1] * 6 + [2] * 4)
    trainer = make_trainer(clips, class_weights=True, label=label)
    assert trainer.class_weight.tolist() == pytest.approx([30 / (3 * 20), 30 / (3 * 6), 30 / (3 * 4)])
    plan, _, output = one_step(trainer)
    weight = trainer.class_weight[plan.target[0]]
    expected = (weight * nll(output.expression, plan.target[0])).sum() / weight.sum()
    assert trainer.tally[0, 0] == pytest.approx(float(expected), abs=1e-6)


def test_balanced_draws_every_class_equally_often(clips):
    label = np.array([0] * 22 + [1] * 6 + [2] * 2)

    def shares(**settings):
        trainer = make_trainer(clips, label=label, batch=10, **settings)
        drawn = torch.cat([trainer.planner.draw(epoch).target.view(-1) for epoch in range(60)])
        return (drawn.bincount(minlength=3) / len(drawn)).tolist()

    assert shares(balanced=True) == pytest.approx([1 / 3] * 3, abs=0.04)
    assert shares() == pytest.approx([22 / 30, 6 / 30, 2 / 30], abs=0.01)


def test_mirrored_clips_are_mirrored_whole(clips):
    plan = make_trainer(clips, mirrored=True, batch=30).planner.draw(0)
    mirrored = plan.index[0] >= CLIPS * 105
    assert (mirrored.view(30, -1).float().mean(1) % 1 == 0).all()
    assert 5 <= int(mirrored[:, 0, 0].sum()) <= 25
    assert len((plan.index[0] % (CLIPS * 105) // 105).unique()) == 30, "they are no clips of their own"
    assert (make_trainer(clips, batch=30).planner.draw(0).index < CLIPS * 105).all()


def test_the_learning_rate_rises_and_falls(clips):
    paper = make_trainer(clips, epochs=160, warmup=10, learning_rate=1e-4)
    assert [paper.learning_rate(epoch) for epoch in (0, 4, 9, 10)] == pytest.approx([1e-5, 5e-5, 1e-4, 1e-4])
    assert paper.learning_rate(85) == pytest.approx(5e-5)
    assert paper.learning_rate(159) == pytest.approx(1e-4 * 0.5 * (1 + math.cos(math.pi * 149 / 150)))
    assert 0 < paper.learning_rate(159) < 2e-8
    constant = make_trainer(clips, epochs=160, warmup=10, learning_rate=1e-4, schedule="constant")
    assert [constant.learning_rate(epoch) for epoch in (0, 10, 159)] == pytest.approx([1e-5, 1e-4, 1e-4])
    assert make_trainer(clips, epochs=1, warmup=10).learning_rate(0) == 3e-3
    trainer = make_trainer(clips, epochs=10, warmup=2, learning_rate=0.01)
    trainer.run_epoch(5, stop=Stop(), watch=TrainingWatch())
    assert (
        trainer.optimizer.param_groups[0]["lr"] == trainer.learning_rate(5) == trainer.record(5, 1.0)["learning_rate"]
    )


def test_weight_decay_is_l2_with_adam_and_decoupled_with_adamw(clips):
    """Told apart where the loss has no gradient: the rows of queries and keys of a single token."""
    moved = {}
    for kind in ("adam", "adamw"):
        trainer = make_trainer(clips, optimizer=kind, weight_decay=0.1, learning_rate=0.01, warmup=0)
        before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
        one_step(trainer)
        for name, parameter in trainer.model.named_parameters():
            idle = (parameter.grad == 0) & (before[name] != 0)
            if idle.sum() > 100:
                moved[kind] = before[name][idle], parameter.detach()[idle]
                break
    before, after = moved["adam"]
    torch.testing.assert_close(after, before - 0.01 * before.sign(), atol=2e-5, rtol=0)  # g / |g|
    before, after = moved["adamw"]
    torch.testing.assert_close(after, before * (1 - 0.01 * 0.1))


@pytest.mark.parametrize("limit", [0.0, 0.01])
def test_the_norm_of_the_gradient_is_clipped(clips, limit):
    trainer = make_trainer(clips, clip_norm=limit)
    norms = []
    trainer.optimizer.register_step_pre_hook(
        lambda *_: norms.append(float(torch.stack([p.grad.norm() for p in trainer.model.parameters()]).norm()))
    )
    one_step(trainer)
    assert norms == [pytest.approx(0.01, rel=1e-3)] if limit else norms[0] > 0.1


def test_bf16_runs_and_is_close(clips):
    trainers = [make_trainer(clips, precision=precision, epochs=3) for precision in ("fp32", "bf16")]
    records = [[], []]
    for found, trainer in zip(records, trainers, strict=True):
        for epoch in range(3):
            trainer.run_epoch(epoch, stop=Stop(), watch=TrainingWatch())
            found.append(trainer.record(epoch, 1.0))
    assert records[0][0]["loss"] == pytest.approx(records[1][0]["loss"], rel=0.02)
    assert records[0][-1]["loss"] == pytest.approx(records[1][-1]["loss"], rel=0.1)
    assert records[0][0]["loss"] != records[1][0]["loss"]
    assert all(tensor.dtype == torch.float32 for tensor in trainers[1].model.parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mixup": 0.5, "noise": 0.2, "balanced": True, "mirrored": True},
        {"average": 0.9},
        {"accumulate": 2, "average": 0.5},
    ],
)
def test_a_restored_trainer_takes_the_same_steps(clips, settings):
    def run(trainer, epoch, first_step=0, steps=None):
        stop = Stop()
        watch = TrainingWatch()
        watch.step = lambda _, step: setattr(stop, "wanted", step == steps)
        return trainer.run_epoch(epoch, first_step=first_step, stop=stop, watch=watch)

    whole = make_trainer(clips, model=TINY, **settings)
    for epoch in range(3):
        assert run(whole, epoch) == 3
    first = make_trainer(clips, model=TINY, **settings)
    run(first, 0)
    assert run(first, 1, steps=2) == 2
    state = {name: tensor.clone() for name, tensor in first.state().items()}
    second = make_trainer(clips, model=TINY, seed=1, **settings)
    second.restore(Checkpoint(path=Path("checkpoint"), tensors=state))
    torch.rand(17)  # whatever else draws from torch's own generator does not matter
    assert run(second, 1, first_step=2) == 3
    run(second, 2)
    ours, theirs = whole.state(), second.state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_an_epoch_is_its_own(clips, monkeypatch):
    """The steps of epoch 3 are those that were drawn for epoch 3."""
    trainer, taken = make_trainer(clips), []
    monkeypatch.setattr(trainer, "step", lambda plan, step, epoch: taken.append(plan.index[step]))
    trainer.run_epoch(3, stop=Stop(), watch=TrainingWatch())
    assert torch.equal(torch.stack(taken), trainer.planner.draw(3).index)


def test_an_epoch_ends_early_when_its_time_is_up(clips):
    trainer = make_trainer(clips)
    assert trainer.run_epoch(0, stop=Stop(), watch=TrainingWatch(), until=clock()) == 1
    assert trainer.run_epoch(0, first_step=1, stop=Stop(), watch=TrainingWatch(), until=clock() + 1e6) == 3


def test_losses_that_are_no_numbers_name_the_step(clips):
    trainer = make_trainer(clips, learning_rate=10.0, warmup=0, epochs=9)

    def explode():
        for epoch in range(9):
            trainer.run_epoch(epoch, stop=Stop(), watch=TrainingWatch())
            trainer.record(epoch, 1.0)

    with pytest.raises(EstError) as caught:
        explode()
    assert "epoch" in caught.value.message
    assert "learning rate" in caught.value.message
    assert "--lr" in caught.value.remedy
    trainer = make_trainer(clips)
    trainer.run_epoch(0, stop=Stop(), watch=TrainingWatch())
    trainer.tally[1, 1] = math.nan
    with pytest.raises(EstError, match=r"The order loss of epoch 1, step 2 is not a number .*fp32"):
        trainer.record(0, 1.0)
    trainer.expect_sound(0, 1)  # the first step is


def test_weights_that_run_away_are_noticed_before_the_loss_is_none(clips):
    trainer = make_trainer(clips)
    trainer.run_epoch(1, stop=Stop(), watch=TrainingWatch())
    for value in (math.nan, math.inf, -2e6):
        with torch.no_grad():
            trainer.model.query[0, 3] = value
        with pytest.raises(
            EstError, match=r"The weights diverge: the largest is (nan|inf|2e\+06) after epoch 2, step 3"
        ):
            trainer.record(1, 1.0)


def test_a_loss_that_runs_away_is_divergence(clips):
    trainer = make_trainer(clips)
    trainer.run_epoch(0, stop=Stop(), watch=TrainingWatch())
    trainer.tally[:, 0] = 1e5
    with pytest.raises(EstError, match="Training diverged: the mean loss of epoch 1 is 1e\\+05"):
        trainer.record(0, 1.0)


def test_torch_is_left_as_it_was():
    threads, state = torch.get_num_threads(), torch.get_rng_state()

    def compute():
        with reproducible(torch.device("cpu"), threads + 1):
            assert torch.get_num_threads() == threads + 1
            return int(torch.rand(3)[0]) // 0

    with pytest.raises(ZeroDivisionError):
        compute()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
