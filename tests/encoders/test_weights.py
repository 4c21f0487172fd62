"""Weights: what fits is loaded, what does not is named, and pixels are normalised as somebody said."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import resnet18

from est.encoders import tensorfile
from est.encoders.backbone import Backbone, Normalization, pool_to, tap_shape
from est.encoders.encoder import Encoder, fold_batch_norms
from est.encoders.taps import STAGES, TAPS
from est.encoders.weights import load_weights
from est.errors import EstError, UsageError


@pytest.fixture(scope="module")
def model():
    """Torchvision's own network, its batch norms as different as training makes them."""
    torch.manual_seed(1)
    model = resnet18(weights=None)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return model.eval()


@pytest.fixture
def images():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def reference(model, images):
    model.fc, before = torch.nn.Identity(), model.fc
    with torch.inference_mode():
        found = model(images)
    model.fc = before
    return found


def wrap(tensors, kind):
    match kind:
        case "plain":
            return tensors
        case "module":
            return {
                "state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()},
                "epoch": 3,
                "prec1": 0.5,
            }
        case "backbone":
            return {"model": {f"backbone.{name}": tensor for name, tensor in tensors.items()}}


@pytest.mark.parametrize("kind", ["plain", "module", "backbone"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_with_torchvisions_names_load_exactly(kind, suffix, model, images, tmp_path):
    path = tmp_path / f"mine{suffix}"
    tensors = wrap(model.state_dict(), kind)
    if suffix == ".pth":
        torch.save(tensors, path)
    else:
        flat = tensors if kind == "plain" else next(value for value in tensors.values() if isinstance(value, dict))
        save_file({name: tensor.contiguous() for name, tensor in flat.items()}, path)
    weights = load_weights(str(path), normalize="none")
    with torch.inference_mode():
        found = weights.backbone(images)
    assert torch.equal(found, reference(model, images))
    assert weights.matched == 120
    assert sorted(weights.unused) == ["fc.bias", "fc.weight"]
    assert "fc.weight" in weights.report()
    assert len(weights.digest) == 32


def test_what_does_not_fit_is_refused_and_named(model, tmp_path):
    path = tmp_path / "mine.pth"
    tensors = model.state_dict()
    torch.save({"some.weight": torch.zeros(3)}, path)
    with pytest.raises(EstError, match=r"matches no tensor of ResNet-18. It holds some\.weight"):
        load_weights(str(path), normalize="none")
    torch.save({name: tensor for name, tensor in tensors.items() if not name.startswith("layer4")}, path)
    with pytest.raises(EstError, match=r"lacks \d+ of 120 tensors of ResNet-18: layer4\.0\.conv1\.weight"):
        load_weights(str(path), normalize="none")
    torch.save({**tensors, "conv1.weight": torch.zeros(64, 1, 7, 7)}, path)
    with pytest.raises(EstError, match=r"conv1\.weight has shape \(64, 1, 7, 7\), expected \(64, 3, 7, 7\)"):
        load_weights(str(path), normalize="none")
    path.write_bytes(b"nothing")
    with pytest.raises(EstError, match="cannot be loaded as weights alone"):
        load_weights(str(path), normalize="none")
    with pytest.raises(UsageError, match="there is no file"):
        load_weights("nowhere.pth")


def test_a_deeper_network_and_numbers_that_are_not_finite_are_refused(model, tmp_path):
    tensors = model.state_dict()
    torch.save(tensors | {"layer1.2.conv1.weight": tensors["layer1.1.conv1.weight"]}, tmp_path / "deeper.pth")
    with pytest.raises(EstError, match=r"deeper network than ResNet-18: 1 more in its stages, as layer1\.2"):
        load_weights(str(tmp_path / "deeper.pth"), normalize="none")
    torch.save(tensors | {"conv1.weight": tensors["conv1.weight"] * float("nan")}, tmp_path / "nan.pth")
    with pytest.raises(EstError, match=r"conv1\.weight holds numbers that are not finite"):
        load_weights(str(tmp_path / "nan.pth"), normalize="none")


def test_nobody_guesses_how_pixels_are_normalised(model, tmp_path):
    path = tmp_path / "mine.pth"
    torch.save(model.state_dict(), path)
    with pytest.raises(UsageError, match=r"The pixel normalisation of mine\.pth is not known"):
        load_weights(str(path))
    path.with_suffix(".json").write_text(json.dumps({"normalize": "imagenet"}))
    assert load_weights(str(path)).backbone.normalization == Normalization.named("imagenet")
    assert load_weights(str(path), normalize="none").backbone.normalization == Normalization()


@pytest.mark.parametrize("text", ["none", "imagenet", "0.5,0.25", "0.1,0.2,0.3,1,2,3"])
def test_normalisations_have_names(text):
    found = Normalization.named(text)
    assert Normalization.named(found.name) == found


@pytest.mark.parametrize("text", ["", "some", "1,2,3", "0.5,0", "0.1,0.2,0.3,1,2,-3"])
def test_other_normalisations_are_refused(text):
    with pytest.raises(UsageError, match="A normalisation is"):
        Normalization.named(text)


def test_random_weights_are_always_the_same_and_disturb_nobody():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = load_weights("random"), load_weights("random")
    assert torch.equal(torch.rand(1), expected)
    assert one.digest == two.digest
    assert torch.equal(one.backbone.conv1.weight, two.backbone.conv1.weight)


@pytest.mark.parametrize("size", [32, 65, 112, 224])
def test_taps_have_the_shapes_that_are_announced(size):
    with torch.inference_mode():
        found = Backbone().eval().taps(torch.zeros(1, 3, size, size), TAPS)
    assert {name: tuple(rows.shape[1:]) for name, rows in found.items()} == {
        name: tap_shape(name, size) for name in TAPS
    }


def test_taps_are_those_of_torchvision(model, images):
    backbone = Backbone().eval()
    backbone.load_state_dict(
        {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("fc.")}
    )
    with torch.inference_mode():
        found = backbone.taps(images, TAPS)
        x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
        for name in STAGES:
            x = getattr(model, name)(x)
            assert torch.equal(found[name], x)
    pooled = torch.nn.functional.adaptive_avg_pool2d(found["layer2"], 4)
    assert torch.equal(found["pyramid4x4"][:, 64:192], pooled)


@pytest.mark.parametrize("size", [2, 4, 7, 14, 28])
def test_the_pool_of_exports_is_the_same(size, monkeypatch):
    maps = torch.randn(2, 3, size, size + 1)
    plain = pool_to(maps, 4)
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    assert (pool_to(maps, 4) - plain).abs().max() < 1e-6


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 3e-2)])
def test_the_encoder_computes_what_the_backbone_does(precision, tolerance, model, tmp_path):
    path = tmp_path / "mine.pth"
    torch.save(model.state_dict(), path)
    backbone = load_weights(str(path), normalize="0.4,0.3").backbone
    crops = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3)).astype(np.uint8)
    encoder = Encoder(backbone, ("gap", "layer3"), device=torch.device("cpu"), precision=precision, batch=8)
    found = encoder.encode(crops)
    with torch.inference_mode():
        images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
        expected = {name: rows.numpy() for name, rows in backbone.taps(images, ("gap", "layer3")).items()}
        mirrored = backbone(images.flip(3)).numpy()
    for name, rows in expected.items():
        assert np.abs(found[name] - rows).max() / np.abs(rows).max() < tolerance
    assert np.abs(encoder.encode(crops, mirrored=True)["gap"] - mirrored).max() / np.abs(mirrored).max() < tolerance


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_row_does_not_depend_on_who_shares_its_batch(precision):
    crops = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3)).astype(np.uint8)
    backbone = load_weights("random").backbone
    encoder = Encoder(backbone, ("gap", "pyramid4x4"), device=torch.device("cpu"), precision=precision, batch=8)
    together = encoder.encode(crops)
    for order in ([3], [7, 0], [5, 4, 3, 2, 1]):
        alone = encoder.encode(np.ascontiguousarray(crops[order]))
        for name, rows in alone.items():
            np.testing.assert_array_equal(rows, together[name][order])


def test_folding_leaves_the_original_alone(model):
    backbone = Backbone().eval()
    backbone.load_state_dict(
        {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("fc.")}
    )
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    fold_batch_norms(backbone)
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_a_score_beside_the_tensors_does_not_hide_them(tmp_path):
    path = tmp_path / "best.pth.tar"
    state = {f"module.{name}": tensor for name, tensor in load_weights("random").backbone.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state, "prec1": torch.tensor(65.85)}, path)
    found = load_weights(str(path), normalize="none")
    assert found.matched == len(state)
    assert found.unused == []


def test_a_file_written_tensor_by_tensor_is_what_the_library_reads(tmp_path):
    kinds = {f"{dtype}": torch.tensor([[1, 0, 1], [0, 1, 1]]).to(dtype) for dtype in tensorfile.DTYPES}
    view = torch.arange(12.0).reshape(3, 4)[1:]
    tensors = {**kinds, "a number": torch.tensor(3.5), "nothing": torch.zeros(0, 4), "view": view, "again": view}
    seen = set()

    class Watched(dict):
        def __getitem__(self, name):
            seen.update(path.name for path in tmp_path.iterdir())
            return super().__getitem__(name)

    tensorfile.save_file(Watched(tensors), tmp_path / "all.safetensors", {"é": "ü"})
    found = load_file(tmp_path / "all.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(found[name], tensor), name
    assert seen == {"all.safetensors"}, "a kill would leave another file"
    assert tensorfile.read_tensors(tmp_path / "all.safetensors")[1] == {"é": "ü"}
