"""What the classifier costs: parameters, and multiply-accumulates (MACs) of one clip of the most frames."""

from __future__ import annotations

from ..description import Description, Row, backbone_row, linear
from .config import Config
from .model import STATISTICS


def describe(config: Config, width: int, num_classes: int) -> Description:
    """Count parts; a statistic counts each value that it reads."""
    frames, classes = config.most_frames, linear(STATISTICS * width, num_classes)
    rows = (
        Row(part="statistics", parameters=0, macs=STATISTICS * frames * width),
        Row(part="classes", parameters=classes, macs=classes),
    )
    return Description(rows=rows, backbone=backbone_row(frames, width), frames=frames)
