"""Encoders besides ResNet-18: what their library computes, in the encoder and in a cache, under a name that recipes keep."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
import timm
import torch
from encoder_samples import SMALL, pictures, shaken, whole_resnet
from extract_samples import extract
from torchvision import models

from est.cache import open_cache
from est.encoders.backbone import Normalization
from est.encoders.encoder import Encoder
from est.encoders.kinds import find_design
from est.encoders.weights import load_weights
from est.errors import UsageError

CPU = torch.device("cpu")
SIZE = {"torchvision:shufflenet_v2_x0_5": 64, "timm:test_resnet": 64, "timm:test_vit": 160}


def crops_of(count, size):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory):
    return whole_resnet(tmp_path_factory.mktemp("timm"))


@pytest.mark.parametrize(
    ("name", "last", "width"),
    [("shufflenet_v2_x0_5", "fc", 1024), ("mobilenet_v3_small", "classifier.3", 1024), ("squeezenet1_1", None, 512)],
)
def test_gap_is_what_torchvisions_network_gives_its_classifier(name, last, width, tmp_path):
    model = shaken(models.get_model(name, weights=None))
    torch.save(
        {"state_dict": {f"module.{key}": tensor for key, tensor in model.state_dict().items()}}, tmp_path / "w.pth"
    )
    weights = load_weights(f"torchvision:{name}={tmp_path / 'w.pth'}", normalize="none")
    images, given = pictures(2, 96), []
    if last is None:  # it ends in a convolution, whose activation and pool stay
        expected = model.classifier[3](model.classifier[2](model.features(images))).flatten(1).detach()
        last = "classifier.1"
    else:
        model.get_submodule(last).register_forward_pre_hook(lambda layer, inputs: given.append(inputs[0].detach()))
        model(images)
        expected = given[0]
    with torch.inference_mode():
        assert torch.equal(weights.backbone(images), expected)
    assert weights.backbone.width == width == expected.shape[1]
    assert sorted(weights.unused) == [f"{last}.bias", f"{last}.weight"]
    assert weights.matched == len(model.state_dict()) - 2
    assert weights.backbone.name == f"torchvision:{name}"


def test_gap_is_what_timms_network_gives_its_classifier(resnet_file):
    weights = load_weights(f"timm:test_resnet={resnet_file}", normalize="0.5,0.5")
    model = timm.create_model("test_resnet", checkpoint_path=str(resnet_file)).eval()
    images = pictures(2, 64)
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features((images - 0.5) / 0.5), pre_logits=True)
        torch.testing.assert_close(weights.backbone(images), expected, rtol=1e-6, atol=1e-6)
    assert sorted(weights.unused) == ["fc.bias", "fc.weight"]
    assert weights.backbone.width == expected.shape[1] == 96


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 5e-2)])
@pytest.mark.parametrize("name", [*SMALL, "timm:test_vit"])
def test_the_encoder_computes_what_the_network_does_whoever_shares_a_batch(name, precision, tolerance):
    backbone = load_weights(f"{name}=random").backbone
    shaken(backbone)
    assert backbone.normalization != Normalization()
    crops = crops_of(4, SIZE[name])
    encoder = Encoder(backbone, ("gap",), device=CPU, precision=precision, batch=4)
    together = encoder.encode(crops)["gap"]
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        expected, mirrored = backbone(images).numpy(), backbone(images.flip(3)).numpy()
    assert np.abs(together - expected).max() / np.abs(expected).max() < tolerance
    assert np.abs(encoder.encode(crops, mirrored=True)["gap"] - mirrored).max() / np.abs(mirrored).max() < tolerance
    for order in ([2], [3, 0], [1, 3, 2]):
        np.testing.assert_array_equal(encoder.encode(np.ascontiguousarray(crops[order]))["gap"], together[order])


@pytest.mark.parametrize("name", SMALL)
def test_a_cache_of_another_encoder(name, tmp_path):
    (tmp_path / "clip").mkdir()
    crops = crops_of(3, 64)
    for number, crop in enumerate(crops):
        cv2.imwrite(str(tmp_path / "clip" / f"{number}.png"), crop[..., ::-1])
    report = extract(tmp_path / "clip", tmp_path / "c.zarr", detector="none", weights=f"{name}=random", flip=True)
    assert not report.failures
    cache = open_cache(tmp_path / "c.zarr")
    recipe = cache.recipes.features["gap"]
    weights = load_weights(f"{name}=random")
    assert (recipe.backbone, recipe.weights, recipe.weights_digest) == (name, f"{name}=random", weights.digest)
    assert recipe.shape == (weights.backbone.width,)
    assert recipe.normalize == weights.backbone.normalization.name
    encoder = Encoder(weights.backbone, ("gap",), device=CPU, precision="fp32")
    for array, mirrored in (("gap", False), ("gap_flip", True)):
        expected = encoder.encode(crops, mirrored=mirrored)["gap"].astype(np.float16)
        np.testing.assert_array_equal(cache.load(array).rows, expected)


def test_what_an_encoder_does_not_give_or_take_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "clip").mkdir()
    cv2.imwrite(str(tmp_path / "clip" / "0.png"), crops_of(1, 64)[0])
    for changes, message, remedy in (
        ({"features": ("gap", "layer3")}, "has the features gap and cls alone, found 'layer3'", "--features gap"),
        ({"features": ("pyramid4x4",)}, "has the features gap and cls alone, found 'pyramid4x4'", "--features gap"),
        ({"size": 128}, "does not take crops of 128 pixels: Input height", "--size 224"),
    ):
        with pytest.raises(UsageError, match=message) as refused:
            extract(
                tmp_path / "clip",
                tmp_path / "c.zarr",
                **{"detector": "none", "weights": "timm:vit_tiny_patch16_224=random", "size": 224, **changes},
            )
        assert refused.value.remedy == remedy
        assert not (tmp_path / "c.zarr").exists()


def test_networks_of_any_size_take_any_size():
    backbone = load_weights("timm:test_resnet=random").backbone
    assert [backbone.shape_of("gap", size) for size in (32, 65, 224)] == [(96,)] * 3
    assert backbone.train().shape_of("gap", 48) == (96,)
    assert all(module.training for module in backbone.modules()), "a try changes no mode"


def test_random_encoders_are_always_the_same_and_disturb_nobody():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = (load_weights("timm:test_resnet=random") for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert one.digest == two.digest
    assert one.matched == len(two.backbone.trunk.state_dict())
    assert (one.name, one.licence) == ("timm:test_resnet=random", "")


def test_encoders_learn():
    """Pixels are normalised inside, and gradients reach every layer: what tuning needs."""
    backbone = shaken(load_weights("timm:test_resnet=random", normalize="none").backbone).train()
    (backbone(pictures(4, 64)) * torch.arange(96)).sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("name", "message", "remedy"),
    [
        (
            "torchvision:resnet5",
            "Torchvision has no classification network 'resnet5'",
            "--weights torchvision:resnet50",
        ),
        ("torchvision:fcn_resnet50", "no classification network", "--weights torchvision:"),
        ("timm:resnet10tt", "has no network 'resnet10tt'; similar are resnet10t", "--weights timm:resnet10t"),
        (
            "timm:resnet10t.nope",
            "has no weights 'nope' of resnet10t; it has resnet10t.c3_in1k",
            "--weights timm:resnet10t.c3",
        ),
        ("timm:hf-hub:someone/something", "has no network", "--weights timm:"),
        ("timm:coatnet_0_224", "timm has no weights for timm:coatnet_0_224", "=FILE"),
        (
            "clip:ViT-B-23",
            "An encoder of CLIP is ViT-B-32, ViT-B-16, ViT-L-14; found 'ViT-B-23'",
            "--weights clip:ViT-B-32",
        ),
        ("keras:vgg16", "there is no file 'keras:vgg16'", "--weights timm:resnet10t, for example"),
        ("timm:", "there is no file 'timm:'", "--weights timm:resnet10t, for example"),
    ],
)
def test_names_that_are_none(name, message, remedy):
    with pytest.raises(UsageError, match=message) as refused:
        load_weights(name)
    assert remedy in refused.value.remedy


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("imagnet", "--weights imagenet"),
        ("synfce", "--weights synface"),
        ("fabe.pth", "--weights face.pth"),
        ("nofile.pt", "the path of the file, looked for from {}"),
    ],
)
def test_a_misspelt_name_or_file_is_told_the_nearest(name, remedy, tmp_path, monkeypatch):
    (tmp_path / "face.pth").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="there is no file") as refused:
        load_weights(name)
    assert refused.value.remedy == remedy.format(tmp_path)


@pytest.mark.parametrize("name", ["timm:resnet10t=random", "clip:ViT-B-32"])
def test_without_timm_the_extra_is_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match="need the package timm") as refused:
        load_weights(name)
    assert refused.value.remedy == "pip install 'est-fer[encoders]'"
    assert load_weights("torchvision:shufflenet_v2_x0_5=random").matched == 336, "which need no extra"


def test_licences_are_those_of_the_weights():
    assert "apache-2.0" in find_design("timm:resnet10t").licence
    assert "cc-by-nc-4.0" in find_design("timm:convnextv2_tiny.fcmae").licence
    assert "SWAG/blob/main/LICENSE" in find_design("torchvision:vit_h_14").licence
    assert "non-commercial" in find_design("torchvision:resnet50").licence
    assert "surveillance" in find_design("clip:ViT-B-16").licence
