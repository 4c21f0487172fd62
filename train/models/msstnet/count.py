"""What the model costs: parameters, and multiply-accumulates (MACs) of one clip, counted as EST's are (est/count.py)."""

from __future__ import annotations

from ..description import Description, Row, linear, num_parameters
from ..former_temporal.count import block_macs
from ..unfilled import Unfilled
from .config import Config
from .model import MSSTNet


def describe(config: Config, width: int, num_classes: int, maps: tuple[int, ...]) -> Description:
    """Count parts."""
    with Unfilled():
        model = MSSTNet(config, width=width, maps=maps, num_classes=num_classes)
    frames, slots, d = config.num_frames, maps[0] * maps[1], config.dim
    positions = model.slots.numel() + model.times.numel()
    each = block_macs(frames, d, heads=config.heads, head_width=d // config.heads, ffn=config.ffn)
    rows = (
        Row(
            part="embeddings",
            parameters=num_parameters(model.embeddings) + positions,
            macs=frames * slots * sum(linear(channels, d) for channels in model.scales),
        ),
        Row(part="temporal layers", parameters=num_parameters(model.blocks), macs=len(model.blocks) * slots * each),
        Row(
            part="classes",
            parameters=num_parameters(model.norm) + num_parameters(model.classifier),
            macs=frames * slots * d + 2 * d + linear(d, num_classes),
        ),
    )
    return Description(rows=rows, frames=frames)
