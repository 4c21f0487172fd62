"""What a model costs: parameters of its parts, and multiply-accumulates (MACs) of one video.

Parameters are those of the module itself, built without memory. MACs are arithmetic on its shapes, and count as Table 6 does:

- a convolution: outputs × inputs that each sees; a linear layer: its matrix, and one a bias
- ReLU and a norm's scale and shift: 1 and 2 a value; pooling: 1 for each value that it reads
- attention: as torch's own layer computes it, queries and keys of the decoder's one token included, with the scaling and the softmax
- dropout, residual sums, Eq. 2 and 3 and reshaping: nothing

That gives 63.892, 63.884 and 63.847 G for the paper's model, without SSOP, and without both: Table 6 says 63.89, 63.88, 63.85.
"""

from __future__ import annotations

import torch
from torch import nn

from ..description import Description, Row, linear, num_parameters, with_backbone
from ..unfilled import Unfilled
from .config import Config
from .model import EST
from .model import HIDDEN as EXPRESSION_HIDDEN
from .sizes import Sizes


def describe(config: Config, width: int, num_classes: int) -> Description:
    """Count a model on features of some width."""
    parameters = count_parameters(config, width, num_classes)
    macs = count_macs(config, width, num_classes)
    frames = config.snippets * config.frames
    rows = (Row(part=part, parameters=parameters[part], macs=macs[part]) for part in parameters)
    return with_backbone(Description(rows=tuple(rows), frames=frames), "gap", width, ())


def count_parameters(config: Config, width: int, num_classes: int) -> dict[str, int]:
    """Return part → parameters; everything that a training step on cached features updates."""
    with Unfilled():
        orders = torch.empty(config.orders if config.ssop else 0, config.snippets, dtype=torch.long)
        model = EST(config, width=width, num_classes=num_classes, orders=orders)
    parts: dict[str, nn.Module | None] = {
        "projection": model.projection if width != config.dim else None,
        "snippets": model.snippets,
        "encoder": model.transformer.encoder,
        "decoder": model.transformer.decoder,
        "expression head": model.expression_head,
        "order head": model.order_head,
    }
    found = {part: num_parameters(module) for part, module in parts.items() if module is not None}
    found["decoder"] += model.query.numel()
    assert sum(found.values()) == num_parameters(model), "a part is missing"
    return found


def count_macs(config: Config, width: int, num_classes: int) -> dict[str, int]:
    """Return part → MACs of one video."""
    n, d = config.snippets, config.dim
    frames = n * config.frames
    norm = 2 * d
    feed = linear(d, config.ffn) + config.ffn + linear(config.ffn, d) + norm
    found = {"projection": frames * linear(width, d)} if width != d else {}
    found["snippets"] = 0
    if config.aggregation != "mean":
        found["snippets"] += n * attention(config, config.frames, config.frames) + frames * norm
    if config.aggregation == "se":
        found["snippets"] += n * (2 * linear(d, d) + 2 * d)
    found["encoder"] = config.layers * (attention(config, n, n) + n * (norm + feed)) + n * norm
    found["decoder"] = config.layers * (attention(config, 1, 1) + attention(config, 1, n) + 2 * norm + feed) + norm
    wide, narrow = EXPRESSION_HIDDEN
    found["expression head"] = linear(d, wide) + wide + linear(wide, narrow) + narrow + linear(narrow, num_classes)
    if config.ssop:
        wide, narrow = config.order_widths
        found["order head"] = linear(n * d, wide) + linear(wide, narrow) + 3 * (wide + narrow)  # a norm and a ReLU
        found["order head"] += linear(narrow, config.orders)
    return found


def attention(config: Sizes, queries: int, keys: int) -> int:
    """Count multi-head attention: its projections, the scaling of the queries, both products and the softmax."""
    d = config.dim
    projections = 2 * (queries + keys) * linear(d, d)
    return projections + queries * d + 2 * queries * keys * d + config.heads * queries * keys
