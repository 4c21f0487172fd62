"""HSEmotion (EmotiEffLib): EfficientNets that were trained to tell people apart, then expressions, by name or in a file.

est has its own network for these tensors, so that neither timm nor the library of the project is needed. What is said here of training
was read in the project's notebooks and README: all start from VGGFace2, learn AffectNet, and keep the epoch that is best on AffectNet's
validation half. Two files are named after a data set that chose among them, AFEW and VGAF; neither is `b0`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ...cache.trained import TrainedOn
from ...errors import UsageError, nearest
from ..backbone import Normalization
from ..tensorfile import read_tensors
from .design import Design, Tensors
from .efficientnet import SCALES, EfficientNet
from .fetched import PublishedFile
from .matching import fit
from .pooled import Pooled

KIND = "hsemotion"
FILES = {"b0": "enet_b0_8_va_mtl.pt", "b2": "enet_b2_8.pt"}
SIDES = {"b0": 224, "b2": 260}
WIDTHS = {1280: "b0", 1408: "b2"}  # of the last convolution
CLASSES = (7, 8, 10)  # emotions with and without contempt, and eight with valence and arousal
WHERE = "models/affectnet_emotions of sb-ai-lab/EmotiEffLib on GitHub"
LICENCE = "Apache-2.0 code of HSEmotion (EmotiEffLib); weights trained on VGGFace2 and AffectNet: research only, as AffectNet's terms say"
DATASETS = ("VGGFace2: people were told apart", "AffectNet: expressions were learnt, and the epoch was chosen")
CHOSEN = {"best_afew": "AFEW", "best_vgaf": "VGAF"}  # in a file's name → the data set that chose it
NORMALIZATION = Normalization.named("imagenet")


def design_of(model: str) -> Design:
    """Return what is known about hsemotion:NAME."""
    if model not in FILES:
        near = nearest(model, FILES, cutoff=0.3) or "b0"
        hint = (
            ". A file that was chosen on AFEW has no name here, and goes by --weights FILE" if "afew" in model else ""
        )
        raise UsageError(
            f"An encoder of HSEmotion is {', '.join(FILES)}; found {model!r}{hint}.",
            remedy=f"--weights {KIND}:{near}",
        )
    name = f"{KIND}:{model}"
    file = PublishedFile(name=name, file=FILES[model], where=WHERE, licence=LICENCE, expect=partial(_expect, model))
    return Design(
        name=name,
        make=partial(_make, model),
        normalization=NORMALIZATION,
        licence=LICENCE,
        fetch=file.find,
        take=file.take,
        learnt=record_of,
    )


def net_of(tensors: Tensors) -> str | None:
    """Name the network of a file that holds one of HSEmotion's, told by its width and the outputs of its classifier."""
    head = tensors.get("classifier.bias", tensors.get("classifier.0.bias"))
    last = tensors.get("conv_head.weight")
    if head is None or last is None or "conv_stem.weight" not in tensors or len(head) not in CLASSES:
        return None
    return WIDTHS.get(last.shape[0])


def num_outputs(tensors: Tensors) -> int:
    """Count the outputs of the classifier."""
    return len(tensors.get("classifier.bias", tensors.get("classifier.0.bias", ())))


def record_of(file: str) -> TrainedOn:
    """Return what weights have learnt from, and what chose them: of the published names, or by the name of a file."""
    chosen = tuple(
        f"{dataset}: the file was chosen on it, by its name"
        for part, dataset in CHOSEN.items()
        if part in file.casefold()
    )
    return TrainedOn(clips=(), datasets=(*DATASETS, *chosen))


def _make(model: str) -> Pooled:
    net = EfficientNet(SCALES[model])
    return Pooled(net, name=f"{KIND}:{model}", side=SIDES[model], normalization=NORMALIZATION)


def _expect(model: str, path: Path) -> None:
    """Refuse a file that is not of this network, tensor by tensor."""
    fit(_make(model), read_tensors(path)[0], path)
