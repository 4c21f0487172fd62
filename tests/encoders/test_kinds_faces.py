"""Published encoders of faces are recognised in files with their names of tensors; others are not taken for them."""

from __future__ import annotations

import pytest
import timm
import torch
from encoder_samples import shaken
from torchvision import models

from est.encoders.backbone import Backbone, Normalization
from est.encoders.weights import load_weights
from est.errors import EstError, UsageError


def dan(resnet):
    """Name a ResNet-18 as DAN's checkpoints do, with something of its heads."""
    trunk = torch.nn.Sequential(*list(resnet.children())[:-2])
    tensors = {f"features.{key}": tensor for key, tensor in trunk.state_dict().items()}
    tensors |= {"cat_head0.sa.conv1x1.0.weight": torch.zeros(256, 512, 1, 1), "fc.weight": torch.zeros(8, 512)}
    return {"iter": 5, "model_state_dict": {f"module.{key}": tensor for key, tensor in tensors.items()}}


def test_dan_is_recognised_and_its_trunk_is_resnet18(tmp_path):
    resnet = shaken(models.resnet18())
    torch.save(dan(resnet), tmp_path / "affectnet.pth")
    found = load_weights(str(tmp_path / "affectnet.pth"))
    assert isinstance(found.backbone, Backbone)
    assert found.backbone.normalization == Normalization.named("imagenet")
    assert found.recognised.startswith("DAN")
    assert "non-commercial" in found.licence
    assert "cat_head0.sa.conv1x1.0.weight" in found.unused
    assert "recognised as DAN" in found.report()
    for key, tensor in found.backbone.state_dict().items():
        assert torch.equal(tensor, resnet.state_dict()[key]), key
    assert load_weights(str(tmp_path / "affectnet.pth"), normalize="none").backbone.normalization == Normalization()
    broken = dan(resnet)["model_state_dict"]
    torch.save({key: tensor for key, tensor in broken.items() if "features.6.1" not in key}, tmp_path / "half.pth")
    with pytest.raises(EstError, match=r"lacks 10 of 120 tensors of ResNet-18: layer3\.1\.conv1\.weight"):
        load_weights(str(tmp_path / "half.pth"))


def test_the_resnet_of_msceleb_is_recognised_by_its_files_name_alone(tmp_path):
    resnet = shaken(models.resnet18())
    for name in ("resnet18_msceleb.pth", "another.pth"):
        torch.save({"state_dict": resnet.state_dict()}, tmp_path / name)
    found = load_weights(str(tmp_path / "resnet18_msceleb.pth"))
    assert found.backbone.normalization == Normalization.named("imagenet")
    assert "by its file's name" in found.report()
    assert "took down in 2019" in found.licence
    assert found.unused == ["fc.weight", "fc.bias"]
    with pytest.raises(UsageError, match=r"The pixel normalisation of another\.pth is not known"):
        load_weights(str(tmp_path / "another.pth"))


@pytest.mark.parametrize(
    ("net", "classes", "head", "width", "side"),
    [("b0", 8, "classifier", 1280, 224), ("b0", 10, "classifier.0", 1280, 224), ("b2", 7, "classifier.0", 1408, 260)],
)
def test_hsemotion_is_recognised(net, classes, head, width, side, tmp_path):
    """A state_dict has these names, too; its classifier is alone or in a Sequential."""
    model = timm.create_model(f"tf_efficientnet_{net}", num_classes=classes)
    tensors = {key.replace("classifier", head): tensor for key, tensor in model.state_dict().items()}
    torch.save(tensors, tmp_path / "enet.pt")
    found = load_weights(str(tmp_path / "enet.pt"))
    assert found.backbone.name == f"hsemotion:{net}"
    assert (found.backbone.width, found.backbone.side) == (width, side)
    assert found.backbone.normalization == Normalization.named("imagenet")
    assert found.recognised == f"HSEmotion, EfficientNet-{net.upper()} with {classes} outputs"
    assert "AffectNet" in found.licence
    assert found.unused == [f"{head}.weight", f"{head}.bias"]
    assert found.matched == len(tensors) - 2


def test_an_efficientnet_of_a_thousand_classes_or_of_none_is_not_taken_for_hsemotion(tmp_path):
    tensors = timm.create_model("tf_efficientnet_b0", num_classes=0).state_dict()
    for head in ({}, {"classifier.weight": torch.zeros(1000, 1280), "classifier.bias": torch.zeros(1000)}):
        torch.save(tensors | head, tmp_path / "enet.pt")
        with pytest.raises(EstError, match=r"lacks \d+ of 120 tensors of ResNet-18.*It holds conv_stem\.weight"):
            load_weights(str(tmp_path / "enet.pt"), normalize="imagenet")
    found = load_weights(f"timm:tf_efficientnet_b0={tmp_path / 'enet.pt'}", normalize="imagenet")
    assert found.backbone.width == 1280


def test_whole_modules_are_read_for_their_tensors(tmp_path):
    net = models.squeezenet1_1()
    torch.save(net, tmp_path / "whole.pt")
    found = load_weights(f"torchvision:squeezenet1_1={tmp_path / 'whole.pt'}", normalize="imagenet")
    for key, tensor in found.backbone.trunk.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[key]), key
    with pytest.raises(EstError, match="matches no tensor of ResNet-18"):
        load_weights(str(tmp_path / "whole.pt"))
