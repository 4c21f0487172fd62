"""What a config and a seed decide: sizes, starting values, the orders that are drawn."""

from __future__ import annotations

import math

import pytest
import torch

from est.errors import UsageError
from est.train.models import EST, EstConfig, build_model, draw_orders

SMALL = {"dim": 32, "ffn": 48, "layers": 2, "snippets": 5, "frames": 4, "orders": 6}


def test_a_seed_decides_everything_and_touches_nothing():
    config = EstConfig(**SMALL)
    before = torch.get_rng_state()
    first, again, other = (build_model(config, width=20, num_classes=3, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not torch.equal(first.query, other.query)
    assert not torch.equal(first.orders, other.orders)
    torch.manual_seed(99)
    later = build_model(config, width=20, num_classes=3, seed=3)
    assert torch.equal(
        later.transformer.encoder.layers[0].linear1.weight, first.transformer.encoder.layers[0].linear1.weight
    )


def test_starting_values():
    model = build_model(EstConfig(dim=64, ffn=128, layers=1), width=48, num_classes=7, seed=0)
    for name, p in model.named_parameters():
        if p.dim() < 2 or name == "query":
            continue
        bound = p.shape[1] ** -0.5  # torch's default
        if name.startswith("transformer"):
            bound = math.sqrt(6 / p.shape[1])
        elif name.endswith("in_proj_weight"):
            bound = math.sqrt(6 / sum(p.shape))
        assert 0.95 * bound < p.abs().max().item() <= bound, name
        assert abs(p.mean().item()) < 0.1 * bound, name
    for name, p in model.named_parameters():
        if p.dim() == 1 and "norm" in name:
            assert (p == (1 if name.endswith("weight") else 0)).all(), name
        if name.endswith(("in_proj_bias", "out_proj.bias")):
            assert (p == 0).all(), name
    assert model.query.std().item() == pytest.approx(1, abs=0.3)
    assert (model.scaling.mean == 0).all()
    assert (model.scaling.std == 1).all()


def test_the_default_order_head_is_the_papers():
    """Shapes and starting values as they were when 2048 and 512 were constants of the code."""
    config = EstConfig(dim=32, ffn=48, layers=1, snippets=3, orders=5)
    model = build_model(config, width=20, num_classes=3, seed=3)
    linear = {name: tuple(p.shape) for name, p in model.order_head.named_parameters() if p.dim() == 2}
    assert linear == {"layers.0.weight": (2048, 96), "layers.3.weight": (512, 2048), "layers.6.weight": (5, 512)}
    assert len(model.state_dict()) == 69
    drawn = model.order_head.layers[3].weight.double()
    assert drawn.sum().item() == pytest.approx(11.021006281735083, rel=1e-9)
    assert drawn.abs().sum().item() == pytest.approx(11576.082405565692, rel=1e-9)
    assert sum(p.double().abs().sum().item() for p in model.parameters()) == pytest.approx(29750.04718, rel=1e-9)


@pytest.mark.parametrize(("hidden", "widths"), [(256, (256, 64)), (4, (4, 1)), (30, (30, 7))])
def test_the_order_head_has_the_width_that_is_asked_for(hidden, widths):
    model = build_model(EstConfig(**SMALL, order_hidden=hidden), width=20, num_classes=3, seed=3)
    found = [p.shape[0] for p in model.order_head.parameters() if p.dim() == 2]
    assert found == [*widths, SMALL["orders"]]


@pytest.mark.parametrize("natural", [True, False])
@pytest.mark.parametrize(("num", "n"), [(10, 7), (5, 3), (1, 2), (100, 12), (700, 6)])
def test_orders_are_distinct_permutations(num, n, natural):
    orders = draw_orders(num, n, seed=5, include_natural=natural)
    assert orders.dtype == torch.long
    assert orders.shape == (num, n)
    assert (orders.sort(1).values == torch.arange(n)).all()
    assert len(set(map(tuple, orders.tolist()))) == num
    rows = (orders == torch.arange(n)).all(1).nonzero().flatten().tolist()
    assert rows == ([0] if natural else [])
    assert torch.equal(draw_orders(num, n, seed=5, include_natural=natural), orders)
    assert torch.equal(draw_orders(min(num, 3), n, seed=5, include_natural=natural), orders[:3])


def test_orders_differ_by_seed():
    assert len({tuple(draw_orders(10, 7, seed=seed).flatten().tolist()) for seed in range(5)}) == 5


@pytest.mark.parametrize(("num", "n", "natural", "there"), [(6, 3, False, "5"), (7, 3, True, "6"), (1, 1, False, "0")])
def test_more_orders_than_there_are(num, n, natural, there):
    with pytest.raises(UsageError, match=f"{num} orders of {n} snippets.* there are {there}") as caught:
        draw_orders(num, n, seed=0, include_natural=natural)
    assert caught.value.remedy


# a user's mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "model.dim is a multiple of model.heads, found 512 and 3"),
        ({"layers": 0}, "model.layers is at least 1, found 0"),
        ({"snippets": 7.0}, "model.snippets is a whole number"),
        ({"frames": True}, "model.frames is a whole number"),
        ({"order_hidden": 3}, "model.order_hidden is at least 4, found 3"),
        ({"order_hidden": 64.0}, "model.order_hidden is a whole number"),
        ({"dropout": 1.0}, "model.dropout goes from 0 to 0.999, found 1"),
        ({"head_dropout": float("nan")}, "model.head_dropout goes from 0 to 0.999, found nan"),
        ({"order_weight": -0.1}, "model.order_weight is at least 0, found -0.1"),
        ({"order_weight": float("inf")}, "model.order_weight is at least 0, found inf"),
        ({"position": "clip"}, "model.position is slot or snippet, found 'clip'"),
        ({"aggregation": "max"}, "model.aggregation is hierarchical, mean, self-attention or se, found 'max'"),
        ({"order_input": "both"}, "model.order_input is fused, query or snippets"),
        ({"ssop": "no"}, "model.ssop is true or false, found 'no'"),
    ],
)
def test_config_says_what_it_expects(changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        EstConfig(**changes)
    assert caught.value.remedy.startswith("--set model.")


def test_the_remedy_for_heads_divides():
    with pytest.raises(UsageError) as caught:
        EstConfig(dim=510, heads=4)
    assert caught.value.remedy == "--set model.heads=3"


def test_weight_of_the_order_loss():
    assert EstConfig().weight_of_order == 1 / 7
    assert EstConfig(snippets=5).weight_of_order == 1 / 5
    assert EstConfig(order_weight=0.0).weight_of_order == 0


def test_a_table_of_orders_of_another_shape():
    with pytest.raises(UsageError, match=r"The orders are a table of \(6, 5\), found \(6, 4\)"):
        EST(EstConfig(**SMALL), width=32, num_classes=7, orders=torch.zeros(6, 4, dtype=torch.long))
