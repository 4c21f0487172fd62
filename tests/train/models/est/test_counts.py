"""Counts: parameters and multiply-accumulates are the paper's, and are those of the modules that run."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from est.encoders.backbone import Backbone
from est.train.models import EST, EstConfig, build_model, count_macs, count_parameters, describe
from est.train.models.description import backbone_macs

BACKBONE = 11_176_512


@pytest.mark.parametrize(
    ("changes", "num_classes", "total", "giga"),
    [
        ({}, 7, 42_775_761, 63.892),
        ({}, 6, 42_775_696, 63.892),
        ({"ssop": False}, 7, 34_374_343, 63.884),
        ({"ssop": False, "aggregation": "mean"}, 7, 33_322_695, 63.847),
        ({"aggregation": "self-attention"}, 7, 42_775_761, 63.892),
        ({"aggregation": "se"}, 7, 43_301_073, 63.896),
    ],
)
def test_totals_are_the_papers(changes, num_classes, total, giga):
    config = EstConfig(**changes)
    found = describe(config, Backbone.width, num_classes)
    assert found.whole.parameters == total
    assert found.backbone.parameters == BACKBONE
    assert found.parameters == total - BACKBONE
    assert found.whole.macs / 1e9 == pytest.approx(giga, abs=5e-4)


def test_parts_are_those_of_the_table():
    found = count_parameters(EstConfig(), 512, 7)
    assert found["snippets"] == 1_051_648
    assert found["encoder"] == 3 * 3_152_384 + 1024
    assert found["decoder"] == 3 * 4_204_032 + 1024 + 512
    assert found["expression head"] == 74_375
    assert found["order head"] == 8_401_418


@pytest.mark.parametrize(
    "changes",
    [{}, {"ssop": False}, {"aggregation": "se", "layers": 1}, {"snippets": 4, "orders": 3}, {"order_hidden": 30}],
)
@pytest.mark.parametrize("width", [64, 80])
def test_counts_are_those_of_a_built_model(changes, width):
    config = EstConfig(**{"dim": 64, "ffn": 32, **changes})
    model = build_model(config, width=width, num_classes=5, seed=0)
    found = describe(config, width, 5)
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert ("projection" in {row.part for row in found.rows}) == (width != 64)
    assert found.backbone is None
    assert found.whole is None


def count_modules(model, run, factors):
    """Count what modules do, from the shapes that pass them."""
    total = 0

    def hook(module, inputs, output):
        nonlocal total
        total += factors[type(module)](module, inputs[0], output)

    handles = [module.register_forward_hook(hook) for module in model.modules() if type(module) in factors]
    run()
    for handle in handles:
        handle.remove()
    return total


def test_backbone_against_torchvisions_modules():
    with torch.device("meta"):
        model, image = resnet18().eval(), torch.empty(1, 3, 224, 224)
    factors = {
        nn.Conv2d: lambda m, x, y: y.numel() * m.weight[0].numel(),
        nn.BatchNorm2d: lambda m, x, y: 2 * y.numel(),
        nn.ReLU: lambda m, x, y: y.numel(),
        nn.MaxPool2d: lambda m, x, y: x.numel(),
        nn.AdaptiveAvgPool2d: lambda m, x, y: x.numel(),
    }
    assert backbone_macs(224) == count_modules(model, lambda: model(image), factors)


@pytest.mark.parametrize("order_hidden", [2048, 30])
def test_linear_layers_of_the_heads_against_their_modules(order_hidden):
    config = EstConfig(order_hidden=order_hidden)
    with torch.device("meta"):
        model = EST(config, width=512, num_classes=7, orders=torch.empty(10, 7, dtype=torch.long)).eval()
        features = torch.empty(1, 7, 5, 512)
    rows = {  # ours does not hand out bare Linear
        type(model.expression_head.layers[0]): lambda m, x, y: y.numel() * (m.in_features + 1),
        nn.BatchNorm1d: lambda m, x, y: 2 * y.numel(),
        nn.ReLU: lambda m, x, y: y.numel(),
    }
    macs = count_macs(config, 512, 7)
    assert count_modules(model.expression_head, lambda: model.classify(features), rows) == macs["expression head"]
    assert count_modules(model.order_head, lambda: model.classify(features), rows) == macs["order head"]


def test_more_frames_cost_snippets_and_backbone_alone():
    few, many = (describe(EstConfig(frames=frames), 512, 7) for frames in (5, 10))
    assert many.backbone.macs == 2 * few.backbone.macs
    changed = {a.part for a, b in zip(few.rows, many.rows, strict=True) if a.macs != b.macs}
    assert changed == {"snippets"}


def test_text_and_json_say_the_same():
    found = describe(EstConfig(), 512, 7)
    text = "\n".join(found.lines())
    plain = json.loads(json.dumps(found.to_json()))
    assert "42,775,761" in text
    assert "63.892 G" in text
    assert "63.758 G" in text, "of the backbone: what docs/benchmarks.md says"
    assert plain["with_backbone"]["parameters"] == 42_775_761
    assert plain["parameters"] == sum(part["parameters"] for part in plain["parts"])
    assert plain["backbone"]["frames"] == 35
    assert len({len(line) for line in found.lines()}) == 1
    assert "backbone" not in describe(EstConfig(), 960, 7).to_json()


def test_counting_draws_nothing():
    before = torch.get_rng_state()
    describe(EstConfig(), 512, 7)
    assert torch.equal(torch.get_rng_state(), before)
