"""What the model costs: parameters, and multiply-accumulates (MACs) of one clip, counted as EST's are (est/count.py)."""

from __future__ import annotations

from ..description import Description, Row, linear, num_parameters
from ..est.count import attention
from ..est.model import HIDDEN
from ..unfilled import Unfilled
from .config import Config
from .model import TransformerBaseline


def describe(config: Config, width: int, num_classes: int) -> Description:
    """Count parts."""
    with Unfilled():
        model = TransformerBaseline(config, width=width, num_classes=num_classes)
    frames, n, d = config.snippets * config.frames, config.num_tokens, config.dim
    norm = 2 * d
    feed = linear(d, config.ffn) + config.ffn + linear(config.ffn, d) + norm
    encoder = config.layers * (attention(config, n, n) + n * (norm + feed)) + n * norm
    decoder = config.layers * (attention(config, 1, 1) + attention(config, 1, n) + 2 * norm + feed) + norm
    wide, narrow = HIDDEN
    classes = linear(d, wide) + wide + linear(wide, narrow) + narrow + linear(narrow, num_classes)
    rows = [
        Row(part="encoder", parameters=num_parameters(model.transformer.encoder), macs=encoder),
        Row(part="decoder", parameters=num_parameters(model.transformer.decoder) + model.query.numel(), macs=decoder),
        Row(part="classes", parameters=num_parameters(model.expression_head), macs=classes),
    ]
    if width != d:
        projection = num_parameters(model.projection)
        rows.insert(0, Row(part="projection", parameters=projection, macs=frames * linear(width, d)))
    return Description(rows=tuple(rows), frames=frames)
