"""EST behind a backbone that learns: what it sees of a batch, what learns, and that memory is saved without changing anything."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet18

from est.encoders import resnet_tail
from est.encoders.backbone import Backbone, Normalization
from est.encoders.encoder import Encoder
from est.train.models import EstConfig, FinetunedModel, build_model, finetuned
from est.train.models.batch_frames import BatchFrames

CPU = torch.device("cpu")
SMALL = EstConfig(dim=32, ffn=48, layers=1, heads=2, snippets=3, frames=2, orders=5, dropout=0.0, head_dropout=0.0)
SIDE = 64
TOLERANCE = 1e-5  # of the largest value
ALL_WAYS = [(learns, norms) for learns in ("layer4", "all") for norms in ("train", "frozen")]


@cache
def drawn(seed, normalize):
    """A backbone none of whose batch norms is as it was born."""
    torch.manual_seed(seed)
    made = Backbone(Normalization.named(normalize))
    for norm in norms(made).values():
        for tensor in (norm.weight, norm.running_var):
            nn.init.uniform_(tensor, 0.5, 1.5)
        for tensor in (norm.bias, norm.running_mean):
            nn.init.uniform_(tensor, -0.2, 0.2)
    return made.eval()


def small(learns="all", batch_norm="train", *, seed=0, normalize="imagenet", **settings):
    est = build_model(SMALL, width=512, num_classes=3, seed=seed)
    backbone = deepcopy(drawn(seed, normalize))
    return FinetunedModel(backbone, est, learns=learns, batch_norm=batch_norm, **settings).train()


def pictures(count=6, seed=1):
    """Frames of a few large patches each: noise alone would look the same to the backbone, whatever it shows."""
    patches = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 255
    return F.interpolate(patches, SIDE).permute(0, 2, 3, 1).to(torch.uint8).contiguous()


def frames(rows=None, *, clips=2, seed=2):
    """Frames at places, each at one at least and some at several."""
    rows = pictures() if rows is None else rows
    shape = (clips, SMALL.snippets, SMALL.frames)
    place = torch.arange(int(np.prod(shape))) % len(rows)
    order = torch.randperm(len(place), generator=torch.Generator().manual_seed(seed))
    return BatchFrames(rows=rows, place=place[order].view(shape))


def maps(model, rows):
    """What layer3 makes of pictures, as a cache has it."""
    with torch.no_grad():
        found = deepcopy(model.backbone).eval().taps(rows.permute(0, 3, 1, 2).float() / 255, ("layer3",))["layer3"]
    return found.contiguous()


def norms(module):
    return {name: part for name, part in module.named_modules() if isinstance(part, nn.BatchNorm2d)}


def loss_of(model, seen):
    output = model({**vars(seen), "order": torch.arange(2)})
    return F.cross_entropy(output.expression, torch.tensor([0, 2])) + F.cross_entropy(
        output.order, torch.tensor([0, 1])
    )


def learn(model, seen, *, autocast=False):
    """Take a step with weight decay; return its loss and gradients."""
    optimizer = torch.optim.Adam([weight for group in model.groups() for weight in group], lr=1e-3, weight_decay=0.1)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = loss_of(model, seen)
    loss.backward()
    optimizer.step()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def distance(found, wanted):
    """The largest difference, in shares of the largest value."""
    assert found.shape == wanted.shape
    found, wanted = found.detach().double(), wanted.detach().double()
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))


def copy_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


# what it sees


@pytest.mark.parametrize("normalize", ["none", "imagenet", "0.4,0.3"])
@pytest.mark.parametrize("learns", ["layer4", "all"])
def test_evaluation_is_the_backbone_and_the_encoder(learns, normalize):
    model, seen = small(learns, normalize=normalize).eval(), frames()
    encoder = Encoder(model.backbone, ("gap",), device=CPU, precision="fp32", batch=8)
    with torch.inference_mode():
        features = model.features(seen)
        plain = model.backbone(seen.rows.permute(0, 3, 1, 2).float() / 255)
        assert torch.equal(model(vars(seen)).expression, model.est({"features": features}).expression)
    assert features.shape == (2, 3, 2, 512)
    assert distance(features, plain[seen.place]) < TOLERANCE
    assert distance(features, torch.from_numpy(encoder.encode(seen.rows.numpy())["gap"])[seen.place]) < TOLERANCE


def test_reduced_precision_is_as_near_as_the_encoders():
    model, seen = small().eval(), frames()
    with torch.inference_mode():
        exact = model.features(seen)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        reduced = model.features(seen)
    encoder = Encoder(model.backbone, ("gap",), device=CPU, precision="bf16", batch=8)
    theirs = torch.from_numpy(encoder.encode(seen.rows.numpy())["gap"])[seen.place]
    assert reduced.dtype == torch.float32
    assert 0 < distance(reduced, exact) < 2 * distance(theirs, exact) < 0.1


@pytest.mark.parametrize("how", ["evaluation", "head only", "below layer4"])
def test_chunks_change_nothing(monkeypatch, how):
    learns, batch_norm = {"evaluation": ("all", "train"), "head only": ("all", "train")}.get(how, ("layer4", "frozen"))
    model, seen = small(learns, batch_norm).eval(), frames()
    wanted = model.features(seen)
    sizes, stem = [], resnet_tail.through_stem
    monkeypatch.setattr(resnet_tail, "through_stem", lambda *args: sizes.append(len(args[1])) or stem(*args))
    monkeypatch.setattr(finetuned, "CHUNK", 4)
    model.train(how != "evaluation")
    model.head_only = how == "head only"
    with torch.set_grad_enabled(how != "evaluation"):
        found = model.features(seen)
    assert found.requires_grad == (how == "below layer4")
    assert distance(found, wanted) < TOLERANCE
    assert sizes == [4, 2]


@pytest.mark.parametrize("training", [True, False])
def test_frozen_norms_do_not_care_who_shares_the_batch(training):
    model, seen = small("all", "frozen").train(training), frames()
    together = model.features(seen)
    for index in range(2):
        rows = seen.rows[seen.place[index].flatten()]
        alone = model.features(BatchFrames(rows=rows, place=torch.arange(6).view(1, 3, 2)))
        assert distance(alone[0], together[index]) < TOLERANCE


@pytest.mark.parametrize("learns", ["layer4", "all"])
def test_norms_that_learn_see_every_place(learns):
    """Statistics and features are those of torchvision's network on rows[place]."""
    model = small(learns, "train")
    wanted = resnet18(weights=None).eval()
    wanted.fc = nn.Identity()
    wanted.load_state_dict(model.backbone.state_dict())
    (wanted.layer4 if learns == "layer4" else wanted).train()
    seen = frames(pictures(5))
    images = model.backbone.normalize(seen.rows.permute(0, 3, 1, 2).float() / 255)
    assert (seen.place.flatten().bincount() > 1).any()
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            found, theirs = model.features(seen), wanted(images[seen.place.flatten()])
        assert distance(found, theirs.view_as(found)) < 1e-4
    known = norms(wanted)
    for name, norm in norms(model.backbone).items():
        for buffer, tensor in norm.named_buffers():
            assert distance(tensor, dict(known[name].named_buffers())[buffer]) < TOLERANCE, (name, buffer)
    counted = {name for name, norm in norms(model.backbone).items() if norm.num_batches_tracked == 2}
    assert counted == {name for name in known if learns == "all" or name.startswith("layer4")}


@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
def test_maps_of_the_extraction_are_as_good_as_pictures(batch_norm):
    """A weighted sum stands for EST, which is so small here that it takes rounding for more than that."""
    from_pictures = small("layer4", batch_norm)
    from_maps, seen = deepcopy(from_pictures), frames()
    stored = BatchFrames(rows=maps(from_maps, seen.rows), place=seen.place)
    weight = torch.randn(2, 3, 2, 512, generator=torch.Generator().manual_seed(0))
    wanted, found = from_pictures.features(seen), from_maps.features(stored)
    assert distance(found, wanted) < TOLERANCE
    for features in (wanted, found):
        (features * weight).sum().backward()
    for one, other in zip(from_maps.groups()[0], from_pictures.groups()[0], strict=True):
        assert distance(one.grad, other.grad) < 1e-4
    with torch.inference_mode():
        assert distance(from_maps.eval().features(stored), from_pictures.eval().features(seen)) < TOLERANCE


@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
def test_the_same_maps_make_the_same_model(batch_norm):
    """What stands before layer4 does not change, so steps from its maps and from pictures are the same bits."""
    from_pictures = small("layer4", batch_norm)
    from_maps, seen = deepcopy(from_pictures), frames()
    rows = finetuned.look(from_maps.backbone.tail().before, seen.rows).contiguous()
    assert distance(rows, maps(from_maps, seen.rows)) < TOLERANCE
    wanted = learn(from_pictures, seen)
    found = learn(from_maps, BatchFrames(rows=rows, place=seen.place))
    assert torch.equal(found[0], wanted[0])
    assert found[1].keys() == wanted[1].keys()
    assert all(torch.equal(gradient, wanted[1][name]) for name, gradient in found[1].items())
    after = from_maps.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in from_pictures.state_dict().items())


def test_maps_are_for_layer4():
    with pytest.raises(AssertionError):
        small("all").features(frames(maps(small("all"), pictures())))


@pytest.mark.parametrize("learns", ["layer4", "all"])
def test_repeats_bring_the_gradients_of_as_many_frames(learns):
    once = small(learns, "frozen")
    each, seen = deepcopy(once), frames(pictures(4))
    expanded = BatchFrames(rows=seen.rows[seen.place.flatten()], place=torch.arange(12).view(2, 3, 2))
    weight = torch.randn(2, 3, 2, 512, generator=torch.Generator().manual_seed(0))
    for model, given in ((once, seen), (each, expanded)):
        (model.features(given) * weight).sum().backward()
    for one, other in zip(once.groups()[0], each.groups()[0], strict=True):
        assert distance(one.grad, other.grad) < 1e-4


def test_gradients_of_repeats_are_the_same_bits_every_time():
    model = small("layer4", "frozen")
    rows = maps(model, pictures(2))
    place = torch.randint(0, 2, (20, 7, 5), generator=torch.Generator().manual_seed(0))
    weight = torch.randn(20, 7, 5, 512, generator=torch.Generator().manual_seed(1))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = []
        for _ in range(4):
            model.zero_grad()
            (model.features(BatchFrames(rows=rows, place=place)) * weight).sum().backward()
            found.append(model.backbone.layer4[1].conv2.weight.grad.clone())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradient, found[0]) for gradient in found)


# what learns


@cache
def expected(learns, batch_norm, head_only):
    """Return the names of the parameters that learn, and of the statistics that follow."""
    weights, statistics = set(), set()
    for name in Backbone().state_dict():
        module, _, kind = name.rpartition(".")
        if head_only or not (learns == "all" or name.startswith("layer4")):
            continue
        norm = module.split(".")[-1].startswith("bn") or module.endswith("downsample.1")
        if kind in ("weight", "bias") and not (norm and batch_norm == "frozen"):
            weights.add(f"backbone.{name}")
        elif kind not in ("weight", "bias") and batch_norm == "train":
            statistics.add(f"backbone.{name}")
    return weights, statistics


@pytest.mark.parametrize("head_only", [False, True])
@pytest.mark.parametrize("given", ["pictures", "maps"])
@pytest.mark.parametrize(("learns", "batch_norm"), ALL_WAYS)
def test_exactly_what_learns_changes(learns, batch_norm, given, head_only):
    if given == "maps" and learns == "all":
        return
    model = small(learns, batch_norm)
    model.head_only = head_only
    seen = frames(maps(model, pictures()) if given == "maps" else None)
    before = copy_of(model)
    _, gradients = learn(model, seen)
    weights, statistics = expected(learns, batch_norm, head_only)
    assert {name for name in gradients if name.startswith("backbone.")} == weights
    assert all(gradients[name].abs().max() > 0 for name in weights)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name for name in changed if name.startswith("backbone.")} == weights | statistics
    assert {name for name, _ in model.est.named_parameters(prefix="est")} <= changed


@pytest.mark.parametrize(("learns", "batch_norm"), ALL_WAYS)
def test_groups_are_what_wants_a_gradient(learns, batch_norm):
    model = small(learns, batch_norm)
    names = {id(weight): name for name, weight in model.named_parameters()}
    model.head_only = True  # for the time being: an optimiser is built once
    mine, head = ({names[id(weight)] for weight in group} for group in model.groups())
    assert mine == expected(learns, batch_norm, False)[0]
    assert head == {name for name in names.values() if name.startswith("est.")}


@pytest.mark.parametrize(("learns", "batch_norm"), ALL_WAYS)
def test_what_does_not_learn_stays_in_evaluation(learns, batch_norm):
    model = small(learns, batch_norm)
    for head_only, training in [(False, True), (True, True), (True, False), (False, False), (False, True)]:
        model.head_only = head_only
        assert model.train(training) is model
        for name, norm in norms(model.backbone).items():
            inside = learns == "all" or name.startswith("layer4")
            assert norm.training == (training and not head_only and batch_norm == "train" and inside), name
        assert all(part.training == training for part in model.est.modules())
    model.train()
    model.head_only = True  # at any time
    assert not any(norm.training for norm in norms(model.backbone).values())
    assert model.est.training


# memory


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(("learns", "batch_norm"), ALL_WAYS)
def test_checkpointing_changes_nothing(learns, batch_norm, autocast):
    plain, twice = small(learns, batch_norm), small(learns, batch_norm, checkpointing=True)
    seen = frames()
    wanted, found = (learn(model, seen, autocast=autocast) for model in (plain, twice))
    assert torch.equal(found[0], wanted[0])
    assert found[1].keys() == wanted[1].keys()
    assert all(torch.equal(gradient, wanted[1][name]) for name, gradient in found[1].items())
    after = twice.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in plain.state_dict().items())
    assert all(norm.track_running_stats for norm in norms(twice).values())


@pytest.mark.parametrize(("learns", "batch_norm"), ALL_WAYS)
def test_checkpointing_keeps_less(learns, batch_norm):
    kept = {}
    for checkpointing in (False, True):
        model = small(learns, batch_norm, checkpointing=checkpointing)
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, sizes=sizes: sizes.update({tensor.data_ptr(): tensor.nbytes}) or tensor,
            lambda tensor: tensor,
        ):
            features = model.features(frames())
        own = {weight.data_ptr() for weight in model.parameters()}
        kept[checkpointing] = sum(size for place, size in sizes.items() if place not in own)
        assert features.requires_grad
    assert 0 < kept[True] < 0.75 * kept[False]


def test_a_share_without_clips_has_gradients_of_zero():
    """As every process brings gradients of all that learns."""
    for learns, checkpointing in [("layer4", False), ("all", False), ("all", True)]:
        model = small(learns, "frozen", checkpointing=checkpointing)
        features = model.features(BatchFrames(rows=pictures(0), place=torch.zeros(0, 3, 2, dtype=torch.long)))
        assert features.shape == (0, 3, 2, 512)
        features.sum().backward()
        assert all((weight.grad == 0).all() for weight in model.groups()[0])


# the rest


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("learns", "batch_norm"), ALL_WAYS)
def test_black(learns, batch_norm, training):
    model = small(learns, batch_norm).train(training)
    before, modes = copy_of(model), [part.training for part in model.modules()]
    found = model.black(SIDE)
    assert not found.requires_grad
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    seen = frames(torch.cat([pictures(2), torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8)]))
    assert distance(found, model.eval().features(seen)[seen.place == 2][0]) < TOLERANCE


def test_round_trip_of_the_state():
    model, other = small("all", "train"), small("all", "train", seed=1)
    learn(model, frames())
    parts = {"backbone": Backbone(), "est": model.est}
    assert set(model.state_dict()) == {f"{part}.{name}" for part in parts for name in parts[part].state_dict()}
    assert (model.eval()(vars(frames())).expression - other.eval()(vars(frames())).expression).abs().max() > 1e-4
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(vars(frames())).expression, other(vars(frames())).expression)
    assert torch.equal(model.black(SIDE), other.black(SIDE))


def test_a_copy_is_a_model_of_its_own():
    model, seen = small("all", "train"), frames()
    copy = deepcopy(model).eval()
    before = copy.features(seen)
    learn(model, seen)
    assert torch.equal(copy.features(seen), before)
    assert distance(model.eval().features(seen), before) > 1e-4


def test_it_answers_for_est():
    model = small()
    assert model.config is SMALL
    assert model.on_features is model.est
    assert model.scaling is model.est.scaling
    assert (model.num_classes, model.width) == (3, 512)
    found = model.eval()({**vars(frames()), "order": torch.arange(2)})
    assert found.expression.shape == (2, 3)
    assert found.order.shape == (2, len(model.est.orders))
