"""What is known about an encoder before it has weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from ...cache.trained import TrainedOn
from ..backbone import Backbone, FrameEncoder, Normalization
from .published import find_file

Tensors = Mapping[str, Tensor]
Converter = Callable[[dict[str, Tensor], nn.Module], Tensors]


class Fetch(Protocol):
    """Finds the file of published weights."""

    def __call__(self, models_dir: Path | None, *, download: bool = False) -> Path:
        """Find it in the folder of models or in a library's own, or else, with `download`, download it; without, that is `NotHere`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Design:
    """How an encoder is built, and what its published weights are."""

    name: str
    make: Callable[[], FrameEncoder]
    normalization: Normalization  # of the published weights, as all that follows
    licence: str
    fetch: Fetch
    convert: Converter | None = None  # from names of tensors that other projects have for the network's
    take: Callable[[str, Path | None], Path] | None = None  # published weights from where the user says
    learnt: Callable[[str], TrainedOn] | None = None  # what weights have learnt from, by the name of their file

    def build(self, seed: int = 0) -> FrameEncoder:
        """Build it with the weights of a seed, without changing any global random generator."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.make().eval()


def _imagenet(models_dir: Path | None, *, download: bool = False) -> Path:
    from torchvision.models import ResNet18_Weights

    return find_file(ResNet18_Weights.IMAGENET1K_V1.url, models_dir, what="The ImageNet weights", download=download)


RESNET18 = Design(
    name=Backbone.name,
    make=Backbone,
    normalization=Normalization.named("imagenet"),
    licence="BSD-3-Clause code of torchvision; trained on ImageNet, whose pictures are for non-commercial research",
    fetch=_imagenet,
)
