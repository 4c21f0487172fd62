"""The paper's own checkpoints: what is in them comes back bit for bit, and computes what its formulas say."""

from __future__ import annotations

import est_reference as reference
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import resnet18

from est.encoders.backbone import Backbone, Normalization
from est.errors import EstError, UsageError
from est.train.models import EstConfig, OfficialEST, build_model, load_official, save_official

TOLERANCE = 1e-5


def official_shapes(num_classes=7, snippets=7, orders=10, layers=3, ffn=2048):
    """Names and shapes of such a checkpoint, as published: 244 of them by default."""
    d = 512
    with torch.device("meta"):
        trunk = resnet18()
    found = {name: tuple(value.shape) for name, value in trunk.state_dict().items() if not name.startswith("fc.")}

    def linear(name, outputs, inputs):
        found.update({f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)})

    def attention(name):
        found.update({f"{name}.in_proj_weight": (3 * d, d), f"{name}.in_proj_bias": (3 * d,)})
        linear(f"{name}.out_proj", d, d)

    def norm(name, width=d):
        found.update({f"{name}.weight": (width,), f"{name}.bias": (width,)})

    attention("attn")
    norm("norm1")
    for stack, attentions, norms in (("encoder", ("self_attn",), 2), ("decoder", ("self_attn", "multihead_attn"), 3)):
        for layer in (f"transformer.{stack}.layers.{k}" for k in range(layers)):
            for name in attentions:
                attention(f"{layer}.{name}")
            linear(f"{layer}.linear1", ffn, d)
            linear(f"{layer}.linear2", d, ffn)
            for k in range(norms):
                norm(f"{layer}.norm{k + 1}")
        norm(f"transformer.{stack}.norm")
    found.update({"query_embed.weight": (1, d), "pos_enc.pos_enc.weight": (snippets, d)})
    for place, outputs, inputs in ((0, 2048, snippets * d), (3, 512, 2048), (6, orders, 512)):
        linear(f"per_branch.classifier.{place}", outputs, inputs)
        if place != 6:
            name = f"per_branch.classifier.{place + 1}"
            norm(name, outputs)
            found.update({f"{name}.running_mean": (outputs,), f"{name}.running_var": (outputs,)})
            found[f"{name}.num_batches_tracked"] = ()
    for name, outputs, inputs in (
        ("classifier.0", 128, d),
        ("classifier.2", 64, 128),
        ("classifier.5.0", num_classes, 64),
    ):
        linear(name, outputs, inputs)
    return found


def random_checkpoint(seed=0, **sizes):
    arrays = reference.random_arrays(official_shapes(**sizes), np.random.default_rng(seed))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def checkpoint():
    return random_checkpoint()


@pytest.fixture(scope="module")
def light():
    """A checkpoint of the same form with less in it."""
    return random_checkpoint(1, num_classes=3, snippets=2, orders=1, layers=1, ffn=8)


@pytest.fixture(scope="module")
def model(checkpoint):
    return load_official(checkpoint)


def same(found, wanted):
    assert found.keys() == wanted.keys()
    return all(torch.equal(found[name], wanted[name]) and found[name].dtype == wanted[name].dtype for name in wanted)


def test_sizes(checkpoint, model):
    assert len(checkpoint) == 244
    assert sum(p.numel() for p in model.parameters()) == 42_775_761
    assert not model.training
    assert torch.equal(
        model.head.position.table, checkpoint["pos_enc.pos_enc.weight"]
    )  # the file's, not a computed one
    assert model.head.config == EstConfig(position="snippet")


@pytest.mark.parametrize("contrary", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
def test_it_computes_what_the_formulas_say(checkpoint, model, contrary, shuffled):
    rng = np.random.default_rng(2)
    features = reference.contrary_frames(rng, 2, 7, 5, 512) if contrary else np.abs(rng.normal(size=(2, 7, 5, 512)))
    features = features.astype(np.float32)
    order = torch.tensor([[1, 3, 4, 6, 0, 2, 5], [6, 5, 4, 3, 2, 1, 0]]) if shuffled else None
    arrays = {name: value.numpy() for name, value in checkpoint.items()}
    wanted = reference.est(arrays, features, order, names=reference.OFFICIAL)
    with torch.inference_mode():
        found = model(torch.from_numpy(features), order=order, details=True)
    assert (wanted[3] == 1e-8).any() == contrary  # cosines below zero
    assert wanted[0].std() > 0.1
    for ours, theirs in zip((found.expression, found.order, found.attention, found.alpha), wanted, strict=True):
        assert np.abs(ours.numpy() - theirs).max() < TOLERANCE


def test_order_left_out_is_the_natural_one(model):
    features = torch.randn(2, 7, 5, 512, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(model(features).expression, model(features, torch.arange(7).expand(2, 7)).expression)


def test_the_backbone_sees_images_as_they_are(checkpoint, model):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    trunk = resnet18()
    trunk.load_state_dict(
        {name: value for name, value in checkpoint.items() if name in trunk.state_dict()}, strict=False
    )
    trunk.fc = torch.nn.Identity()
    with torch.inference_mode():
        wanted = trunk.eval()(images)
        assert (model.backbone(images) - wanted).abs().max() < 1e-4 * wanted.abs().max()


# forms


def test_round_trip_in_memory(checkpoint, model):
    assert same(save_official(model, module=False), checkpoint)
    assert same(save_official(model), {f"module.{name}": value for name, value in checkpoint.items()})
    assert same(model.state_dict_official(), save_official(model))


@pytest.mark.parametrize("suffix", [".pth", ".pth.tar", ".pt", ".safetensors"])
@pytest.mark.parametrize("module", [True, False])
def test_round_trip_through_a_file(light, tmp_path, suffix, module):
    path = str(tmp_path / f"model{suffix}") if module else tmp_path / f"model{suffix}"
    save_official(load_official(light), path, module=module, epoch=12, prec1=61.5)
    assert same(save_official(load_official(path), module=False), light)
    assert [entry.name for entry in tmp_path.iterdir()] == [f"model{suffix}"]
    if suffix != ".safetensors":
        written = torch.load(path, weights_only=True)
        assert (written["epoch"], written["prec1"]) == (12, 61.5)
        assert all(name.startswith("module.") == module for name in written["state_dict"])


@pytest.mark.parametrize("prec1", [53.1, torch.tensor(53.1)])
def test_containers(light, tmp_path, prec1):
    tensors = {f"module.{name}": value for name, value in light.items()}
    torch.save({"epoch": 3, "state_dict": tensors, "prec1": prec1}, tmp_path / "best.pth.tar")
    assert same(save_official(load_official(tmp_path / "best.pth.tar"), module=False), light)
    assert same(save_official(load_official({"state_dict": tensors}), module=False), light)


def test_sizes_follow_from_shapes(light):
    config = load_official(light).head.config
    assert (config.snippets, config.orders, config.layers, config.ffn) == (2, 1, 1, 8)
    assert load_official(light).head.num_classes == 3


def test_orders_are_unknown_or_given(light):
    assert (load_official(light).head.orders == -1).all()
    given = torch.tensor([[1, 0]])
    assert torch.equal(load_official(light, orders=given).head.orders, given)
    with pytest.raises(UsageError, match="1 orders of 2 snippets, given are"):
        load_official(light, orders=torch.tensor([[0, 1, 2]]))


def test_loading_draws_nothing_and_keeps_its_own_copy(light):
    before = torch.get_rng_state()
    model = load_official(light)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        model.head.query.add_(1)
        model.backbone.conv1.weight.add_(1)
    assert same(save_official(load_official(light), module=False), light)
    assert not torch.equal(model.head.query, light["query_embed.weight"])


def test_trained_parts_are_written_and_read_back(tmp_path):
    config = EstConfig(layers=1, ffn=16, snippets=3, orders=4, position="slot", detach_snippets=False, dropout=0.3)
    head = build_model(config, width=512, num_classes=5, seed=0).eval()
    with torch.device("meta"):
        backbone = Backbone()
    backbone = backbone.to_empty(device="cpu")
    backbone.load_state_dict(
        {name: torch.rand_like(value, dtype=torch.float32) for name, value in backbone.state_dict().items()}
    )
    save_official(head, tmp_path / "own.pth", backbone=backbone)
    loaded = load_official(tmp_path / "own.pth", orders=head.orders)
    features = torch.randn(2, 3, 5, 512, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, wanted = loaded(features), head.classify(features)
        assert torch.equal(found.expression, wanted.expression)
        assert torch.equal(found.order, wanted.order)
    assert same(loaded.backbone.state_dict(), backbone.state_dict())


# what does not fit


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.pop("norm1.bias"), "norm1.bias is missing"),
        (lambda t: t.pop("layer4.1.bn2.running_var"), "layer4.1.bn2.running_var is missing"),
        (lambda t: t.pop("classifier.5.0.weight"), "it lacks classifier.5.0.weight"),
        (lambda t: t.update({"fc.weight": torch.zeros(2, 512)}), "fc.weight is not used"),
        (lambda t: t.update({"classifier.2.bias": torch.zeros(65)}), r"classifier.2.bias is \(65,\), expected \(64,\)"),
        (
            lambda t: t.update({"norm1.bias": t["norm1.bias"].half()}),
            "norm1.bias is torch.float16, expected torch.float32",
        ),
        (lambda t: t.update({"pos_enc.pos_enc.weight": torch.zeros(5, 512)}), "per_branch.classifier.0.weight is"),
        (lambda t: t.update({"classifier.5.0.weight": torch.tensor(1.0)}), "it lacks classifier.5.0.weight"),
        (lambda t: t.clear(), "it lacks pos_enc.pos_enc.weight"),
    ],
)
def test_tensors_that_do_not_fit_are_named(light, spoil, message):
    tensors = dict(light)
    spoil(tensors)
    with pytest.raises(EstError, match=message):
        load_official(tensors)


def test_files_that_are_something_else(tmp_path, light):
    with pytest.raises(UsageError, match="There is no file"):
        load_official(tmp_path / "missing.pth")
    for name in ("noise.pth", "noise.safetensors"):
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(EstError, match="cannot be"):
            load_official(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(EstError, match="holds a list"):
        load_official(tmp_path / "list.pth")
    torch.save({"epoch": 3, "optimizer": {"lr": 1.0}}, tmp_path / "other.pth")
    with pytest.raises(EstError, match="holds no state_dict, only epoch, optimizer"):
        load_official(tmp_path / "other.pth")
    trunk = {name: value for name, value in light.items() if name.startswith(("conv1", "bn1", "layer"))}
    save_file(trunk, tmp_path / "trunk.safetensors")
    with pytest.raises(EstError, match="no checkpoint of the paper's code"):
        load_official(tmp_path / "trunk.safetensors")


@pytest.mark.parametrize(
    ("changes", "width", "message"),
    [
        ({"ssop": False}, 512, "ssop is False, expected True"),
        ({"heads": 8}, 512, "heads is 8, expected 4"),
        ({"aggregation": "mean"}, 512, "aggregation is 'mean', expected 'hierarchical'"),
        ({"order_hidden": 256}, 512, "order_hidden is 256, expected 2048"),
        ({"order_input": "query"}, 512, "order_input is 'query', expected 'fused'"),
        ({"dim": 256}, 256, "dim is 256, expected 512, features are 256 wide"),
        ({}, 960, "features are 960 wide, expected 512"),
    ],
)
def test_models_that_the_form_cannot_hold(tmp_path, changes, width, message):
    head = build_model(
        EstConfig(**{"layers": 1, "ffn": 8, "snippets": 3, **changes}, orders=2), width=width, num_classes=2, seed=0
    )
    with torch.device("meta"):
        backbone = Backbone()
    with pytest.raises(EstError, match=message):
        save_official(head, tmp_path / "model.pth", backbone=backbone)
    assert not list(tmp_path.iterdir())


def test_what_surrounds_the_model_must_fit_too(light, tmp_path):
    model = load_official(light)
    with pytest.raises(UsageError, match="holds a backbone too"):
        save_official(model.head)
    with pytest.raises(EstError, match="cannot be written"):
        save_official(model, tmp_path / "no folder" / "model.pth")
    model.backbone.normalization = Normalization.named("imagenet")
    with pytest.raises(EstError, match=r"pixels are normalised \(imagenet\)"):
        save_official(model)
    model = load_official(light)
    model.head.scaling.mean.fill_(0.5)
    with pytest.raises(EstError, match="features are scaled"):
        save_official(model)
    assert isinstance(model, OfficialEST)
