"""The tap `cls`: the class token of vision transformers before the final norm; refused by name elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from est.encoders.backbone import Backbone
from est.encoders.encoder import Encoder
from est.encoders.kinds import find_design
from est.encoders.kinds.class_token import find_norm, gives_class_token, tokens_before
from est.errors import UsageError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def vit():
    pytest.importorskip("timm")
    return find_design("timm:vit_tiny_patch16_224").build()


def test_the_final_norm_makes_gap_of_the_class_token(vit):
    crops = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    assert vit.tap_names == ("gap", "cls")
    assert vit.shape_of("cls", 224) == vit.shape_of("gap", 224) == (192,)
    rows = Encoder(vit, ("gap", "cls"), device=CPU, precision="fp32", batch=2).encode(crops)
    assert rows["cls"].shape == (2, 192)
    with torch.no_grad():
        normed = vit.trunk.norm(torch.from_numpy(rows["cls"])).numpy()
    np.testing.assert_allclose(normed, rows["gap"], atol=1e-5)
    assert np.abs(rows["cls"] - rows["gap"]).max() > 0.01
    assert np.abs(rows["cls"][0] - rows["cls"][1]).max() > 1e-4
    alone = Encoder(vit, ("cls",), device=CPU, precision="fp32", batch=2).encode(crops[:1])
    assert alone.keys() == {"cls"}
    np.testing.assert_allclose(alone["cls"][0], rows["cls"][0], atol=1e-6)
    assert not vit.trunk.norm._forward_pre_hooks  # nothing is left behind


class Tokens(nn.Module):
    """A network in the manner of a vision transformer, which gives its class token or the mean of its patches."""

    def __init__(self, *, pooled: bool) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 6))
        self.patches = nn.Conv2d(3, 6, 8, 8)
        self.norm = nn.LayerNorm(6)
        self._pooled = pooled

    def forward(self, images):
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = self.norm(torch.cat([self.cls_token + patches.mean(1, keepdim=True), patches], 1))
        return tokens[:, 1:].mean(1) if self._pooled else tokens[:, 0]


@pytest.mark.parametrize("pooled", [False, True])
def test_a_network_that_pools_its_patches_has_no_class_token(pooled):
    net = Tokens(pooled=pooled)
    norm = net.get_submodule(find_norm(net))
    with tokens_before(norm) as seen:
        rows = net(torch.rand(1, 3, 16, 16))
    assert gives_class_token(norm, seen, rows) != pooled


@pytest.mark.parametrize("name", ["timm:resnet10t", "resnet18"])
def test_other_networks_refuse_it_by_name(name):
    if name.startswith("timm"):
        pytest.importorskip("timm")
    encoder = Backbone() if name == "resnet18" else find_design(name).build()
    assert "cls" not in encoder.tap_names
    with pytest.raises(UsageError, match="class token") as refused:
        encoder.shape_of("cls", 224)
    assert "vit_base_patch16_384.orig_in21k_ft_in1k" in refused.value.remedy
