"""Products of linear layers by oneDNN: equal to torch's own but for rounding, taken in training alone, and where they are faster."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from train_samples import Recorder, fit_interrupted, learning_cache, outcome, tiny_config

from est.train import fit
from est.train.models import EstConfig, build_model, products
from est.train.models.products import OneDNN, linear, onednn_is_faster

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


@pytest.fixture
def taken(monkeypatch):
    """Every product in training is oneDNN's; returns the list of their outputs' shapes."""
    found, apply = [], OneDNN.apply

    def noted(*arguments):
        output = apply(*arguments)
        found.append(tuple(output.shape))
        return output

    monkeypatch.setattr(products, "SMALLEST", 1)
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    monkeypatch.setattr(OneDNN, "apply", noted)
    return found


def drawn(*shape, grad=True, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_(grad)


def learnt(function, x, weight, bias, *, expanded=False):
    """The output of a layer, and the gradients of a loss of it."""
    output = function(x, weight, bias)
    (output.sum() if expanded else output.sin().sum()).backward()
    found = [output.detach()]
    for tensor in (x, weight, bias):
        if tensor is not None and tensor.requires_grad:
            found.append(tensor.grad)
            tensor.grad = None
    return found


@needs_onednn
@pytest.mark.parametrize("shape", [(8, 40), (3, 7, 40), (2, 3, 5, 40), (1, 40)])
@pytest.mark.parametrize("what", ["all", "no bias", "frozen bias", "features", "expanded gradient"])
def test_a_layer_and_its_gradients_are_torchs(taken, shape, what):
    x, weight = drawn(*shape, grad=what != "features"), drawn(24, 40, seed=1)
    bias = None if what == "no bias" else drawn(24, seed=2, grad=what != "frozen bias")
    found = learnt(linear, x, weight, bias, expanded=what == "expanded gradient")
    wide = [None if t is None else t.detach().double().requires_grad_(t.requires_grad) for t in (x, weight, bias)]
    wanted = learnt(F.linear, *wide, expanded=what == "expanded gradient")
    assert taken == [(*shape[:-1], 24)]
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.is_contiguous()
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


@needs_onednn
def test_gradients_of_parts_of_a_weight_come_together(taken):
    """Attention multiplies by parts of a packed weight."""
    x, packed = drawn(6, 16), drawn(48, 16, seed=1)
    first, second = packed.split([16, 32])
    (linear(x, first).sum() + linear(x, second).sin().sum()).backward()
    found, packed.grad = packed.grad, None
    first, second = packed.split([16, 32])
    (F.linear(x, first).sum() + F.linear(x, second).sin().sum()).backward()
    torch.testing.assert_close(found, packed.grad, rtol=1e-4, atol=1e-4)
    assert len(taken) == 2


def test_what_is_no_training_in_fp32_keeps_torchs_products(taken):
    x, weight, bias = drawn(8, 40), drawn(24, 40, seed=1), drawn(24, seed=2)
    with torch.no_grad():
        assert torch.equal(linear(x, weight, bias), F.linear(x, weight, bias))
    with torch.inference_mode():
        linear(x, weight, bias)
    linear(x, weight.detach(), bias.detach())
    linear(x.double(), weight.double(), bias.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight, bias).dtype == torch.bfloat16
    torch.vmap(linear)(x.unsqueeze(0), weight.unsqueeze(0), bias.unsqueeze(0))
    assert taken == []


def test_small_products_stay_torchs(taken, monkeypatch):
    monkeypatch.setattr(products, "SMALLEST", 8 * 40 * 24 + 1)
    linear(drawn(8, 40), drawn(24, 40, seed=1))
    assert taken == []


@pytest.mark.parametrize(
    ("about", "faster"),
    [
        ({"cpu_name": "AMD EPYC 9654", "avx512_f": True}, True),
        ({"cpu_name": "AMD EPYC 7763", "avx512_f": False}, False),
        ({"cpu_name": "Intel Xeon Platinum 8480+", "avx512_f": True}, False),
        ({"cpu_name": "Apple M2"}, False),
        ({}, False),
    ],
)
def test_the_processor_decides(monkeypatch, about, faster):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: about)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr("est.encoders.precision.platform.machine", lambda: "x86_64")
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    for limit, allowed in (("", True), ("AVX512_CORE", True), ("avx2", False)):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        is_faster = faster and allowed and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        assert onednn_is_faster.__wrapped__() is is_faster


@needs_onednn
def test_a_step_of_est_is_that_of_torchs_products_but_for_rounding(taken, monkeypatch):
    config = EstConfig(dim=32, ffn=48, layers=2, snippets=5, frames=4, orders=6, order_hidden=32, dropout=0.1)
    model = build_model(config, width=32, num_classes=7, seed=0).train()
    batch = {"features": drawn(3, 5, 4, 32, grad=False), "order": torch.tensor([0, 3, 5])}

    def gradients():
        torch.manual_seed(4)
        output = model(batch)
        loss = F.cross_entropy(output.expression, batch["order"]) + F.cross_entropy(output.order, batch["order"])
        grads = torch.autograd.grad(loss, list(model.parameters()))
        return [loss.detach(), *grads]

    found = gradients()
    layers = sum(isinstance(module, nn.Linear) for module in model.modules())
    packed = 1 + config.layers * (
        1 + 1 + 2
    )  # AA-SFE, encoder, decoder: the query alone, then to the snippets in two parts
    assert len(taken) == layers + packed
    monkeypatch.setattr(products, "onednn_is_faster", lambda: False)
    for one, other in zip(found, gradients(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@needs_onednn
def test_a_run_resumes_bit_for_bit(tmp_path, taken):
    cache = learning_cache(tmp_path / "c.zarr", 24)
    config = tiny_config(epochs=3)
    fit(cache, tmp_path / "whole", config, watch=Recorder())
    assert taken
    fit_interrupted(cache, tmp_path / "run", config, 4)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
