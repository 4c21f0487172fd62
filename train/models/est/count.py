"""What a model costs: parameters of its parts, and multiply-accumulates (MACs) of one video.

Parameters are those of the module itself, built without memory. MACs are arithmetic on its shapes, and count as Table 6 does:

- a convolution: outputs × inputs that each sees; a linear layer: its matrix, and one a bias
- ReLU and a norm's scale and shift: 1 and 2 a value; pooling: 1 for each value that it reads
- attention: as torch's own layer computes it, queries and keys of the decoder's one token included, with the scaling and the softmax
- dropout, residual sums, Eq. 2 and 3 and reshaping: nothing

That gives 63.892, 63.884 and 63.847 G for the paper's model, without SSOP, and without both: Table 6 says 63.89, 63.88, 63.85.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ....encoders.backbone import Backbone
from ....encoders.taps import STAGES
from .config import Config
from .model import EST
from .model import HIDDEN as EXPRESSION_HIDDEN
from .order import HIDDEN as ORDER_HIDDEN

IMAGE_SIDE = 224


@dataclass(frozen=True, kw_only=True)
class Row:
    """One part of the model."""

    part: str
    parameters: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Description:
    """All parts; the backbone only where the width of the features is the one that it gives."""

    rows: tuple[Row, ...]
    backbone: Row | None
    frames: int  # that one video shows the backbone

    @property
    def parameters(self) -> int:
        """Return what trains on cached features."""
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        """Return the MACs of one video whose features are cached."""
        return sum(row.macs for row in self.rows)

    @property
    def whole(self) -> Row | None:
        """Return model and backbone together: what the paper counts."""
        if self.backbone is None:
            return None
        return Row(
            part="with backbone",
            parameters=self.parameters + self.backbone.parameters,
            macs=self.macs + self.backbone.macs,
        )

    def lines(self) -> list[str]:
        """Return a table as text."""
        shown = [*self.rows, Row(part="on cached features", parameters=self.parameters, macs=self.macs)]
        if self.backbone is not None and self.whole is not None:
            shown += [self.backbone, self.whole]
        width = max(len(row.part) for row in shown)
        head = f"{'part':<{width}}  {'parameters':>11}  {'MACs a video':>14}"
        return [head, *(f"{row.part:<{width}}  {row.parameters:>11,}  {_short(row.macs):>14}" for row in shown)]

    def to_json(self) -> dict[str, Any]:
        """Return the same for machines."""
        found: dict[str, Any] = {
            "parts": [_plain(row) for row in self.rows],
            "parameters": self.parameters,
            "macs": self.macs,
        }
        if self.backbone is not None and self.whole is not None:
            found["backbone"] = _plain(self.backbone) | {"frames": self.frames, "image_side": IMAGE_SIDE}
            found["with_backbone"] = _plain(self.whole)
        return found


def describe(config: Config, width: int, num_classes: int) -> Description:
    """Count a model on features of some width."""
    parameters = count_parameters(config, width, num_classes)
    macs = count_macs(config, width, num_classes)
    frames = config.snippets * config.frames
    backbone = None
    if width == Backbone.width:
        with torch.device("meta"):
            trunk = Backbone()
        backbone = Row(
            part=f"ResNet-18, {frames} frames", parameters=_numel(trunk), macs=frames * backbone_macs(IMAGE_SIDE)
        )
    rows = (Row(part=part, parameters=parameters[part], macs=macs[part]) for part in parameters)
    return Description(rows=tuple(rows), backbone=backbone, frames=frames)


def count_parameters(config: Config, width: int, num_classes: int) -> dict[str, int]:
    """Return part → parameters; everything that a training step on cached features updates."""
    with torch.device("meta"):
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
    found = {part: _numel(module) for part, module in parts.items() if module is not None}
    found["decoder"] += model.query.numel()
    assert sum(found.values()) == _numel(model), "a part is missing"
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
        wide, narrow = ORDER_HIDDEN
        found["order head"] = linear(n * d, wide) + linear(wide, narrow) + 3 * (wide + narrow)  # a norm and a ReLU
        found["order head"] += linear(narrow, config.orders)
    return found


def linear(inputs: int, outputs: int) -> int:
    """Count one row through a linear layer."""
    return (inputs + 1) * outputs


def attention(config: Config, queries: int, keys: int) -> int:
    """Count multi-head attention: its projections, the scaling of the queries, both products and the softmax."""
    d = config.dim
    projections = 2 * (queries + keys) * linear(d, d)
    return projections + queries * d + 2 * queries * keys * d + config.heads * queries * keys


def backbone_macs(side: int) -> int:
    """Count ResNet-18 without its classifier on one square picture: stem, four stages of two blocks, pool."""
    side = _half(side)
    values = 64 * side**2  # that leave the first convolution
    total = values * 3 * 7**2 + values * (2 + 1)
    total += values  # the max pool reads them
    side = _half(side)
    inputs = 64
    for stage, channels in enumerate(STAGES.values()):
        side = _half(side) if stage else side
        values = channels * side**2
        total += values * 9 * (inputs + 3 * channels)  # four convolutions of 3 × 3
        total += 4 * values * (2 + 1)  # each with a norm and a ReLU
        if inputs != channels:
            total += values * (inputs + 2)  # the shortcut's 1 × 1 and its norm
        inputs = channels
    return total + inputs * side**2


def _half(side: int) -> int:
    return (side + 1) // 2


def _numel(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _short(macs: int) -> str:
    return f"{macs / 1e9:.3f} G" if macs >= 1e9 else f"{macs / 1e6:.2f} M"


def _plain(row: Row) -> dict[str, Any]:
    return {"part": row.part, "parameters": row.parameters, "macs": row.macs}
