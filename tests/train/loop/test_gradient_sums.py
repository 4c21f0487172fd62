"""Gradients added while the backward pass runs: the sums of `World.add`, whichever parameters learn and in however many pieces."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from world_processes import Worlds

from est.train.loop import world as world_module
from est.train.loop.world import ALONE, GradientSums


@pytest.fixture(scope="module")
def worlds():
    started = Worlds(__file__)
    yield started
    started.close()


class Net(nn.Module):
    """Three layers, the last of which is used twice; the first may rest."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.unused = nn.Linear(2, 2)
        self.unused.weight.requires_grad_(False)

    def forward(self, x, *, rests):
        with torch.set_grad_enabled(not rests):
            hidden = self.first(x).relu()
        return self.third(self.third(self.second(hidden).relu())).square().mean()


def learn(world, early, pieces, bucket):
    """Take four steps; the first layer rests in two of them. Return all gradients, and how many buckets were begun in the backward pass."""
    buckets = world_module.buckets
    torch.manual_seed(0)
    net = Net()
    begun, begin = [], world.begin_to_add
    world.begin_to_add = lambda tensors: begun.append(len(tensors)) or begin(tensors)
    world_module.buckets = lambda tensors: buckets(tensors, bucket)
    sums = GradientSums(world, list(net.parameters()), early=early)
    found, in_backward = [], []
    for step in range(4):
        x = torch.randn(12, 8, generator=torch.Generator().manual_seed(10 * step + world.rank))
        net.zero_grad(set_to_none=True)
        begun.clear()
        for piece in range(pieces):
            if piece < pieces - 1:
                net(x[piece::pieces], rests=step in (1, 2)).backward()
            else:
                with sums.during_last_backward():
                    net(x[piece::pieces], rests=step in (1, 2)).backward()
        in_backward.append(sum(begun))
        left = torch.ones(2, dtype=torch.float64)
        sums.finish([left])
        assert left.tolist() == [world.size] * 2
        found.append([None if one.grad is None else one.grad.numpy().copy() for one in net.parameters()])
    return found, in_backward


@pytest.mark.parametrize("pieces", [1, 3])
def test_early_sums_are_the_late_ones_to_the_last_bit(worlds, pieces):
    late = worlds.ask(2, learn, early=False, pieces=pieces, bucket=1200)
    early = worlds.ask(2, learn, early=True, pieces=pieces, bucket=1200)
    assert [counts for _, counts in late] == [[0, 0, 0, 0]] * 2
    # Nothing is known before the first step; in the second, a bucket with the bias of a layer that rests waits for the end.
    assert [counts for _, counts in early] == [[0, 3, 4, 4]] * 2
    for (one, _), (other, _) in zip(early, late, strict=True):
        for step, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            assert [grad is None for grad in mine] == [step in (1, 2)] * 2 + [False] * 4 + [True] * 2
            assert all((a is None and b is None) or (a == b).all() for a, b in zip(mine, theirs, strict=True))
    for mine, theirs in zip(early[0][0], early[1][0], strict=True):
        assert all(a is None or (a == b).all() for a, b in zip(mine, theirs, strict=True))


def test_alone_nothing_is_watched():
    net = Net()
    sums = GradientSums(ALONE, list(net.parameters()))
    with sums.during_last_backward():
        net(torch.ones(2, 8), rests=False).backward()
    before = [one.grad.clone() for one in net.parameters() if one.grad is not None]
    sums.finish([torch.zeros(1)])
    assert all((one.grad == grad).all() for one, grad in zip(net.parameters(), before, strict=False))
    assert not any(one._post_accumulate_grad_hooks for one in net.parameters())
