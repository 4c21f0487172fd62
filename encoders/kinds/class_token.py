"""The class token of a vision transformer, before the final norm: where it is in networks of timm and of torchvision.

A place is tried before it is taken: the norm, applied to what it was given, must make what the network makes of one picture. Networks that
pool their patches, or have no class token, have none.

Legend: N frames, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .layout import TOLERANCE


@dataclass(frozen=True, kw_only=True)
class Place:
    """The names of a class token and of the norm behind the last block."""

    token: str
    norm: str


PLACES = (Place(token="cls_token", norm="norm"), Place(token="class_token", norm="encoder.ln"))  # timm; torchvision


def find_norm(net: nn.Module) -> str:
    """Name the norm whose first token a network could give; empty where it has none."""
    modules = dict(net.named_modules())
    for place in PLACES:
        if isinstance(getattr(net, place.token, None), Tensor) and isinstance(modules.get(place.norm), nn.LayerNorm):
            return place.norm
    return ""


@contextmanager
def tokens_before(norm: nn.Module) -> Generator[list[Tensor]]:
    """Yield what a norm is given while the network runs.  # each (N, T, D)"""
    seen: list[Tensor] = []
    handle = norm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        yield seen
    finally:
        handle.remove()


def gives_class_token(norm: nn.Module, seen: list[Tensor], rows: Tensor) -> bool:
    """Return whether the network's rows are the first token behind the norm."""
    if len(seen) != 1 or seen[0].ndim != 3 or seen[0][:, 0].shape != rows.shape:
        return False
    with torch.no_grad():
        found = norm(seen[0])[:, 0]
    return bool((found - rows).abs().max() <= TOLERANCE * rows.abs().max())
