"""What the network costs: parameters, and multiply-accumulates (MACs) of one clip of the most frames."""

from __future__ import annotations

from ..description import Description, Row, backbone_row, linear
from .config import Config


def describe(config: Config, width: int, num_classes: int) -> Description:
    """Count parts; a weighted mean counts each value that it reads."""
    frames = config.most_frames
    alpha, beta, classes = linear(width, 1), linear(2 * width, 1), linear(2 * width, num_classes)
    rows = (
        Row(part="α", parameters=alpha, macs=frames * (alpha + width)),
        Row(part="β", parameters=beta, macs=frames * (beta + 2 * width)),
        Row(part="classes", parameters=classes, macs=classes),
    )
    return Description(rows=rows, backbone=backbone_row(frames, width), frames=frames)
