"""The model: what its weights compute, where gradients go, in which precisions."""

from __future__ import annotations

import est_reference as reference
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from est.errors import UsageError
from est.train.models import EstConfig, build_model
from est.train.models.est.attention import Attention

SMALL = {"dim": 32, "ffn": 48, "layers": 2, "snippets": 5, "frames": 4, "orders": 6}
TOLERANCE = 1e-5


def small(seed=0, *, width=32, num_classes=7, **changes):
    """A small model in evaluation mode, none of whose values is a default."""
    model = build_model(EstConfig(**{**SMALL, **changes}), width=width, num_classes=num_classes, seed=seed)
    own = model.state_dict()
    arrays = reference.random_arrays(
        {name: tuple(value.shape) for name, value in own.items()}, np.random.default_rng(seed)
    )
    for name in ("orders", "position.table"):
        arrays[name] = own[name].numpy()
    model.load_state_dict({name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()})
    return model.eval()


def sample(model, clips=3, seed=1):
    """Features and an order for each clip."""
    config, generator = model.config, torch.Generator().manual_seed(seed)
    features = torch.randn(clips, config.snippets, config.frames, model.width, generator=generator)
    order = torch.stack([torch.randperm(config.snippets, generator=generator) for _ in range(clips)])
    return features, order


def gradients(model, loss):
    """The largest gradient of each parameter; None where none arrived."""
    model.zero_grad()
    loss.backward()
    return {name: None if p.grad is None else p.grad.abs().max().item() for name, p in model.named_parameters()}


# what it computes


@pytest.mark.parametrize("aggregation", ["hierarchical", "mean", "self-attention", "se"])
@pytest.mark.parametrize(
    ("position", "order_input", "width", "heads"),
    [("slot", "fused", 32, 4), ("snippet", "query", 20, 2), ("snippet", "snippets", 32, 1)],
)
def test_parity_with_the_reference(aggregation, position, order_input, width, heads):
    changes = {"aggregation": aggregation, "position": position, "order_input": order_input, "heads": heads}
    model = small(width=width, **changes)
    features, order = sample(model)
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    del changes["heads"]
    with torch.inference_mode():
        for given in (None, order):
            wanted = reference.est(arrays, features.numpy(), given, heads=heads, **changes)
            for found in (model.classify(features, given), model.classify(features, given, details=True)):
                assert np.abs(found.expression.numpy() - wanted[0]).max() < TOLERANCE
                assert np.abs(found.order.numpy() - wanted[1]).max() < TOLERANCE
            assert np.abs(found.attention.numpy() - wanted[2]).max() < TOLERANCE
            assert (found.alpha is None) == (wanted[3] is None)
            if wanted[3] is not None:
                assert np.abs(found.alpha.numpy() - wanted[3]).max() < TOLERANCE


def test_parity_where_cosines_are_negative():
    model = small()
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    features = reference.contrary_frames(np.random.default_rng(0), 3, 5, 4, 32)
    wanted = reference.est(arrays, features, position="slot")
    with torch.inference_mode():
        found = model.classify(torch.from_numpy(features), details=True)
    assert (found.alpha == 1e-8).any()
    assert (found.alpha > 0.1).any()
    assert np.abs(found.alpha.numpy() - wanted[3]).max() < TOLERANCE
    assert np.abs(found.expression.numpy() - wanted[0]).max() < TOLERANCE
    assert np.abs(found.order.numpy() - wanted[1]).max() < TOLERANCE


@pytest.mark.parametrize(("count", "dim"), [(7, 512), (3, 5), (1, 2)])
def test_position_table(count, dim):
    model = build_model(
        EstConfig(snippets=count, dim=dim, heads=1, layers=1, ffn=4, ssop=False), width=dim, num_classes=2, seed=0
    )
    assert np.abs(model.position.table.numpy() - reference.positions(count, dim)).max() < 1e-6


def test_classes_and_the_shuffle():
    """The snippet's own code moves with it and nothing else knows places; the slot's code stays."""
    for position, changes in (("snippet", False), ("slot", True)):
        model = small(position=position)
        features, order = sample(model)
        shuffled = features.gather(1, order[:, :, None, None].expand_as(features))
        with torch.inference_mode():
            plain, moved = model.classify(features), model.classify(shuffled, order)
        difference = (plain.expression - moved.expression).abs().max()
        assert difference > 1e-4 if changes else difference < 1e-5, position
        assert (plain.order - moved.order).abs().max() > 1e-3  # the order head sees the slots either way


def test_frames_of_a_snippet_have_no_order():
    model = small()
    features, _ = sample(model)
    with torch.inference_mode():
        assert (model.classify(features).expression - model.classify(features.flip(2)).expression).abs().max() < 1e-5


def test_batched_is_single():
    model = small(position="snippet")
    features, order = sample(model, clips=4)
    with torch.inference_mode():
        together = model.classify(features, order, details=True)
        for b in range(4):
            alone = model.classify(features[b : b + 1], order[b : b + 1], details=True)
            for whole, one in zip(together, alone, strict=True):
                assert (whole[b] - one[0]).abs().max() < 1e-5


def test_details_are_weights():
    model = small()
    features, _ = sample(model)
    with torch.inference_mode():
        found = model.classify(features, details=True)
        bare = model.classify(features)
    assert found.attention.shape == (3, 4, 5)
    assert (found.attention.sum(-1) - 1).abs().max() < 1e-6
    assert found.alpha.shape == (3, 5, 4)
    assert ((found.alpha >= 1e-8) & (found.alpha <= 1 + 1e-6)).all()
    assert bare.attention is None
    assert bare.alpha is None
    assert (found.expression - bare.expression).abs().max() < 1e-6


def test_scaling_comes_first():
    model = small()
    features, _ = sample(model)
    scaled = (features - model.scaling.mean) / model.scaling.std
    with torch.inference_mode():
        wanted = model.classify(features).expression
        model.scaling.mean.zero_()
        model.scaling.std.fill_(1)
        assert (model.classify(scaled).expression - wanted).abs().max() < 1e-6


def test_without_order_head():
    model = small(ssop=False)
    features, order = sample(model)
    assert model.classify(features, order).order is None
    assert model.orders.shape == (0, 5)
    assert not any(name.startswith("order_head") for name in model.state_dict())


# attention


def test_attention_to_oneself_alone_is_the_whole_computation():
    torch.manual_seed(0)
    layer = Attention(8, 2, 0.0)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, 8)
    (layer(x[:, None]).square().sum()).backward()
    wanted = {name: p.grad.clone() for name, p in layer.named_parameters()}
    layer.zero_grad()
    found = layer.alone(x)
    found.square().sum().backward()
    expected = layer(x[:, None])[:, 0]
    assert (found - expected).abs().max() < 1e-6 * expected.abs().max()  # sums are in another order on other processors
    for name, p in layer.named_parameters():
        assert (p.grad - wanted[name]).abs().max() <= 1e-6 * wanted[name].abs().max(), name
    assert (layer.in_proj_weight.grad[:16] == 0).all()  # queries and keys
    assert (layer.in_proj_weight.grad[16:] != 0).any()


def test_dropout_of_the_one_weight_takes_whole_heads():
    torch.manual_seed(0)
    layer = Attention(8, 2, 0.25)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    with torch.no_grad():
        layer.out_proj.weight.copy_(torch.eye(8))
        layer.out_proj.bias.zero_()
    x = torch.randn(1, 8).expand(4000, 8)
    with torch.no_grad():
        dropped, kept = layer.train().alone(x), layer.eval().alone(x)
    heads = (dropped / kept).unflatten(-1, (2, 4))
    assert ((heads - heads[..., :1]).abs() < 1e-5).all()  # a head goes as a whole
    factors = heads[..., 0]
    assert ((factors.abs() < 1e-6) | ((factors - 4 / 3).abs() < 1e-5)).all()
    assert (factors == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert (factors[:, 0] != factors[:, 1]).any()


# gradients


@pytest.mark.parametrize("aggregation", ["hierarchical", "self-attention", "se"])
@pytest.mark.parametrize("order_input", ["fused", "query", "snippets"])
@pytest.mark.parametrize("detach", [True, False])
def test_where_the_order_loss_goes(aggregation, order_input, detach):
    model = small(aggregation=aggregation, order_input=order_input, detach_snippets=detach)
    features, order = sample(model)
    found = gradients(model, F.cross_entropy(model.classify(features, order).order, torch.tensor([0, 1, 2])))
    reached = {name.split(".")[0] for name, value in found.items() if value}
    wanted = {
        ("fused", True): {"snippets", "transformer", "query", "order_head"},
        ("query", True): {"snippets", "transformer", "query", "order_head"},
        ("snippets", True): {"order_head"},  # the head alone learns
        ("fused", False): {"snippets", "transformer", "query", "order_head"},
        ("query", False): {"snippets", "transformer", "query", "order_head"},
        ("snippets", False): {"snippets", "order_head"},
    }
    assert reached == wanted[order_input, detach]


def test_detaching_changes_only_the_direct_way():
    """With R attached the features get more gradient than T brings them; the Transformer's stays."""
    found = {}
    for detach in (True, False):
        model = small(detach_snippets=detach)
        features, order = sample(model)
        F.cross_entropy(model.classify(features, order).order, torch.tensor([0, 1, 2])).backward()
        found[detach] = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    name = "transformer.encoder.layers.0.linear1.weight"
    assert torch.equal(found[True][name], found[False][name])
    name = "snippets.attention.in_proj_weight"
    assert (found[True][name] - found[False][name]).abs().max() > 1e-6


def test_every_parameter_learns():
    model = small(width=20)
    features, order = sample(model)
    out = model.train().classify(features, order)
    found = gradients(
        model,
        F.cross_entropy(out.expression, torch.tensor([0, 1, 2])) + F.cross_entropy(out.order, torch.tensor([0, 1, 2])),
    )
    assert not [name for name, value in found.items() if value is None]


@pytest.mark.parametrize("aggregation", ["hierarchical", "mean", "self-attention", "se"])
@pytest.mark.parametrize("training", [True, False])
def test_snippets_without_a_face_are_finite(aggregation, training):
    """Untouched starting values map zeros to zeros: norms of 0 in Eq. 2."""
    model = build_model(EstConfig(**SMALL, aggregation=aggregation), width=32, num_classes=3, seed=0).train(training)
    features, order = sample(model)
    features[0] = 0
    features[1, 2] = 0
    features[2, 0, 1:] = features[2, 0, :1]  # and frames that are alike
    features.requires_grad_()
    out = model.classify(features, order, details=True)
    assert all(part.isfinite().all() for part in out if part is not None)
    loss = out.expression.logsumexp(-1).sum() + out.order.logsumexp(-1).sum()
    loss.backward()
    assert features.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    if aggregation == "hierarchical" and not training:
        assert (out.alpha[0] == 1e-8).all()


# precision, compilation


def test_autocast_is_close_and_answers_in_float32():
    model = small(width=20)
    features, order = sample(model)
    wanted = model.classify(features, order)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.classify(features, order, details=True)
    assert all(part.dtype == torch.float32 for part in found)
    assert (found.expression - wanted.expression).abs().max() < 0.05 * wanted.expression.abs().max() + 0.02
    assert (found.order - wanted.order).abs().max() < 0.05 * wanted.order.abs().max() + 0.02
    F.cross_entropy(found.expression, torch.tensor([0, 1, 2])).backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters() if p.grad is not None)


def test_autocast_keeps_the_smallest_weight():
    """1e-8 and sums of it survive: Eq. 3 is float32 under autocast, where half precision would divide 0 by 0."""
    model = build_model(EstConfig(**SMALL), width=32, num_classes=3, seed=0).eval()
    with torch.autocast("cpu", torch.float16), torch.inference_mode():
        found = model.classify(torch.zeros(1, 5, 4, 32), details=True)
    assert found.alpha.dtype == torch.float32
    assert (found.alpha > 0).all()
    assert found.expression.isfinite().all()


def test_double_precision_stays():
    model = small().double()
    features, _ = sample(model)
    found = model.classify(features.double(), details=True)
    assert all(part.dtype == torch.float64 for part in (found.expression, found.order, found.alpha))


@pytest.mark.slow  # loading the compiler takes most of it
def test_one_graph_without_breaks():
    model = small(position="snippet", dropout=0.0, head_dropout=0.0).train()
    features, order = sample(model)
    torch._dynamo.reset()
    compiled = torch.compile(model.classify, fullgraph=True, backend="aot_eager")
    found = compiled(features, order)
    found.expression.sum().backward()
    assert (found.expression - model.classify(features, order).expression).abs().max() < 1e-5
    torch._dynamo.reset()


@pytest.mark.gpu
def test_a_step_is_a_cuda_graph():
    """Capture forward and backward, replay on other features, and compare with the same step run plainly."""
    model = small(position="snippet", dropout=0.0, head_dropout=0.0).cuda()
    (features, order), (others, other) = sample(model, seed=1), sample(model, seed=2)
    features, order, others, other = features.cuda(), order.cuda(), others.cuda(), other.cuda()
    labels = torch.tensor([0, 1, 2], device="cuda")

    def step():
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            out = model.classify(features, order)
        loss = F.cross_entropy(out.expression, labels) + F.cross_entropy(out.order, labels)
        loss.backward()
        return loss

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
            model.zero_grad()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    features.copy_(others)
    order.copy_(other)
    graph.replay()
    replayed = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    found = loss.item()
    model.zero_grad()
    assert step().item() == pytest.approx(found, rel=1e-3)
    for name, p in model.named_parameters():
        if p.grad is not None:
            assert (p.grad - replayed[name]).abs().max() <= 1e-2 * p.grad.abs().max() + 1e-6, name


def test_a_state_dict_carries_orders_and_scaling():
    first, second = small(1), small(2)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.orders, second.orders)
    assert torch.equal(first.scaling.std, second.scaling.std)


# a user's mistakes


@pytest.mark.parametrize("shape", [(2, 5, 4, 31), (2, 4, 4, 32), (5, 4, 32)])
def test_features_of_another_shape(shape):
    with pytest.raises(UsageError, match=r"Features are \(clips, 5 snippets, frames, 32 channels\), found"):
        small().classify(torch.zeros(shape))


def test_orders_of_another_shape():
    model = small()
    features, order = sample(model)
    with pytest.raises(UsageError, match="An order is"):
        model.classify(features, order[:1])
