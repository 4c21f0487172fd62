"""Torchvision's classification networks without the last layer of their classifier, and torchvision's own weights for them."""

from __future__ import annotations

import difflib
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn
from torchvision import models

from ...errors import UsageError
from ..backbone import Normalization
from .design import RESNET18, Design
from .pooled import Pooled
from .published import find_file

# Published weights were trained so; where weights are asked for by name, torchvision does the same.
SETTINGS: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "init_weights": True},
    "inception_v3": {"transform_input": True, "init_weights": True},
}


def design_of(name: str) -> Design:
    """Return what is known about torchvision:NAME."""
    known = models.list_models(module=models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or ["resnet50", "convnext_tiny", "efficientnet_b0"]
        raise UsageError(
            f"Torchvision has no classification network {name!r}; similar are {', '.join(near)}.",
            remedy=f"--weights torchvision:{near[0]}",
        )
    weights = models.get_model_weights(name)["DEFAULT"]
    pictures = weights.transforms()
    numbers = (*pictures.mean, *pictures.std)
    normalization = Normalization.named(",".join(str(number) for number in numbers))
    licence = RESNET18.licence
    if "license" in weights.meta:
        licence += f"; these weights under {weights.meta['license']}"

    def fetch(models_dir: Path | None, *, download: bool = False) -> Path:
        asked = f"torchvision:{name}"
        what, otherwise = f"The weights of torchvision's {name}", f"--weights torchvision:{name}=FILE"
        return find_file(weights.url, models_dir, what=what, asked=asked, otherwise=otherwise, download=download)

    return Design(
        name=f"torchvision:{name}",
        make=partial(_make, name, pictures.crop_size[0], len(weights.meta["categories"]), normalization),
        normalization=normalization,
        licence=licence,
        fetch=fetch,
    )


def _make(name: str, side: int, num_classes: int, normalization: Normalization) -> Pooled:
    settings = dict(SETTINGS.get(name, {}))
    if name.startswith("vit_"):
        settings["image_size"] = side  # of one network the published weights are for larger pictures
    net = models.get_model(name, weights=None, **settings)
    _behead(net, num_classes)
    return Pooled(net, name=f"torchvision:{name}", side=side, normalization=normalization)


def _behead(net: nn.Module, num_classes: int) -> None:
    """Let the last layer that tells the classes apart pass on what it is given."""
    last = ""
    for name, layer in net.named_modules():
        if num_classes in (getattr(layer, "out_features", None), getattr(layer, "out_channels", None)):
            last = name
    assert last, "a classification network has a layer of classes"
    parent, _, child = last.rpartition(".")
    setattr(net.get_submodule(parent), child, nn.Identity())
