"""EST: frame features of n snippets → logits of expressions and of shuffled orders.

Follows the paper's §3 and, where it is silent, its code (`position="snippet"` is the code's, `"slot"` the text's). Frames come as
features, from a cache or straight from the backbone: the model begins behind the global average pool.

B clips, n snippets, J frames, D feature width, d model width, C classes, h heads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....errors import UsageError
from ..contract import CLASSES, DETAILS
from ..model import Batch, Extras, Model, wide
from ..scaling import Scaling
from ..unfilled import Linear
from .config import Config
from .initial import initialise
from .order import OrderHead, draw_orders
from .position import Position
from .sizes import Sizes
from .snippet import build_snippets
from .transformer import Transformer

HIDDEN = (128, 64)


class Output(NamedTuple):
    """What the model says; logits and T are float32 under autocast too."""

    expression: Tensor  # (B, C)
    embedding: Tensor  # (B, d): T, what the classifier reads
    order: Tensor | None  # (B, orders); None without SSOP
    attention: Tensor | None = None  # (B, h, n): the last decoder layer's, query to snippets; with details
    alpha: Tensor | None = None  # (B, n, J): Eq. 2; with details, where there is an AA-SFE


class ExpressionHead(nn.Module):
    """The three-layer perceptron that classifies T."""

    def __init__(self, config: Sizes, num_classes: int) -> None:
        super().__init__()
        wide, narrow = HIDDEN
        self.layers = nn.Sequential(
            Linear(config.dim, wide),
            nn.ReLU(),
            Linear(wide, narrow),
            nn.ReLU(),
            nn.Dropout(config.head_dropout),
            Linear(narrow, num_classes),
        )

    def forward(self, emotion: Tensor) -> Tensor:
        """Return a logit for each class.  # (B, d) → (B, C)"""
        return self.layers(emotion)


class EST(Model):
    """The Expression Snippet Transformer on frame features."""

    config: Config
    orders: Tensor

    def __init__(
        self,
        config: Config,
        *,
        width: int,
        num_classes: int,
        orders: Tensor,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        wanted = (config.orders if config.ssop else 0, config.snippets)
        if tuple(orders.shape) != wanted:
            raise UsageError(f"The orders are a table of {wanted}, found {tuple(orders.shape)}.")
        if num_classes < 1 or width < 1:
            raise UsageError(f"Features and classes are at least one each, found {width} and {num_classes}.")
        self.config, self.width, self.num_classes = config, width, num_classes
        self.register_buffer("orders", orders.to(torch.long))  # (orders, n): row r has the snippet in each slot
        self.scaling = Scaling(width)
        self.projection = Linear(width, config.dim) if width != config.dim else nn.Identity()
        self.snippets = build_snippets(config)
        self.position = Position(config)
        self.query = nn.Parameter(torch.empty(1, config.dim))
        self.transformer = Transformer(config)
        self.expression_head = ExpressionHead(config, num_classes)
        self.order_head = OrderHead(config) if config.ssop else None
        initialise(self, generator)

    def forward(self, batch: Batch) -> Output:
        """Classify snippets, which stand in the orders of that number where the batch has orders.  # (B, n, J, D), (B,)"""
        return self.classify(batch["features"], self.orders[batch["order"]] if "order" in batch else None)

    def classify(self, features: Tensor, order: Tensor | None = None, *, details: bool = False) -> Output:
        """Return the logits.  # (B, n, J, D), (B, n) → (B, C), (B, orders)

        Snippets stand as the rows of `order` say: order[b, k] is the natural number of the snippet in slot k. Without it they stand
        in the natural order.
        """
        self._expect(features, order)
        frames = self.projection(self.scaling(features))
        R, alpha = self.snippets(frames)
        T, attention = self.transformer(self.position(R, order), self.query, details=details)
        return Output(
            expression=wide(self.expression_head(T)),
            embedding=wide(T),
            order=wide(self.order_head(R, T)) if self.order_head is not None else None,
            attention=attention,
            alpha=alpha if details else None,
        )

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """Return T, the last decoder layer's attention to snippets, and α where there is an AA-SFE."""
        order = self.orders[batch["order"]] if "order" in batch else None
        found = self.classify(batch["features"], order, details=True)._asdict()
        return {name: wide(found[name]) for name in DETAILS if found[name] is not None}

    @property
    def terms(self) -> dict[str, float]:
        """Return Eq. 7: the losses of both heads, the second with λ."""
        return {CLASSES: 1.0, "order": self.config.weight_of_order} if self.config.ssop else {CLASSES: 1.0}

    @property
    def choices(self) -> dict[str, int]:
        """Return how many orders there are."""
        return {"order": len(self.orders)} if self.config.ssop else {}

    def draw_extras(self, count: int, generator: torch.Generator, device: torch.device) -> Extras:
        """Draw in which of the orders each clip's snippets stand."""
        if not self.config.ssop:
            return {}
        return {"order": torch.randint(len(self.orders), (count,), generator=generator, device=device)}

    def shuffled_extras(self, number: Tensor) -> Extras:
        """Take the orders in turns."""
        return {"order": number % len(self.orders)} if self.config.ssop else {}

    def arrange(self, shown: Tensor, extras: Extras) -> Tensor:
        """Put snippets into their order.  # (B, n, J)"""
        if "order" not in extras:
            return shown
        return shown.gather(1, self.orders[extras["order"]][:, :, None].expand_as(shown))

    def losses(
        self,
        output: Output,
        target: Tensor,
        batch: Batch,
        *,
        weight: Tensor | None,
        smoothing: float | Tensor,
        focal: float | Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the sums of both heads' losses."""
        found = super().losses(output, target, batch, weight=weight, smoothing=smoothing, focal=focal)
        if output.order is None:
            return found
        return found | {"order": F.cross_entropy(wide(output.order), batch["order"], reduction="sum")}

    def hits(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return which clips' order was recognised."""
        if output.order is None or "order" not in batch:
            return {}
        return {"order": output.order.argmax(1) == batch["order"]}

    def _expect(self, features: Tensor, order: Tensor | None) -> None:
        shape, n = tuple(features.shape), self.config.snippets
        if len(shape) != 4 or shape[1] != n or shape[3] != self.width:
            raise UsageError(f"Features are (clips, {n} snippets, frames, {self.width} channels), found {shape}.")
        if order is not None and tuple(order.shape) != shape[:2]:
            raise UsageError(f"An order is (clips, snippets) = {shape[:2]}, found {tuple(order.shape)}.")


def facts(config: Config, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of its models: the orders that SSOP tells apart, for each seed."""
    orders = {
        str(seed): draw_orders(config.orders, config.snippets, seed=seed, include_natural=config.include_natural)
        for seed in (seeds if config.ssop else ())
    }
    return {"orders": {seed: table.tolist() for seed, table in orders.items()}}


def build(config: Config, *, width: int, num_classes: int, seed: int) -> EST:
    """Draw orders and starting values by a seed, from generators of its own."""
    if config.ssop:
        orders = draw_orders(config.orders, config.snippets, seed=seed, include_natural=config.include_natural)
    else:
        orders = torch.empty(0, config.snippets, dtype=torch.long)
    generator = torch.Generator().manual_seed(seed)
    return EST(config, width=width, num_classes=num_classes, orders=orders, generator=generator)
