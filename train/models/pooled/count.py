"""What the classifier costs: parameters, and multiply-accumulates (MACs) of one clip of so many frames."""

from __future__ import annotations

from ..description import Description, Row, linear
from .config import Config
from .model import STATISTICS


def describe(config: Config, width: int, num_classes: int, frames: float) -> Description:
    """Count parts; a statistic counts each value that it reads."""
    classes = linear(STATISTICS * width, num_classes)
    rows = (
        Row(part="statistics", parameters=0, macs=round(STATISTICS * frames * width)),
        Row(part="classes", parameters=classes, macs=classes),
    )
    return Description(rows=rows, frames=frames)
