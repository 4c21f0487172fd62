"""CLIP's picture encoders, OpenAI's weights: the class token behind the last norm, before the projection to where texts are.

They are timm's networks, those with the activation that the weights were trained with.
"""

from __future__ import annotations

from ...errors import UsageError, nearest
from . import timm_nets
from .design import Design

NETS = {
    "ViT-B-32": "vit_base_patch32_clip_quickgelu_224.openai",
    "ViT-B-16": "vit_base_patch16_clip_quickgelu_224.openai",
    "ViT-L-14": "vit_large_patch14_clip_quickgelu_224.openai",
}
LICENCE = (
    "OpenAI's CLIP, meant for research: its model card puts every deployed use out of scope, "
    "and surveillance and facial recognition whatever the use"
)


def design_of(name: str) -> Design:
    """Return what is known about clip:NAME."""
    if name not in NETS:
        near = nearest(name, NETS, cutoff=0.3) or "ViT-B-32"
        raise UsageError(f"An encoder of CLIP is {', '.join(NETS)}; found {name!r}.", remedy=f"--weights clip:{near}")
    return timm_nets.design_of(NETS[name], name=f"clip:{name}", licence=LICENCE)
