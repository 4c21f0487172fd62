"""Tensors of a file into a network, by name: every one must be there and have its shape; what is left over is named.

A network that is loaded by half gives features that look right and are worthless.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from torch import nn

from ...errors import EstError, quoted
from ..backbone import Backbone, FrameEncoder
from ..taps import STAGES
from .design import Converter, Tensors

PREFIXES = ("module.", "backbone.", "encoder.", "model.", "resnet.", "net.")
COUNTERS = "num_batches_tracked"  # of batch norms: old files lack them, and nothing reads them


def fit(
    encoder: FrameEncoder, tensors: Tensors, path: Path, *, convert: Converter | None = None
) -> tuple[int, list[str]]:
    """Load tensors into an encoder; return how many, and the names of those that it has no use for."""
    net = encoder.trunk
    wanted = net.state_dict()
    tensors = _in_its_names(tensors, wanted, net, convert)
    found = {key: tensor for key, tensor in tensors.items() if key in wanted}
    missing = [key for key in wanted if key not in found and not key.endswith(COUNTERS)]
    held = f"It holds {', '.join(list(tensors)[:4]) or 'no tensors'} …"
    another = f"of another network, --weights timm:NAME={quoted(path)} or torchvision:NAME={quoted(path)}"
    if not found:
        raise EstError(
            f"{path} matches no tensor of {encoder.title}. {held}",
            remedy=f"give a checkpoint with these names: {', '.join(list(wanted)[:2])}, …; {another}",
        )
    if missing:
        raise EstError(
            f"{path} lacks {len(missing)} of {len(wanted)} tensors of {encoder.title}: {', '.join(missing[:6])} … {held}",
            remedy=f"check the file; {another}",
        )
    for key, tensor in found.items():
        if tensor.shape != wanted[key].shape:
            raise EstError(
                f"{path}: {key} has shape {tuple(tensor.shape)}, expected {tuple(wanted[key].shape)}.",
                remedy=f"use {_article(encoder)}{encoder.title}; {another}",
            )
    unused = [key for key in tensors if key not in wanted]
    if isinstance(encoder, Backbone) and (deeper := [key for key in unused if key.startswith(tuple(STAGES))]):
        raise EstError(
            f"{path} holds a deeper network than {encoder.title}: {len(deeper)} more in its stages, as {deeper[0]}.",
            remedy=f"--weights torchvision:resnet34={quoted(path)} for a ResNet-34; {another}",
        )
    for key, tensor in found.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise EstError(
                f"{path}: {key} holds numbers that are not finite.",
                remedy="take a checkpoint from before the training diverged, or --weights imagenet",
            )
    net.load_state_dict({key: found.get(key, wanted[key]).to(wanted[key].dtype) for key in wanted})
    return len(found), unused


def _in_its_names(tensors: Tensors, wanted: Collection[str], net: nn.Module, convert: Converter | None) -> Tensors:
    """Strip prefixes that all tensors share; where names are missing then, try those of the project that published the network."""
    plain = _without_prefix(tensors, wanted)
    if convert is None or all(key in plain for key in wanted if not key.endswith(COUNTERS)):
        return plain
    try:
        return convert(dict(tensors), net)
    except (KeyError, IndexError, AttributeError, ValueError, RuntimeError):  # names of no project that it supports
        return plain


def _without_prefix(tensors: Tensors, wanted: Collection[str]) -> Tensors:
    while not any(key in wanted for key in tensors):
        prefix = next((p for p in PREFIXES if any(key.startswith(p) for key in tensors)), None)
        if prefix is None:
            return tensors
        tensors = {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
    return tensors


def _article(encoder: FrameEncoder) -> str:
    return "a " if isinstance(encoder, Backbone) else ""
