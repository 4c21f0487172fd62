"""What the network costs: parameters, and multiply-accumulates (MACs) of one video. Sigmoids and products of gates count nothing."""

from __future__ import annotations

from ..description import Description, Row, num_parameters
from ..unfilled import Unfilled
from .config import Config
from .model import GRU


def describe(config: Config, width: int, num_classes: int) -> Description:
    """Count parts."""
    with Unfilled():
        model = GRU(config, width=width, num_classes=num_classes)
    return count(model)


def count(model: GRU) -> Description:
    """Count the parts of a network of recurrences."""
    config, width, num_classes = model.config, model.width, model.num_classes
    both = config.directions * config.hidden
    rows = []
    for number, layer in enumerate(model.layers):
        seen = both if number else width
        step = config.directions * model.layer.gates * config.hidden * (seen + config.hidden + 2)
        rows.append(Row(part=f"layer {number + 1}", parameters=num_parameters(layer), macs=config.frames * step))
    rows.append(Row(part="classes", parameters=num_parameters(model.classifier), macs=(both + 1) * num_classes))
    return Description(rows=tuple(rows), frames=config.frames)
