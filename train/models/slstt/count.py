"""What the model costs: parameters, and multiply-accumulates (MACs) of one clip of so many frames, counted as GRU's are (gru/count.py)."""

from __future__ import annotations

from ..description import Description, Row, linear, num_parameters
from ..unfilled import Unfilled
from .config import Config
from .model import SLSTT


def describe(config: Config, width: int, num_classes: int, frames: float) -> Description:
    """Count parts; a norm costs two a number."""
    with Unfilled():
        model = SLSTT(config, width=width, num_classes=num_classes)
    rows = [Row(part="norm", parameters=num_parameters(model.norm), macs=round(2 * width * frames))]
    if config.aggregation == "mean":
        classes = linear(width, num_classes)
        rows.append(Row(part="classes", parameters=classes, macs=round(frames * classes)))
        return Description(rows=tuple(rows), frames=frames)
    for number, layer in enumerate(model.layers):
        step = 4 * config.hidden * ((config.hidden if number else width) + config.hidden + 2)
        rows.append(Row(part=f"LSTM layer {number + 1}", parameters=num_parameters(layer), macs=round(frames * step)))
    head = linear(config.hidden, config.classifier_hidden) + linear(config.classifier_hidden, num_classes)
    rows.append(Row(part="classes", parameters=head, macs=head))
    return Description(rows=tuple(rows), frames=frames)
