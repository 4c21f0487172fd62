"""Encoders of libraries at their smallest, as if they had been trained."""

from __future__ import annotations

import timm
import torch
from safetensors.torch import save_file

SMALL = ("torchvision:shufflenet_v2_x0_5", "timm:test_resnet")


def shaken(model, seed=1):
    """Make statistics of batch norms as different as training does, and let everything matter."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1, generator=generator)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif name.endswith("weight") and not tensor.any():  # at first timm's blocks add nothing
            tensor.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def pictures(count, size, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def whole_resnet(folder):
    """Write the whole of timm's smallest ResNet, classifier included, as timm publishes it; return the file."""
    path = folder / "test_resnet.r160_in1k.safetensors"
    save_file(shaken(timm.create_model("test_resnet")).state_dict(), path)
    return path
