"""Linear layers of a stack: gradients are those of torch, however a weight is used."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from est.train.loop.stacks.linear import Linears
from est.train.loop.stacks.own_draws import OwnDraws

K, B, S, D = 3, 4, 5, 6


def whole(x, w, b):
    return F.linear(x, w, b)


def repeated(x, w, b):
    for _ in range(3):
        x = torch.tanh(F.linear(x, w, b))
    return x


def in_parts(x, w, b):
    first, second = w.split([2, D - 2])
    return torch.cat([F.linear(x, first, b[:2]), F.linear(x, second, b[2:])], -1)


def one_part(x, w, b):
    return F.linear(x, w[2:], b[2:])


def overlapping(x, w, b):
    return F.linear(x, w, b)[..., :4] + F.linear(x, w[2:], b[2:]) + F.linear(x, w[:4])


def also_otherwise(x, w, b):
    return F.linear(x, w[2:], b[2:]) * (w[0] * b).sum()


def without_bias(x, w, b):
    return F.linear(x, w) * b


def a_constant(x, w, b):
    return F.linear(x, w, b) + F.linear(torch.ones(2, D, dtype=x.dtype), w, b).sum(0)


def of_vectors(x, w, b):
    return F.linear(x.flatten(0, -2)[0], w, b)


USES = [whole, repeated, in_parts, one_part, overlapping, also_otherwise, without_bias, a_constant, of_vectors]


@pytest.mark.parametrize("learns_before", [True, False], ids=["inputs with gradients", "inputs without"])
@pytest.mark.parametrize("use", USES)
def test_gradients_are_those_of_torch(use, learns_before):
    torch.manual_seed(0)
    x = torch.randn(K, B, S, D, dtype=torch.float64, requires_grad=learns_before)
    weights = {"w": torch.randn(K, D, D, dtype=torch.float64), "b": torch.randn(K, D, dtype=torch.float64)}
    for tensor in weights.values():
        tensor.requires_grad_()
    grads = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    linears = Linears(weights, grads)
    wanted = list(weights.values()) + [x] * learns_before
    expected = torch.autograd.grad(_loss(use, x, weights), wanted)
    for _ in range(2):  # the second time there are gradients already
        linears.clear()
        with OwnDraws(linears).using([]):
            loss = _loss(use, x, weights)
        found = torch.autograd.grad(loss, [*linears.outputs, *wanted], allow_unused=True)
        split = len(linears.outputs)
        assert linears.fill(found[:split], dict(zip(weights, found[split:], strict=False))) == set(weights)
        for name, grad in zip(weights, expected, strict=False):
            torch.testing.assert_close(grads[name], grad, rtol=1e-12, atol=1e-12)
        if learns_before:
            torch.testing.assert_close(found[-1], expected[-1], rtol=1e-12, atol=1e-12)


def test_a_weight_that_is_used_often_is_noted():
    # otherwise the test above would pass on what autograd does by itself
    weights = {"w": torch.randn(K, D, D, requires_grad=True), "b": torch.randn(K, D, requires_grad=True)}
    linears = Linears(weights, {name: torch.zeros_like(tensor) for name, tensor in weights.items()})
    with OwnDraws(linears).using([]):
        loss = _loss(repeated, torch.randn(K, B, S, D), weights)
    assert len(linears.outputs) == 3
    found = torch.autograd.grad(loss, [*linears.outputs, *weights.values()], allow_unused=True)
    assert [grad is None for grad in found] == [False] * 3 + [True] * 2


def _loss(use, x, weights):
    return torch.vmap(lambda x, w, b: use(x, w, b).sin().sum())(x, weights["w"], weights["b"]).sum()
