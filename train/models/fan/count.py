"""What the network costs: parameters, and multiply-accumulates (MACs) of one clip of so many frames."""

from __future__ import annotations

from ..description import Description, Row, linear
from .config import Config


def describe(config: Config, width: int, num_classes: int, frames: float) -> Description:
    """Count parts; a weighted mean counts each value that it reads."""
    alpha, beta, classes = linear(width, 1), linear(2 * width, 1), linear(2 * width, num_classes)
    rows = (
        Row(part="α", parameters=alpha, macs=round(frames * (alpha + width))),
        Row(part="β", parameters=beta, macs=round(frames * (beta + 2 * width))),
        Row(part="classes", parameters=classes, macs=classes),
    )
    return Description(rows=rows, frames=frames)
