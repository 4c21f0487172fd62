"""Published encoders of facial expressions and faces, recognised in the user's file by the names and shapes of its tensors.

Only where the code that was published beside such a file says how it is fed: then pixels are normalised so, and the licence is stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..backbone import Backbone
from . import hsemotion
from .design import Tensors

DAN_CHILDREN = {
    "0": "conv1",
    "1": "bn1",
    "4": "layer1",
    "5": "layer2",
    "6": "layer3",
    "7": "layer4",
}  # of ResNet-18, in order
MSCELEB_FILE = "resnet18_msceleb"


@dataclass(frozen=True, kw_only=True)
class Face:
    """A published encoder in a file: whose, the network, its tensors by the network's names, and how it is fed."""

    title: str
    encoder: str
    normalize: str
    licence: str
    tensors: Tensors


def recognise(path: Path, tensors: Tensors) -> Face | None:
    """Return which published encoder a file holds, if one is known."""
    plain = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    for known in (_hsemotion, _dan, _msceleb):
        if found := known(path, plain):
            return found
    return None


def _hsemotion(path: Path, tensors: Tensors) -> Face | None:
    """HSEmotion (EmotiEffLib): EfficientNet with a classifier of emotions, as it is or in a Sequential."""
    net = hsemotion.net_of(tensors)
    if net is None:
        return None
    return Face(
        title=f"HSEmotion, EfficientNet-{net.upper()} with {hsemotion.num_outputs(tensors)} outputs",
        encoder=f"{hsemotion.KIND}:{net}",
        normalize=hsemotion.NORMALIZATION.name,
        licence=hsemotion.LICENCE,
        tensors=tensors,
    )


def _dan(path: Path, tensors: Tensors) -> Face | None:
    """DAN: ResNet-18 in a Sequential, with heads of attention behind it."""
    if "features.0.weight" not in tensors or not any(key.startswith("cat_head0.") for key in tensors):
        return None
    renamed = {}
    for key, tensor in tensors.items():
        child, _, rest = key.removeprefix("features.").partition(".")
        ours = key.startswith("features.") and child in DAN_CHILDREN
        renamed[f"{DAN_CHILDREN[child]}.{rest}" if ours else key] = tensor
    return Face(
        title="DAN, the ResNet-18 before its heads of attention",
        encoder=Backbone.name,
        normalize="imagenet",
        licence="DAN states none; trained on MS-Celeb-1M and then AffectNet or RAF-DB, which are for non-commercial research",
        tensors=renamed,
    )


def _msceleb(path: Path, tensors: Tensors) -> Face | None:
    """The ResNet-18 from which DAN and others start: nothing but its file's name tells it from torchvision's."""
    if not path.name.startswith(MSCELEB_FILE) or "fc.weight" not in tensors or "layer4.1.conv2.weight" not in tensors:
        return None
    return Face(
        title="the ResNet-18 of MS-Celeb-1M, by its file's name",
        encoder=Backbone.name,
        normalize="imagenet",
        licence="none is stated; trained on MS-Celeb-1M, people's photographs for non-commercial research that Microsoft took down in 2019",
        tensors=tensors,
    )
