"""Frame encoders besides ResNet-18, behind its interface: `find_design(name)` knows how one is built and where its published weights are.

A name is KIND:NAME: `torchvision:convnext_tiny`, `timm:resnet10t`, `clip:ViT-B-32`, `hsemotion:b0`. Nothing of a kind is imported
before it is asked for.
"""

from __future__ import annotations

from ...errors import UsageError, nearest
from .design import RESNET18, Design

KINDS = {
    "torchvision": "torchvision:convnext_tiny",
    "timm": "timm:resnet10t",
    "clip": "clip:ViT-B-32",
    "hsemotion": "hsemotion:b0",
}  # kind → an example

__all__ = ["KINDS", "RESNET18", "Design", "find_design", "names_encoder"]


def names_encoder(text: str) -> bool:
    """Return whether a text is the name of an encoder, rather than that of a file."""
    kind, colon, name = text.partition(":")
    return bool(colon and name) and kind in KINDS


def find_design(name: str) -> Design:
    """Return what is known about an encoder, by name."""
    kind, _, model = name.partition(":")
    match kind:
        case "resnet18":
            return RESNET18
        case "torchvision":
            from .torchvision_nets import design_of
        case "timm":
            from .timm_nets import design_of
        case "clip":
            from .clip_nets import design_of
        case "hsemotion":
            from .hsemotion import design_of
        case _:
            near = nearest(kind, KINDS) or "timm"
            raise UsageError(
                f"An encoder is {', '.join(f'{kind}:NAME' for kind in KINDS)} or resnet18; found {name!r}.",
                remedy=f"such as {KINDS[near]}",
            )
    return design_of(model)
