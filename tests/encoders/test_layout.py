"""Stages of networks: where they are, that steps through them give what the network gives, and which networks have none."""

from __future__ import annotations

import pytest
import torch
from encoder_samples import pictures, shaken
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig

from est.encoders.backbone import Normalization, norms_of
from est.encoders.kinds.pooled import Pooled
from est.encoders.tail import PICTURES
from est.encoders.weights import load_weights

SIDE = 64


def pooled(net):
    return Pooled(net, name="small", side=SIDE, normalization=Normalization.named("imagenet"))


def convnext():
    blocks = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, 16, 1), CNBlockConfig(16, 24, 2), CNBlockConfig(24, None, 1)]
    net = models.ConvNeXt(blocks)
    net.classifier[2] = nn.Identity()
    return pooled(net)


def swin():
    net = models.SwinTransformer([4, 4], 8, [1, 1, 2, 1], [1, 1, 2, 2], [2, 2])
    net.head = nn.Identity()
    return pooled(net)


MADE = {"convnext": convnext, "swin": swin}
STAGED = {  # name → stages, steps before the last one, steps of it with all that follows
    "torchvision:resnet18": (4, 8, 3),
    "torchvision:shufflenet_v2_x0_5": (3, 14, 5),
    "torchvision:regnet_y_400mf": (4, 12, 7),
    "convnext": (4, 10, 4),
    "swin": (4, 8, 3),
    "timm:test_resnet": (4, 5, 2),
    "timm:test_convnext": (4, 5, 2),
    "timm:tf_efficientnet_b0": (7, 17, 2),
}


def encoder_of(name):
    torch.manual_seed(0)
    return shaken(MADE[name]() if name in MADE else load_weights(f"{name}=random").backbone)


def seen(count=2, side=SIDE):
    return (pictures(count, side) * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def through(steps, x):
    for step in steps:
        x = step(x)
    return x


@pytest.mark.parametrize("name", STAGED)
def test_steps_give_what_the_network_gives_and_the_last_stage_is_all_that_learns_behind_the_others(name):
    encoder, shown = encoder_of(name), seen()
    tail = encoder.tail(PICTURES)
    assert (len(encoder.stages), len(tail.before), len(tail.last)) == STAGED[name]
    with torch.no_grad():
        expected = encoder(shown.permute(0, 3, 1, 2).float().div(255))
        x = through(tail.before, shown)
    found = through(tail.last, x)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    (found * torch.linspace(-1, 1, encoder.width)).sum().backward()
    mine = {id(weight) for part in encoder.last_stage for weight in part.parameters()}
    assert mine == {id(weight) for weight in encoder.parameters() if weight.grad is not None}
    assert 0 < len(mine) < len(list(encoder.parameters()))


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_efficientnet", "torchvision:mobilenet_v3_small"])
def test_networks_that_no_layout_fits_have_one_step(name):
    encoder = encoder_of(name)
    shown = seen(side=encoder.side)
    assert (encoder.stages, encoder.last_stage, encoder.tail().before) == ((), [], ())
    (step,) = encoder.tail().steps
    assert torch.equal(step(shown), encoder(shown.permute(0, 3, 1, 2).float().div(255)))


def test_a_layout_that_computes_something_else_is_not_taken():
    class Doubled(models.ResNet):
        def forward(self, x):
            return 2 * super().forward(x)

    class Longer(models.ResNet):
        def __init__(self, *settings):
            super().__init__(*settings)
            self.bias = nn.Parameter(torch.zeros(512))

        def forward(self, x):
            return super().forward(x) + self.bias

    for kind, stages in ((models.ResNet, 4), (Doubled, 0), (Longer, 0)):
        net = kind(models.resnet.BasicBlock, [1, 1, 1, 1])
        net.fc = nn.Identity()
        assert len(pooled(net).stages) == stages, kind.__name__


def test_looking_for_stages_changes_no_mode_and_draws_no_number():
    encoder = load_weights("timm:test_resnet=random").backbone.train()
    norms_of(encoder)[0].eval()
    modes, state = [module.training for module in encoder.modules()], torch.get_rng_state()
    assert encoder.stages == ("layer1", "layer2", "layer3", "layer4")
    assert [module.training for module in encoder.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)


def test_batch_norms_are_those_of_maps_and_of_rows():
    """LeViT has them of rows."""
    parts = nn.Sequential(nn.BatchNorm2d(2), nn.LayerNorm(2)), nn.Sequential(nn.BatchNorm1d(2))
    assert norms_of(*parts) == [parts[0][0], parts[1][0]]
