"""What the model costs: parameters, and multiply-accumulates (MACs) of one clip, counted as EST's are (est/count.py)."""

from __future__ import annotations

import math

from ..description import Description, Row, half, linear, num_parameters
from ..unfilled import Unfilled
from .config import Config
from .model import BLOCKS, R3D18, STAGES, STEM


def describe(config: Config, width: int, num_classes: int, maps: tuple[int, int]) -> Description:
    """Count parts, on crops of such sides; there is no backbone beside it."""
    with Unfilled():
        model = R3D18(config, width=width, num_classes=num_classes, maps=maps)
    sides = [config.frames, half(maps[0]), half(maps[1])]
    inputs = config.channels
    values = inputs * math.prod(sides)
    rows = [Row(part="stem", parameters=num_parameters(model.stem), macs=values * (width * math.prod(STEM) + 3))]
    for stage in range(STAGES):
        outputs = config.channels * 2**stage
        sides = [half(side) for side in sides] if stage else sides
        values = outputs * math.prod(sides)
        macs = values * (27 * (inputs + (2 * BLOCKS - 1) * outputs) + 2 * BLOCKS * 3)  # with norms and ReLUs
        macs += values * (inputs + 2) if inputs != outputs else 0  # the shortcut and its norm
        part = f"layer{stage + 1}"
        rows.append(Row(part=part, parameters=num_parameters(model.get_submodule(part)), macs=macs))
        inputs = outputs
    rows.append(Row(part="classes", parameters=num_parameters(model.fc), macs=values + linear(inputs, num_classes)))
    return Description(rows=tuple(rows), frames=config.frames, learns="from crops")
