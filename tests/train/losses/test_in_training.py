"""Losses at work: what a step adds up, what is off changes nothing, parts of a batch, resuming, stacks, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from train_samples import PLAIN, Recorder, fit_interrupted, learning_cache, make_trainer, outcome, tiny_config

from est.cache import open_cache
from est.cache.interrupt import Stop
from est.errors import UsageError
from est.report.runpage.curves import curve_section
from est.train import Run, TrainingWatch, evaluate, fit, model_config
from est.train.config.loss import LossConfig
from est.train.config.protocol import ProtocolConfig
from est.train.data.clipset import ClipSet
from est.train.loop import objective
from est.train.loop.checkpoint import load_checkpoint, save_checkpoint
from est.train.loop.stacks.rule import shape_of
from est.train.loop.stacks.stack import Stack
from est.train.loop.world import GradientSums, World
from est.train.preparation import expect_trainable
from est.train.runs.run import CHECKPOINT, CONFIG

CLIPS = 30
GRU = model_config("gru", frames=9, hidden=8, dropout=0.0)
EVERY = LossConfig(focal=2.0, effective_number=0.9, contrastive=0.5, centre=0.1)
HOLDOUT = ProtocolConfig(kind="holdout")
UNEVEN = np.array([0] * 20 + [1] * 7 + [2] * 3)  # of even classes, priors are constant and class weights 1


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("losses") / "c.zarr", CLIPS, frames=24)


@pytest.fixture(scope="module")
def clips(cache):
    return ClipSet.from_cache(open_cache(cache), range(CLIPS), told=["mask"])


def votes_of(label, certain=1.0):
    """Return shares: so much for the label, the rest for the next class."""
    label = torch.from_numpy(label)
    return certain * F.one_hot(label, 3).float() + (1 - certain) * F.one_hot((label + 1) % 3, 3).float()


def after(clips, steps=6, **settings):
    """Return a trainer after so many steps."""
    votes = settings.pop("votes", None)
    trainer = make_trainer(clips, **{"model": GRU, "batch": 8, **settings}, votes=votes)
    for step in range(steps):
        epoch, number = divmod(step, trainer.num_steps)
        if number == 0:
            plan = trainer.begin_epoch(epoch)
        trainer.step(plan, number, epoch)
    return trainer


def weights(trainer):
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def test_a_step_adds_them_up(clips):
    trainer = make_trainer(clips, model=PLAIN, loss=EVERY, label=UNEVEN)
    assert trainer.columns[:4] == ["expression", "order", "contrastive", "centre"]
    plan = trainer.begin_epoch(0)
    seen = {}
    trainer.model.register_forward_hook(lambda _, given, output: seen.update(output=output))
    trainer.step(plan, 0)
    output, target = seen["output"], plan.target[0]
    log = output.expression.detach().log_softmax(1)[range(8), target]
    weight = trainer.class_weight[target]
    focal = (weight * -((1 - log.exp()) ** 2) * log).sum() / weight.sum()
    assert weight.min() < 0.9 * weight.max(), "which the losses beside it are not divided by"
    first = make_trainer(clips, model=PLAIN, loss=EVERY).objective.centres.detach()
    far = (output.embedding.detach() - first[target]).square()
    assert float(trainer.tally[0, 0]) == pytest.approx(float(focal), abs=1e-5)
    assert float(trainer.tally[0, 3]) == pytest.approx(float(far.sum()) / 16, rel=1e-5)
    assert trainer.objective.centres.grad.abs().max() > 0
    record = make_record(trainer)
    assert record["loss"] == pytest.approx(
        record["expression_loss"]
        + record["order_loss"] * trainer.terms["order"]
        + 0.5 * record["contrastive_loss"]
        + 0.1 * record["centre_loss"],
        rel=1e-6,
    )


def make_record(trainer):
    trainer.run_epoch(0, stop=Stop(), watch=TrainingWatch())
    return trainer.record(0, 1.0)


@pytest.mark.parametrize(
    ("settings", "far"),
    [
        ({"loss": LossConfig(focal=1e-7)}, 1e-5),
        ({"loss": LossConfig(effective_number=1e-7)}, 1e-5),
        ({"loss": LossConfig(adjustment=1e-8)}, 1e-5),
        ({"loss": LossConfig(contrastive=1e-9, compact=1e-9)}, 1e-5),
        ({"certain": 1.0}, 1e-5),
    ],
    ids=["focal", "effective number", "adjustment", "beside", "votes"],
)
def test_what_is_nearly_off_is_cross_entropy(clips, settings, far):
    certain = settings.pop("certain", None) if "certain" in settings else None
    votes, label = None if certain is None else votes_of(UNEVEN, certain), UNEVEN
    plain, other = after(clips, label=label), after(clips, label=label, votes=votes, **settings)
    assert (weights(plain) - weights(other)).abs().max() < far
    strong = {
        "focal": {"focal": 2.0},
        "effective_number": {"effective_number": 0.9},
        "adjustment": {"adjustment": 1.0},
        "contrastive": {"contrastive": 1.0, "compact": 1.0},
    }
    for name, on in strong.items():
        if "loss" in settings and getattr(settings["loss"], name):
            assert (weights(plain) - weights(after(clips, label=label, loss=LossConfig(**on)))).abs().max() > 1e-4
    if votes is not None:
        assert (weights(plain) - weights(after(clips, label=label, votes=votes_of(label, 0.6)))).abs().max() > 1e-4


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": LossConfig(focal=2.0, compact=0.5, effective_number=0.9)},
        {"loss": LossConfig(adjustment=1.0, centre=0.1), "label_smoothing": 0.1, "votes": True},
        {"class_weights": True, "votes": True},
    ],
    ids=["focal, compact, weights", "adjustment, centre, votes", "class weights, votes"],
)
def test_parts_of_a_batch_are_the_whole(clips, settings):
    settings = {**settings, "label": UNEVEN}
    if settings.get("votes"):
        settings["votes"] = votes_of(UNEVEN, 0.7)
    whole, parts = after(clips, **settings), after(clips, accumulate=4, **settings)
    assert (weights(whole) - weights(parts)).abs().max() < 2e-5
    torch.testing.assert_close(whole.tally, parts.tally, rtol=1e-4, atol=1e-5)
    if whole.objective.centres is not None:
        start = make_trainer(clips, model=GRU, **{**settings, "votes": None}).objective.centres
        torch.testing.assert_close(whole.objective.centres, parts.objective.centres, rtol=1e-3, atol=1e-4)
        assert (whole.objective.centres - start).abs().max() > 1e-3


def test_mixed_clips_have_both_votes(clips):
    trainer = make_trainer(clips, model=GRU, mixup=0.4, votes=votes_of(clips.label, 0.7))
    plan = trainer.begin_epoch(0)
    seen = {}
    trainer.model.register_forward_hook(lambda _, given, output: seen.update(output=output))
    trainer.step(plan, 1)
    share, votes = float(plan.mix[1]), plan.votes[1]
    mixed = share * votes + (1 - share) * votes.roll(1, 0)
    wanted = -(mixed * seen["output"].expression.detach().log_softmax(1)).sum() / 8
    assert float(trainer.tally[1, 0]) == pytest.approx(float(wanted), abs=1e-6)


def test_adjustment_finds_more_of_a_rare_class(clips):
    label = np.array([0] * 26 + [1] * 4)
    found = {}
    for tau in (0.0, 2.0):
        trainer = after(clips, 24, label=label, loss=LossConfig(adjustment=tau), batch=30)
        trainer.model.eval()
        plan = trainer.planner.draw(0)
        with torch.no_grad():
            predicted = trainer.model({"features": clips.take(plan.index[0])}).expression.argmax(1)
        rare = plan.target[0] == 1
        found[tau] = float((predicted[rare] == 1).float().mean())
    assert found[2.0] >= found[0.0] + 0.5


@pytest.mark.parametrize("name", ["contrastive", "compact", "centre"])
def test_what_is_asked_for_is_learnt(clips, name):
    """On all clips a loss is lower where it counts than where it is hardly asked for."""
    found = {}
    for weight in (1e-6, 1.0):
        trainer = after(clips, 30, loss=LossConfig(**{name: weight}), batch=30)
        found[weight] = float(trainer.tally[0, trainer.columns.index(name)])
    assert found[1.0] < found[1e-6] - 0.02 * abs(found[1e-6])


def test_a_resumed_run_with_centres_is_the_same_to_the_bit(cache, tmp_path):
    config = tiny_config(model=GRU, loss=EVERY, protocol=HOLDOUT, epochs=3, average=0.9)
    whole = fit(cache, tmp_path / "whole", config)
    again = fit_interrupted(cache, tmp_path / "again", config, 4, 3)
    assert outcome(tmp_path / "whole") == outcome(tmp_path / "again")
    header = (tmp_path / "whole" / "history.csv").read_text().splitlines()[0].split(",")
    assert {"contrastive_loss", "centre_loss"} <= set(header)
    assert not any("centres" in name for name in outcome(tmp_path / "whole")[f"{whole.run.parts[0]} tensors"])
    assert evaluate(again.run, watch=Recorder()).scores.war == whole.scores.war


def test_a_contrastive_loss_without_pairs_is_said(cache, tmp_path, monkeypatch):
    config = tiny_config(model=GRU, loss=LossConfig(contrastive=0.1), protocol=HOLDOUT, epochs=1)
    watch = Recorder()
    fit(cache, tmp_path / "pairs", config, watch=watch)
    assert not any("loss.contrastive" in text for text in watch.warned)
    monkeypatch.setattr(objective, "contrastive_loss", lambda embedding, *_: 0.0 * embedding.sum())
    fit(cache, tmp_path / "none", config, watch=watch)
    assert any(
        "loss.contrastive was 0 in every epoch, for no batch held two clips of a class" in text for text in watch.warned
    )


@pytest.mark.parametrize("common", [{}, {"votes": True, "mixup": 0.3}], ids=["labels", "votes, mixed"])
@pytest.mark.parametrize(
    "own",
    [
        [
            {"focal": 1.0, "contrastive": 0.3, "temperature": 0.2, "compact": 0.1},
            {"focal": 3.0, "contrastive": 1.0, "compact": 2.0, "centre_rate": 3.0},
        ],
        [{"adjustment": 0.5, "centre": 0.2}, {"adjustment": 2.0, "centre": 0.01}],
        [{"effective_number": 0.5}, {"effective_number": 0.99}],
    ],
    ids=["focal, contrastive, compact", "adjustment, centre", "effective number"],
)
def test_in_a_stack_as_alone(clips, own, common):
    common = dict(common)
    if common.get("mixup"):
        own = [{name: value for name, value in one.items() if name != "contrastive"} for one in own]

    def made():
        found = []
        for seed, loss in enumerate(own):
            votes = votes_of(UNEVEN, 0.6 + 0.1 * seed).double() if common.get("votes") else None
            settings = {name: value for name, value in common.items() if name != "votes"} | {"votes": votes}
            one = make_trainer(clips, model=GRU, seed=seed, label=UNEVEN, loss=LossConfig(**loss), **settings)
            one.objective.double()
            widened = {
                name: value.double()
                for name, value in one.weighting._asdict().items()
                if isinstance(value, torch.Tensor)
            }
            one.weighting = one.weighting._replace(**widened)
            one.class_weight = one.weighting.class_weight
            found.append(one)
        return found

    alone, stacked = made(), made()
    assert len({shape_of(one.config) for one in alone}) == 1
    for one in alone:
        for epoch in range(4):
            one.run_epoch(epoch, stop=Stop(), watch=TrainingWatch())
    stack = Stack(stacked)
    for epoch in range(4):
        plans = [one.begin_epoch(epoch) for one in stacked]
        for step in range(stacked[0].num_steps):
            stack.step([(plan, step, epoch) for plan in plans])
    stack.release()
    for a, b in zip(alone, stacked, strict=True):
        state = b.state()
        for name, tensor in a.state().items():
            torch.testing.assert_close(tensor.double(), state[name].double(), rtol=1e-8, atol=1e-8)
    assert ("loss/centres" in state) == alone[0].config.loss.has_centres


def test_other_losses_are_another_stack():
    shapes = {
        shape_of(tiny_config(model=GRU, loss=LossConfig(**on)))
        for on in (
            {},
            {"focal": 1.0},
            {"adjustment": 1.0},
            {"effective_number": 0.9},
            {"compact": 1.0},
            {"centre": 1.0},
        )
    }
    assert len(shapes) == 6


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"loss": LossConfig(contrastive=1.0), "accumulate": 2},
            ["loss.contrastive compares the clips of a batch", "in 2 parts", "--set loop.accumulate=1"],
        ),
        ({"loss": LossConfig(contrastive=1.0), "mixup": 0.2}, ["data.mixup makes clips of two classes", "mixup=0"]),
        ({"loss": LossConfig(contrastive=1.0), "batch": 1}, ["compares the clips of a batch, found one", "--batch"]),
        ({"loss": LossConfig(adjustment=1.0), "balanced": True}, ["--balanced and loss.adjustment", "correct twice"]),
        (
            {"loss": LossConfig(effective_number=0.9), "class_weights": True},
            ["--class-weights and loss.effective_number"],
        ),
        ({"loss": LossConfig(effective_number=0.9, adjustment=1.0)}, ["loss.effective_number and loss.adjustment"]),
    ],
)
def test_what_does_not_go_together_is_refused(settings, words):
    with pytest.raises(UsageError) as caught:
        tiny_config(**{"model": GRU, **settings})
    for word in words:
        assert word in f"{caught.value.message} {caught.value.remedy}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"focal": -1.0}, r"loss\.focal goes from 0 to 10, found -1"),
        ({"effective_number": 1.0}, r"loss\.effective_number goes from 0 to 0\.999999, found 1"),
        ({"temperature": 0.0}, r"loss\.temperature goes from 0\.001"),
        ({"compact": 0.1, "centre": 0.1}, "both hold clips at centres"),
    ],
)
def test_numbers_that_make_no_sense(settings, message):
    with pytest.raises(UsageError, match=message):
        LossConfig(**settings)


def test_processes_do_not_share_a_batch_that_is_compared():
    config = tiny_config(model=GRU, loss=LossConfig(contrastive=1.0))
    with pytest.raises(UsageError, match=r"loss\.contrastive compares the clips of a batch, which cannot be divided"):
        expect_trainable(config, World(rank=0, size=2))
    expect_trainable(tiny_config(model=GRU, loss=LossConfig(centre=1.0)), World(rank=0, size=2))


class Two(World):
    """One of two processes, whose other one is not there: what would be added is noted."""

    def add(self, tensors):
        self.shapes = [tuple(tensor.shape) for tensor in tensors]


def test_processes_add_the_gradients_of_centres(clips):
    trainer = make_trainer(clips, model=GRU, loss=LossConfig(compact=1.0))
    trainer.world = Two(rank=0, size=2)
    trainer._sums = GradientSums(trainer.world, trainer._parameters(), early=False)
    trainer.step(trainer.begin_epoch(0), 0)
    assert trainer.world.shapes[-2:] == [(3, 16), (len(trainer.columns),)]


def test_runs_of_before_there_were_losses_go_on(cache, tmp_path):
    config = tiny_config(model=GRU, protocol=HOLDOUT, epochs=2)
    whole = fit(cache, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", config, watch=Recorder(3))
    (part,) = Run.open(tmp_path / "run").parts
    path = tmp_path / "run" / "parts" / part / CHECKPOINT
    found = load_checkpoint(path)
    then = {key: value for key, value in found.meta["config"].items() if not key.startswith(("loss.", "data.votes"))}
    assert len(then) < len(found.meta["config"])
    save_checkpoint(path, found.tensors, {**found.meta, "config": then})
    text = (tmp_path / "run" / CONFIG).read_text(encoding="utf-8")
    before, _, rest = text.partition("[loss]")
    older = before.replace('votes = ""\n', "") + rest[rest.index("\n[") + 1 :]
    assert older.count("[") == text.count("[") - 1
    (tmp_path / "run" / CONFIG).write_text(older, encoding="utf-8")
    assert fit(None, tmp_path / "run", resume=True).scores.war == whole.scores.war
    assert outcome(tmp_path / "run")[f"{part} tensors"] == outcome(tmp_path / "whole")[f"{part} tensors"]
    assert evaluate(Run.open(tmp_path / "run"), watch=Recorder()).scores.war == whole.scores.war


def test_the_page_of_a_run_has_their_curves():
    history = [{"epoch": n, "loss": 2.0 / n, "contrastive_loss": 1.5 / n, "order_loss": 1.0} for n in (1, 2)]
    page = "".join(curve_section({"fold1": history}).parts)
    assert "contrastive loss: from 1.5 in epoch 1 to 0.75 in epoch 2." in page
    assert "order loss" not in page
    assert "centre loss" not in page
