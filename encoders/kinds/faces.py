"""Published encoders of facial expressions and faces, recognised in the user's file by the names and shapes of its tensors.

Only where the code that was published beside such a file says how it is fed: then pixels are normalised so, and the licence is stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..backbone import Backbone
from .design import Tensors

HSEMOTION_CLASSES = (7, 8, 10)  # emotions with and without contempt, and eight with valence and arousal
HSEMOTION_NETS = {
    1280: "timm:tf_efficientnet_b0",
    1408: "timm:tf_efficientnet_b2",
}  # by the width of the last convolution
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
    """Say which published encoder a file holds, if one is known."""
    plain = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    for known in (_hsemotion, _dan, _msceleb):
        if found := known(path, plain):
            return found
    return None


def _hsemotion(path: Path, tensors: Tensors) -> Face | None:
    """HSEmotion (EmotiEffLib): timm's EfficientNet with a classifier of emotions, as it is or in a Sequential."""
    head = tensors.get("classifier.bias", tensors.get("classifier.0.bias"))
    last = tensors.get("conv_head.weight")
    if head is None or last is None or "conv_stem.weight" not in tensors:
        return None
    if len(head) not in HSEMOTION_CLASSES or last.shape[0] not in HSEMOTION_NETS:
        return None
    net = HSEMOTION_NETS[last.shape[0]]
    return Face(
        title=f"HSEmotion, EfficientNet-{net[-2:].upper()} with {len(head)} outputs",
        encoder=net,
        normalize="imagenet",
        licence="Apache-2.0 code of HSEmotion (EmotiEffLib); trained on VGGFace2 and AffectNet, which are for research",
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
