"""What the model costs: parameters, and multiply-accumulates (MACs) of one clip, counted as EST's are (est/count.py)."""

from __future__ import annotations

from ..description import Description, Row, linear, num_parameters
from ..unfilled import Unfilled
from .config import Config
from .model import STT


def describe(config: Config, width: int, num_classes: int, maps: tuple[int, ...]) -> Description:
    """Count parts."""
    with Unfilled():
        model = STT(config, width=width, maps=maps, num_classes=num_classes)
    frames, places, d = config.num_frames, maps[0] * maps[1], config.dim
    positions = model.token.numel() + model.times.numel() + model.places.numel()
    rows = (
        Row(
            part="tokens",
            parameters=num_parameters(model.projection) + positions,
            macs=frames * places * linear(width, d),
        ),
        Row(
            part="blocks",
            parameters=num_parameters(model.blocks),
            macs=config.layers * _block_macs(config, frames, places),
        ),
        Row(
            part="classes",
            parameters=num_parameters(model.norm) + num_parameters(model.classifier),
            macs=2 * d + linear(d, num_classes),
        ),
    )
    return Description(rows=rows, frames=frames)


def _block_macs(config: Config, frames: int, places: int) -> int:
    """Count two attentions and the feed-forward half; the class token attends to all tokens, the others to a frame or a place and to it."""
    d, ffn, others = config.dim, config.ffn, frames * places
    tokens = 1 + others
    each = 3 * 2 * d + 2 * (3 * d * d + linear(d, d) + d) + linear(d, ffn) + ffn + linear(ffn, d)
    pairs = 2 * tokens + others * (1 + places) + others * (1 + frames)
    return tokens * each + pairs * (2 * d + config.heads)
