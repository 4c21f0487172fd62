"""Stacked training: each training has the weights that it would have alone, whatever stands beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_models import tiny
from train_samples import WINDOWED, learning_cache, make_trainer

from est.cache import open_cache
from est.train import EstConfig, model_config
from est.train.data.clipset import ClipSet
from est.train.data.windows import load_features
from est.train.loop.checkpoint import load_checkpoint, save_checkpoint
from est.train.loop.stacks.own_draws import Masks, OwnDraws
from est.train.loop.stacks.stack import Stack
from est.train.loop.trainer import reproducible

CLIPS = 30
TINY = EstConfig(dim=16, heads=2, ffn=32, layers=1, order_hidden=32, dropout=0.1)
WITHOUT_SSOP = EstConfig(dim=16, heads=2, ffn=32, layers=2, dropout=0.1, ssop=False)
TOLERANCE = 2e-3  # of weights after 20 steps in float32: Adam divides by what may be nearly nothing
GRU = model_config("gru", frames=9, hidden=8, layers=2, dropout=0.3)
OTHERS = {
    "Transformer": model_config("transformer", dim=16, heads=2, ffn=32, layers=1),
    "LSTM": model_config("lstm", frames=9, hidden=8, layers=2, dropout=0.3),
    "FAN": model_config("fan", dropout=0.3),
    "T-Former": model_config("former-temporal", layers=1, heads=2, head_width=8, ffn=32, dropout=0.2),
    "SLSTT": model_config("slstt", layers=2, hidden=8, classifier_hidden=8, most_frames=9, dropout=0.3),
    "STT": model_config("stt", num_segments=2, layers=2, dim=16, heads=2, ffn=32),
    "MSSTNet": model_config("msstnet", num_segments=2, dim=16, heads=2, ffn=32),
    "window head": tiny("window-head", path_dropout=0.2),
    "CLIP-temporal": model_config("clip-temporal", num_segments=2, dim=16, heads=2, ffn=32),
    "pooled": model_config("pooled", most_frames=24, dropout=0.3),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    path = tmp_path_factory.mktemp("stack") / "c.zarr"
    return open_cache(learning_cache(path, CLIPS, frames=24, flip=True, maps=True, windows=True))


@pytest.fixture(scope="module")
def clips(cache):
    return clips_of(cache)


def clips_of(cache, maps=""):
    feature = maps or "gap"
    return ClipSet.from_cache(
        cache, range(CLIPS), feature, others=[f"{feature}_mirrored"], told=["mask"], maps=bool(maps)
    )


def trainings(clips, model=TINY, *, double=False, **common):
    """Return five trainings that differ in everything in which those of a stack may."""
    own = [
        {"seed": 1, "learning_rate": 3e-3, "train": np.arange(24)},
        {"seed": 2, "learning_rate": 1e-3, "weight_decay": 0.1, "train": np.arange(3, 30), "optimizer": "adamw"},
        {"seed": 3, "learning_rate": 1e-2, "epochs": 9, "clip_norm": 0.5, "label_smoothing": 0.2, "noise": 0.1},
        {"seed": 4, "learning_rate": 5e-4, "warmup": 0, "average": 0.9, "balanced": True},
        {"seed": 5, "learning_rate": 1e-2, "optimizer": "sgd", "schedule": "step", "step_epochs": 2},
    ]
    made = []
    for number, settings in enumerate(own):
        dropout = {name: 0.1 * number for name in ("dropout", "head_dropout") if hasattr(model, name)}
        weight = {"order_weight": 0.1 + number} if hasattr(model, "order_weight") else {}
        settings = {"mirrored": True, "weight_decay": 0.0, **settings, **common}
        trainer = make_trainer(clips, model=replace(model, **dropout, **weight), **settings)
        if double:
            trainer.model.double()
            if trainer.class_weight is not None:
                trainer.weighting = trainer.weighting._replace(class_weight=trainer.class_weight.double())
            if trainer.average is not None:
                trainer.average.model.double()
        made.append(trainer)
    return made


class Course:
    """Where a training is, step by step."""

    def __init__(self, trainer):
        self.trainer, self.epoch, self.step = trainer, 0, 0
        self.plan = trainer.begin_epoch(0)

    def at(self):
        return self.plan, self.step, self.epoch

    def advance(self):
        self.step += 1
        if self.step == self.trainer.num_steps:
            self.epoch, self.step = self.epoch + 1, 0
            self.plan = self.trainer.begin_epoch(self.epoch)


def train_alone(trainers, steps):
    for trainer in trainers:
        course = Course(trainer)
        for _ in range(steps):
            trainer.step(*course.at())
            course.advance()


def train_stacked(trainers, steps):
    stack = Stack(trainers)
    courses = [Course(trainer) for trainer in trainers]
    for _ in range(steps):
        stack.step([course.at() for course in courses])
        for course in courses:
            course.advance()
    stack.release()


def distances(some, others):
    """Return the largest difference of each tensor that trainings would save."""
    found = {}
    for one, other in zip(some, others, strict=True):
        a, b = one.state(), other.state()
        assert a.keys() == b.keys()
        for name, tensor in a.items():
            if tensor.numel():
                far = float((tensor.double() - b[name].double()).abs().max())
                found[name] = max(far, found.get(name, 0.0))
    return found


def furthest_but_keys(some, others):
    """Return the largest difference of any weight but the biases of keys."""
    far = 0.0
    for one, other in zip(some, others, strict=True):
        for (name, a), (_, b) in zip(one.model.named_parameters(), other.model.named_parameters(), strict=True):
            apart = (a - b).detach().abs()
            if name.endswith("in_proj_bias"):
                apart.view(3, -1)[1] = 0
            far = max(far, float(apart.max()))
    return far


def share_apart(some, others):
    """Return the share of weights that are further apart than the tolerance."""
    apart = torch.cat([(a - b).detach().abs().flatten() for a, b in zip(some, others, strict=True)])
    return float((apart > TOLERANCE).double().mean())


@pytest.mark.parametrize(
    "model",
    [TINY, GRU, *(pytest.param(one, marks=pytest.mark.slow) for one in (WITHOUT_SSOP, *OTHERS.values()))],
    ids=["EST", "GRU", "without SSOP", *OTHERS],
)
def test_fifty_steps_in_a_stack_are_fifty_steps_alone(cache, model):
    if model.of_windows:
        clips = load_features(cache, range(CLIPS), model, WINDOWED, torch.device("cpu"))
    else:
        clips = clips_of(cache, model.reads)
    mirrored = clips.arrays > 1
    alone, stacked = (trainings(clips, model, double=True, mirrored=mirrored) for _ in range(2))
    before = {name: tensor.clone() for name, tensor in alone[0].state().items()}
    steps = 15 if model.of_windows else 50  # of many small operations
    train_alone(alone, steps)
    train_stacked(stacked, steps)
    assert max(distances(alone, stacked).values()) < 1e-9
    after = alone[0].state()
    assert max(float((after[name] - before[name]).abs().max()) for name in before if before[name].numel()) > 5e-3


def test_with_l2_all_but_the_biases_of_keys_agree(clips):
    # A softmax does not depend on them: their gradient is 0 and a rounding error, which Adam divides by nearly 0. With L2 in the gradient
    # it grows from step to step, alone too, and says nothing about the model.
    alone, stacked = (trainings(clips, double=True, weight_decay=1e-3) for _ in range(2))
    train_alone(alone, 50)
    train_stacked(stacked, 50)
    assert furthest_but_keys(alone, stacked) < 1e-9


@pytest.mark.parametrize("model", [TINY, GRU], ids=["EST", "GRU"])
def test_in_float32_a_stack_stays_close(clips, model):
    # not everywhere: of EST's ReLUs one or two are so near 0 that rounding decides whether they are on, and all weights before them follow
    alone, stacked = (trainings(clips, model, optimizer="adamw") for _ in range(2))
    before = [parameter.clone() for one in alone for parameter in one.model.parameters()]
    train_alone(alone, 20)
    train_stacked(stacked, 20)
    ends = [[parameter for one in some for parameter in one.model.parameters()] for some in (alone, stacked)]
    assert share_apart(*ends) < 0.005
    assert share_apart(before, ends[0]) > 0.5


@pytest.mark.parametrize("model", [TINY, GRU], ids=["EST", "GRU"])
def test_bf16_in_a_stack(clips, model):
    alone, stacked = (trainings(clips, model, precision="bf16") for _ in range(2))
    train_alone(alone, 3)
    train_stacked(stacked, 3)
    for one, other in zip(alone, stacked, strict=True):
        torch.testing.assert_close(one.tally[:, 0], other.tally[:, 0], rtol=0.02, atol=0.02)


def test_who_stands_beside_a_training_changes_nothing(clips):
    alone, stacked = (trainings(clips, double=True) for _ in range(2))
    train_alone(alone, 12)
    first = Stack(stacked)
    courses = {id(trainer): Course(trainer) for trainer in stacked}

    def steps(stack, number):
        for _ in range(number):
            stack.step([courses[id(trainer)].at() for trainer in stack.trainers])
            for trainer in stack.trainers:
                courses[id(trainer)].advance()

    steps(first, 5)
    kept = first.without([stacked[1]])
    steps(kept, 7)
    kept.release()
    assert max(distances([alone[0], *alone[2:]], [stacked[0], *stacked[2:]]).values()) < 1e-9
    left = stacked[1].model.state_dict()
    train_stacked([stacked[1]], 0)
    assert all(torch.equal(left[name], tensor) for name, tensor in stacked[1].model.state_dict().items())


def test_a_model_that_leaves_owns_its_weights(clips):
    gone, *stay = trainings(clips)
    stack = Stack([gone, *stay])
    courses = [Course(trainer) for trainer in (gone, *stay)]
    stack.step([course.at() for course in courses])
    rest = stack.without([gone])
    before = {name: tensor.clone() for name, tensor in gone.model.state_dict().items()}
    rest.step([course.at() for course in courses[1:]])
    assert all(torch.equal(before[name], tensor) for name, tensor in gone.model.state_dict().items())
    storages = {tensor.untyped_storage().data_ptr() for tensor in stay[0].model.state_dict().values()}
    assert not storages & {tensor.untyped_storage().data_ptr() for tensor in gone.model.state_dict().values()}
    before = stay[0].model.order_head.layers[1].running_mean.clone()
    rest.release()
    rest.parts[0].buffers["head.order_head.layers.1.running_mean"].zero_()
    assert torch.equal(before, stay[0].model.order_head.layers[1].running_mean)


@pytest.mark.parametrize("threads", [1, 3])
def test_parts_for_threads_change_nothing(clips, threads):
    alone, stacked = (trainings(clips, GRU, double=True) for _ in range(2))
    train_alone(alone, 8)
    with reproducible(torch.device("cpu"), threads):
        assert len(Stack(stacked).parts) == threads
        train_stacked(stacked, 8)
        assert torch.get_num_threads() == threads
    assert max(distances(alone, stacked).values()) < 1e-9


def test_a_failure_in_a_part_is_raised(clips):
    stacked = trainings(clips, GRU)
    courses = [Course(trainer) for trainer in stacked]
    with reproducible(torch.device("cpu"), 2):
        stack = Stack(stacked)
        stack.parts[1].trainers[0].optimizer.param_groups[0]["betas"] = ()
        with pytest.raises(ValueError, match="unpack"):
            stack.step([course.at() for course in courses])
        assert torch.get_num_threads() == 2


def test_a_restored_optimiser_is_noticed(clips, tmp_path):
    # loading a state gives the optimiser other tensors; a stack must not go on with those that it had
    alone, stacked = (trainings(clips, GRU, double=True) for _ in range(2))
    train_alone(alone, 6)
    stack = Stack(stacked)
    courses = [Course(trainer) for trainer in stacked]
    for step in range(9):
        if step == 3:  # an epoch has three
            for number, trainer in enumerate(stacked):
                save_checkpoint(tmp_path / f"{number}.safetensors", trainer.state(), {})
        if step == 6:
            for number, (trainer, course) in enumerate(zip(stacked, courses, strict=True)):
                trainer.restore(load_checkpoint(tmp_path / f"{number}.safetensors"))
                course.step, course.epoch, course.plan = 0, 1, trainer.begin_epoch(1)
        stack.step([course.at() for course in courses])
        for course in courses:
            course.advance()
    assert max(distances(alone, stacked).values()) < 1e-9


def test_mixed_clips_and_class_weights(clips):
    alone, stacked = (
        trainings(clips, double=True, mixup=0.4, class_weights=True, balanced=False, label_smoothing=0.1)
        for _ in range(2)
    )
    train_alone(alone, 20)
    train_stacked(stacked, 20)
    assert max(distances(alone, stacked).values()) < 1e-9


def test_every_model_draws_its_own_dropout(clips):
    # three times the same training: equal streams give equal weights, another seed gives others
    twins = [make_trainer(clips, model=TINY, seed=seed) for seed in (5, 5, 6)]
    train_stacked(twins, 4)
    first, same, other = (one.model.expression_head.layers[0].weight for one in twins)
    assert torch.equal(first, same)
    assert not torch.allclose(first, other)


def test_masks_are_the_bits_that_each_model_would_draw_alone():
    """Torch draws in the order in which numbers lie in memory, which a transposed tensor does not have of its places."""
    shape, rates = (2, 3, 5), ((0.5, 0.2, 0.0, 0.4), (0.25, 0.7, 0.3, 0.6))

    def model(x, own):
        turned, flat, none, last = (
            F.dropout(one, rate) for one, rate in zip((x.transpose(0, 2), x, x, x.mT), own, strict=True)
        )
        return [turned.transpose(0, 2), flat, none, last.mT]

    def alone(x, own, seed):
        torch.manual_seed(seed)
        return model(x, own)

    x, draws = torch.rand(len(rates), *shape, generator=torch.Generator().manual_seed(0)), OwnDraws()
    sites = []
    for one, own in zip(x, rates, strict=True):
        with draws.recording() as found:
            model(one, own)
        sites.append(tuple(found))
    assert [site.contiguous for site in sites[0]] == [False, True, True, False]
    masks = Masks(sites, torch.device("cpu"))
    with torch.random.fork_rng(devices=[]):
        for step in range(3):
            for number in range(len(rates)):
                masks.draw(number, torch.Generator().manual_seed(10 * step + number))
            values = masks.finish()
            for number, own in enumerate(rates):
                with draws.using([value[number] for value in values]):
                    found = model(x[number], own)
                for mine, wanted in zip(found, alone(x[number], own, 10 * step + number), strict=True):
                    assert torch.equal(mine, wanted)


def test_without_any_dropout_nothing_is_drawn(clips):
    alone, stacked = (
        [make_trainer(clips, model=replace(TINY, dropout=0.0, head_dropout=0.0), seed=seed) for seed in (1, 2)]
        for _ in range(2)
    )
    for trainer in (*alone, *stacked):
        trainer.model.double()
    train_alone(alone, 6)
    stack = Stack(stacked)
    courses = [Course(trainer) for trainer in stacked]
    for _ in range(6):
        stack.step([course.at() for course in courses])
        for course in courses:
            course.advance()
    assert all(mask is None for part in stack.parts for mask in part.masks.values)
    stack.release()
    assert furthest_but_keys(alone, stacked) < 1e-9


def test_one_that_joins_keeps_its_own_dropout(clips):
    def made():
        rates = (0.0, 0.5, 0.2, 0.4)
        found = [make_trainer(clips, model=replace(TINY, dropout=rate), seed=seed) for seed, rate in enumerate(rates)]
        for trainer in found:
            trainer.model.double()
        return found

    alone, stacked = made(), made()
    train_alone(alone, 4)
    for pair in (stacked[:2], stacked[2:]):  # the second two may lie where the first two lay
        train_stacked(pair, 4)
        assert [trainer.sites[0].rate for trainer in pair] == [trainer.config.model.dropout for trainer in pair]
    assert furthest_but_keys(alone, stacked) < 1e-9
