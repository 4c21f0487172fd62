"""What the model costs: parameters, and multiply-accumulates (MACs) of one clip. Class vectors of a file are no parameters."""

from __future__ import annotations

from ..description import Description, Row, num_parameters
from ..former_temporal.count import block_macs
from ..unfilled import Unfilled
from .config import Config
from .model import ClipTemporal


def describe(config: Config, width: int, num_classes: int) -> Description:
    """Count parts."""
    with Unfilled():
        model = ClipTemporal(config, width=width, num_classes=num_classes)
    frames, dim = config.num_frames, config.dim
    blocks = config.layers * block_macs(
        1 + frames, dim, heads=config.heads, head_width=dim // config.heads, ffn=config.ffn
    )
    rows = (
        Row(part="projection", parameters=num_parameters(model.projection), macs=frames * width * dim),
        Row(part="tokens", parameters=model.token.numel() + model.positions.numel(), macs=0),
        Row(part="blocks", parameters=num_parameters(model.blocks), macs=blocks),
        Row(part="classes", parameters=num_parameters(model.classifier), macs=num_classes * dim),
    )
    return Description(rows=rows, frames=frames)
