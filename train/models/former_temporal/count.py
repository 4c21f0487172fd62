"""What the model costs: parameters, and multiply-accumulates (MACs) of one clip, counted as EST's are (est/count.py)."""

from __future__ import annotations

from ..description import Description, Row, linear, num_parameters
from ..unfilled import Unfilled
from .config import Config
from .model import FormerTemporal


def describe(config: Config, width: int, num_classes: int) -> Description:
    """Count parts."""
    with Unfilled():
        model = FormerTemporal(config, width=width, num_classes=num_classes)
    frames = config.num_segments * config.segment_frames
    tokens = model.token.numel() + model.positions.numel()
    blocks = config.layers * block_macs(
        1 + frames, width, heads=config.heads, head_width=config.head_width, ffn=config.ffn
    )
    rows = (
        Row(part="tokens", parameters=tokens, macs=0),
        Row(part="blocks", parameters=num_parameters(model.blocks), macs=blocks),
        Row(part="classes", parameters=num_parameters(model.classifier), macs=linear(width, num_classes)),
    )
    return Description(rows=rows, frames=frames)


def block_macs(tokens: int, width: int, *, heads: int, head_width: int, ffn: int) -> int:
    """Count a pre-norm block (block.py) on so many tokens."""
    inner = heads * head_width
    each = 4 * width + 3 * width * inner + linear(inner, width) + linear(width, ffn) + ffn + linear(ffn, width)
    return tokens * each + tokens**2 * (2 * inner + heads) + tokens * inner
