"""What the model costs: parameters, and multiply-accumulates (MACs) of one clip, counted as EST's are (est/count.py)."""

from __future__ import annotations

from ..description import Description, Row, half, num_parameters, stage_macs
from ..former_temporal.count import block_macs
from ..former_temporal.count import describe as describe_temporal
from ..unfilled import Unfilled
from .config import Config
from .model import FormerDfer


def describe(config: Config, width: int, num_classes: int, maps: tuple[int, int]) -> Description:
    """Count parts; the backbone is ResNet-18 up to layer3, on crops that give maps of these sides."""
    with Unfilled():
        model = FormerDfer(config, width=width, num_classes=num_classes, maps=maps)
    temporal = describe_temporal(config, 2 * width, num_classes)
    frames, places, left = temporal.frames, maps[0] * maps[1], half(maps[0]) * half(maps[1])
    sizes = {"heads": config.spatial_heads, "head_width": config.spatial_head_width, "ffn": config.spatial_ffn}
    spatial = places * width + config.spatial_layers * block_macs(places, width, **sizes)
    layer4 = stage_macs(width, 2 * width, left) + 2 * width * left  # and its pool
    rows = (
        Row(part="spatial", parameters=num_parameters(model.spatial), macs=round(frames * spatial)),
        Row(part="layer4", parameters=num_parameters(model.layer4), macs=round(frames * layer4)),
        *temporal.rows,
    )
    return Description(rows=rows, frames=frames)
