"""What the network costs: parameters, and multiply-accumulates (MACs) of one clip."""

from __future__ import annotations

from ..description import Description
from ..gru.count import count
from ..unfilled import Unfilled
from .config import Config
from .model import LSTM


def describe(config: Config, width: int, num_classes: int) -> Description:
    """Count parts."""
    with Unfilled():
        model = LSTM(config, width=width, num_classes=num_classes)
    return count(model)
