"""Batch norms over processes: with shares of a batch they learn what torch's own learn from the whole of it."""

from __future__ import annotations

import copy
import os
import signal

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision.models.resnet import BasicBlock
from world_processes import Worlds

from est.encoders.backbone import Backbone
from est.errors import EstError
from est.train.loop.sync_batchnorm import AcrossBatchNorm1d, AcrossBatchNorm2d, across
from est.train.loop.world import ALONE, World
from est.train.models import EstConfig, FinetunedModel, build_model

SMALL = {
    "dim": 32,
    "ffn": 48,
    "layers": 2,
    "snippets": 5,
    "frames": 4,
    "orders": 6,
    "dropout": 0.0,
    "head_dropout": 0.0,
}
STEPS = 3
TWO = World(rank=0, size=2)  # enough for what needs nobody else


@pytest.fixture(scope="module")
def worlds():
    started = Worlds(__file__)
    yield started
    started.close()


# models, and the batches that they see: what is random follows from seeds, so that all processes build alike


def convolutions(**norms):
    """Both kinds of batch norm, one behind another, so that gradients go through them."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8, **norms),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3, stride=2),
        nn.BatchNorm2d(6, **norms),
        nn.Flatten(),
        nn.Linear(6 * 9, 16),
        nn.BatchNorm1d(16, **norms),
        nn.Linear(16, 4),
    )


def sequences():
    """A batch norm over the time of a sequence."""
    return nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 5, 3), nn.BatchNorm1d(5), nn.Flatten(), nn.Linear(5 * 62, 4))


def blocks():
    """Blocks of the backbone, with a shortcut that has a batch norm too."""
    shortcut = nn.Sequential(nn.Conv2d(3, 8, 1, stride=2, bias=False), nn.BatchNorm2d(8))
    body = nn.Sequential(BasicBlock(3, 8, stride=2, downsample=shortcut), *[BasicBlock(8, 8) for _ in range(3)])
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def fixed_affine():
    """A batch norm that learns no scale and shift, but whose statistics are those of the batch."""
    model = convolutions()
    model[1].requires_grad_(False)
    return model


class PartlyFrozen(nn.Module):
    """A model that keeps a list of batch norms, and those in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.layers = convolutions()
        self.layers[1].requires_grad_(False)
        self.frozen = (self.layers[1], self.layers[4])

    def train(self, mode=True):
        super().train(mode)
        for norm in self.frozen:
            norm.eval()
        return self

    def forward(self, x):
        return self.layers(x)


class Checkpointed(nn.Module):
    """A model whose first part is computed again in the backward pass; its batch norms keep no running statistics."""

    def __init__(self):
        super().__init__()
        self.layers = convolutions(track_running_stats=False)

    def forward(self, x):
        return self.layers[5:](checkpoint(self.layers[:5], x, use_reentrant=False))


MODELS = {
    "convolutions": convolutions,
    "cumulative": lambda: convolutions(momentum=None),
    "no affine": lambda: convolutions(affine=False),
    "no statistics": lambda: convolutions(track_running_stats=False),
    "other numbers": lambda: convolutions(momentum=0.3, eps=1e-2),
    "sequences": sequences,
    "volumes": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 6, 3), nn.BatchNorm3d(6), nn.Flatten(), nn.Linear(216, 4)
    ),
    "fixed affine": fixed_affine,
    "partly frozen": PartlyFrozen,
    "checkpointed": Checkpointed,
    "blocks": blocks,
}


def build(name, exact=False):
    """A model of whose norms no value is a default."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = MODELS[name]()
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point() and tensor.dim() == 1:
                tensor.data.add_(torch.rand_like(tensor))
    return model.double() if exact else model


def pictures(clips, side=8, exact=False, last=False):
    """Pictures far from zero, and each from the others, so that no share has the statistics of the whole."""
    generator = torch.Generator().manual_seed(clips)
    found = torch.randn(clips, 3, side, side, generator=generator, dtype=torch.float64) * 2 + 5
    found += torch.arange(clips).view(-1, 1, 1, 1)
    found = found if exact else found.float()
    return found.contiguous(memory_format=torch.channels_last) if last else found


def learn(world, name, clips, side=8, exact=False, last=False):
    """Take steps on a share of a batch, as if it were the whole; return all that came out."""
    model, x = build(name, exact), pictures(clips, side, exact, last)
    names, held = list(model.state_dict()), [*model.parameters(), *model.buffers()]
    across(model, world)
    assert list(model.state_dict()) == names
    assert all(before is after for before, after in zip(held, [*model.parameters(), *model.buffers()], strict=True))
    share = x[world.rank :: world.size].requires_grad_()
    target = torch.arange(clips)[world.rank :: world.size] % 4
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.train()
    for step in range(STEPS):
        if step:
            with torch.no_grad():
                torch._foreach_add_(learning, [parameter.grad for parameter in learning], alpha=-0.05)
        model.zero_grad()
        share.grad = None
        output = model(share)
        (F.cross_entropy(output, target, reduction="sum") / clips).backward()
        world.add([parameter.grad for parameter in learning])
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    with torch.no_grad():
        judged = model.eval()(x)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return {"output": output.detach(), "input": share.grad, "judged": judged, "gradients": gradients, "state": state}


def learn_each(world, cases):
    return [learn(world, **case) for case in cases]


CASES = [{"name": name, "clips": 8} for name in MODELS if name != "blocks"]
CASES += [
    {"name": "convolutions", "clips": 7},
    {
        "name": "convolutions",
        "clips": 2,
        "exact": True,
    },  # a share has one value for each channel, which torch alone refuses
    {"name": "convolutions", "clips": 8, "last": True},
    {"name": "convolutions", "clips": 9, "exact": True},
    {"name": "blocks", "clips": 5, "side": 32, "exact": True, "last": True},
]


@pytest.fixture(scope="module", params=[2, 3])
def learnt(request, worlds):
    """What each of so many processes found in each case; with three, a share of two clips is empty."""
    return request.param, worlds.ask(request.param, learn_each, cases=CASES)


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda case: " ".join(map(str, CASES[case].values())))
def test_shares_learn_what_the_whole_learns(learnt, case):
    size, answers = learnt
    whole = learn(ALONE, **CASES[case])
    close = {"rtol": 1e-5, "atol": 1e-5} if "exact" not in CASES[case] else {"rtol": 1e-8, "atol": 1e-10}
    for rank, answer in enumerate(answers):
        found = answer[case]
        torch.testing.assert_close(found["output"], whole["output"][rank::size], **close)
        torch.testing.assert_close(found["input"], whole["input"][rank::size], **close)
        torch.testing.assert_close(found["judged"], whole["judged"], **close)
        assert found["gradients"].keys() == whole["gradients"].keys()
        for name, gradient in whole["gradients"].items():
            torch.testing.assert_close(
                found["gradients"][name], gradient, **close, msg=lambda text, name=name: f"{name}: {text}"
            )
        assert list(found["state"]) == list(whole["state"])
        for name, tensor in whole["state"].items():
            torch.testing.assert_close(
                found["state"][name], tensor, **close, msg=lambda text, name=name: f"{name}: {text}"
            )
            assert torch.equal(found["state"][name], answers[0][case]["state"][name]), "one model, to the last bit"


def test_each_share_alone_would_learn_something_else():
    """The measure of the test above can fail: torch's own batch norms, on shares, are far off."""
    model, x = build("convolutions").train(), pictures(8)
    whole = model(x)
    apart = torch.empty_like(whole)
    apart[::2], apart[1::2] = model(x[::2]), model(x[1::2])
    assert (whole - apart).abs().max() > 0.1


# the model that training has, and its precisions


def learn_orders(world, clips=6):
    """Take a step of a small EST, whose order head has batch norms."""
    model = build_model(EstConfig(**SMALL), width=24, num_classes=4, seed=3).train()
    across(model, world)
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(clips, 5, 4, 24, generator=generator)[world.rank :: world.size]
    picks = torch.arange(clips)[world.rank :: world.size] % 6
    output = model({"features": features, "order": picks})
    losses = F.cross_entropy(output.order, picks, reduction="sum") + F.cross_entropy(
        output.expression, picks % 4, reduction="sum"
    )
    (losses / clips).backward()
    world.add([parameter.grad for parameter in model.parameters()])
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"order": output.order.detach(), "gradients": gradients, "state": dict(model.state_dict())}


def test_the_order_head_sees_the_whole_batch(worlds):
    whole = learn_orders(ALONE)
    for rank, found in enumerate(worlds.ask(2, learn_orders)):
        torch.testing.assert_close(found["order"], whole["order"][rank::2], rtol=1e-5, atol=1e-5)
        for part in ("gradients", "state"):
            assert list(found[part]) == list(whole[part])
            for name, tensor in whole[part].items():
                torch.testing.assert_close(found[part][name], tensor, rtol=1e-5, atol=1e-6)


def learn_tuned(world, checkpointing, clips=6):
    """Take steps of EST behind layer4, whose blocks change what batch norms gave in place, and may be computed twice."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Backbone()
    est = build_model(EstConfig(**SMALL), width=512, num_classes=4, seed=3)
    model = FinetunedModel(backbone, est, learns="layer4", batch_norm="train", checkpointing=checkpointing).train()
    across(model, world)
    generator = torch.Generator().manual_seed(1)
    rows = torch.rand(9, 256, 2, 2, generator=generator) * 3
    place = torch.randint(9, (clips, 5, 4), generator=generator)[world.rank :: world.size]
    picks = torch.arange(clips)[world.rank :: world.size] % 6
    for _ in range(2):
        model.zero_grad()
        output = model({"rows": rows, "place": place, "order": picks})
        (F.cross_entropy(output.order, picks, reduction="sum") / clips).backward()
    named = {name: weight for name, weight in model.named_parameters() if weight.grad is not None}
    world.add([weight.grad for weight in named.values()])
    seen = [f"backbone.layer4.{name}" for name in ("0.bn1.weight", "0.downsample.1.bias", "1.bn2.weight")]
    return {
        "order": output.order.detach(),
        "gradients": {name: named[name].grad for name in seen},
        "statistics": {name: buffer for name, buffer in model.named_buffers() if "layer4" in name},
    }


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_tuned_backbone_sees_the_whole_batch(worlds, checkpointing):
    whole = learn_tuned(ALONE, checkpointing)
    assert len(whole["statistics"]) == 5 * 3
    assert all(int(count) == 2 for name, count in whole["statistics"].items() if "num" in name)
    for rank, found in enumerate(worlds.ask(2, learn_tuned, checkpointing=checkpointing)):
        torch.testing.assert_close(found["order"], whole["order"][rank::2], rtol=1e-4, atol=1e-5)
        for part in ("gradients", "statistics"):
            assert list(found[part]) == list(whole[part])
            for name, tensor in whole[part].items():
                torch.testing.assert_close(found[part][name], tensor, rtol=1e-4, atol=1e-5)


def learn_reduced(world):
    """Let a batch norm learn behind a convolution in bf16."""
    model, x = build("convolutions")[:2].train(), pictures(8, side=32)
    across(model, world)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(x[world.rank :: world.size])
    wanted = pictures(8, side=32).mean(1, keepdim=True)[world.rank :: world.size]
    (output.float() * wanted).sigmoid().sum().backward()
    world.add([parameter.grad for parameter in model.parameters()])
    gradients = [
        model[0].weight.grad,
        model[1].weight.grad,
        model[1].bias.grad,
    ]  # the convolution's bias gets rounding alone
    return {"output": output.detach(), "gradients": gradients, "state": dict(model[1].state_dict())}


def test_statistics_are_exact_under_autocast(worlds):
    whole = learn_reduced(ALONE)
    fresh = build("convolutions")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        seen = fresh[0](pictures(8, side=32))
    assert seen.dtype == torch.bfloat16
    exact = 0.9 * fresh[1].running_mean + 0.1 * seen.double().mean((0, 2, 3))
    for rank, found in enumerate(worlds.ask(2, learn_reduced)):
        assert found["output"].dtype == whole["output"].dtype == torch.bfloat16
        torch.testing.assert_close(found["state"]["running_mean"].double(), exact, rtol=1e-6, atol=1e-6)
        for name, tensor in whole["state"].items():
            torch.testing.assert_close(found["state"][name], tensor, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found["output"], whole["output"][rank::2], rtol=2**-7, atol=1e-2)
        for gradient, expected in zip(found["gradients"], whole["gradients"], strict=True):
            torch.testing.assert_close(gradient, expected, rtol=2**-6, atol=2**-6 * float(expected.abs().max()))


# what stays torch's own


def test_alone_nothing_changes():
    model = build("convolutions")
    across(model, ALONE)
    assert [type(module) for module in model] == [type(module) for module in convolutions()]


def test_the_kind_stays():
    model = build("convolutions")
    across(model, TWO)
    across(model, TWO)
    assert [type(model[index]) for index in (1, 4, 7)] == [AcrossBatchNorm2d, AcrossBatchNorm2d, AcrossBatchNorm1d]
    assert isinstance(model[1], nn.BatchNorm2d)
    assert isinstance(model[7], nn.BatchNorm1d)
    with pytest.raises(ValueError, match="expected 4D input"):
        model[1].train()(torch.ones(2, 8))
    alone = nn.BatchNorm1d(3)
    across(alone, TWO)
    assert type(alone) is AcrossBatchNorm1d


def test_evaluation_is_torch_s_own_and_needs_nobody():
    plain, shared = build("convolutions").eval(), build("convolutions").eval()
    across(shared, TWO)
    assert torch.equal(shared(pictures(3)), plain(pictures(3)))
    assert all(torch.equal(shared.state_dict()[name], tensor) for name, tensor in plain.state_dict().items())


def test_copies_and_checkpoints_go_both_ways():
    shared, plain = build("convolutions"), convolutions()
    across(shared, TWO)
    twin = copy.deepcopy(shared)
    assert twin[1].world is TWO
    assert twin[1].weight is not shared[1].weight
    plain.load_state_dict(shared.state_dict())
    assert torch.equal(plain.eval()(pictures(3)), shared.eval()(pictures(3)))
    twin.load_state_dict(convolutions().state_dict())
    assert torch.equal(twin[1].running_var, torch.ones(8))


# how it ends


def die_in(world, where):
    """Let the last process die in a pass of the model, in which the others need it."""
    model = build("convolutions").train()
    across(model, world)

    def end(*_):
        if world.rank == world.size - 1:
            os.kill(os.getpid(), signal.SIGKILL)

    if where == "forward":
        model[3].register_forward_hook(end)
    else:
        model[3].register_full_backward_hook(end)
    model(pictures(8)[world.rank :: world.size]).sum().backward()


@pytest.mark.parametrize("where", ["forward", pytest.param("backward", marks=pytest.mark.slow)])
def test_a_process_that_dies_in_a_pass_ends_the_others(worlds, where):
    first, gone = worlds.end(2, die_in, where=where)
    assert gone.killed == signal.SIGKILL
    assert isinstance(first.error, EstError)
    assert "is gone" in first.error.message
