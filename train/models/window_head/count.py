"""What the head costs: parameters, and multiply-accumulates (MACs) of one clip with a window in every place of every kind."""

from __future__ import annotations

from ..description import Description, Row, linear, num_parameters
from ..unfilled import Unfilled
from .config import Config
from .model import WindowHead


def describe(config: Config, width: int, num_classes: int) -> Description:
    """Count parts; norms and what is added count nothing."""
    with Unfilled():
        model = WindowHead(config, width=width, num_classes=num_classes)
    dim, kinds = config.embed_width, config.num_kinds
    windows = sum(config.each)
    embed = windows * 3 * dim * (width + (config.embed_layers - 1) * dim)
    stem = branches = 0
    for kind, places in enumerate(config.each):
        wide = 2 * (kinds - kind) - 1
        stem += config.stem_layers * layer_macs(places, dim, config.mlp_width, around=1 + 1 + wide)
        for halving in (2, 4):
            branches += config.branch_layers * layer_macs(places // halving, dim, config.mlp_width, around=3 + 3 + wide)
    rows = (
        Row(part="embedding", parameters=num_parameters(model.embed) + num_parameters(model.embed_norm), macs=embed),
        Row(part="stem", parameters=num_parameters(model.stem), macs=stem),
        Row(part="branches", parameters=num_parameters(model.branches), macs=branches),
        Row(part="classes", parameters=num_parameters(model.classifier), macs=kinds * linear(dim, num_classes)),
    )
    return Description(rows=rows, frames=windows)


def layer_macs(windows: int, width: int, hidden: int, *, around: int) -> int:
    """Count a layer on so many windows; `around` are the widths of its kernels together, besides those of one window and of attention."""
    each = width * (around + 2 + 3 * 3) + 4 * linear(width, width) + linear(width, hidden) + linear(hidden, width)
    return windows * each + 2 * windows**2 * width
