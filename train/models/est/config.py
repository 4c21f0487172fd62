"""The sizes and switches of the model. The defaults are the paper's; where its text and its code differ, the code's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ....errors import UsageError, expect_values
from ..contract import MANY, SHARE, ModelConfig, Snippets, flag

Position = Literal["slot", "snippet"]
Aggregation = Literal["hierarchical", "mean", "self-attention", "se"]
OrderInput = Literal["fused", "query", "snippets"]


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """What `build` builds."""

    name: ClassVar[str] = "est"
    title: ClassVar[str] = "EST"
    frozen_note: ClassVar[str] = "not the paper's setting"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper-text": {"position": "slot"},
        "small": {"dim": 128, "ffn": 256, "layers": 1, "order_hidden": 256, "dropout": 0.0, "head_dropout": 0.0},
    }

    snippets: int = flag(7, "--snippets", "Snippets of a clip, n. [default: 7]")
    frames: int = flag(5, "--frames", "Frames of a snippet, J. [default: 5]")
    layers: int = flag(3, "--layers", "Layers of encoder and decoder. [default: 3]")  # as many in each
    heads: int = flag(4, "--heads", "Heads of every attention. [default: 4]")
    ffn: int = 2048
    dim: int = 512  # d
    dropout: float = 0.1
    head_dropout: float = 0.4  # before the last layer of the expression head
    order_hidden: int = 2048  # width of the order head's first layer; the second has a quarter of it
    orders: int = flag(10, "--orders", "Shuffled orders that SSOP tells apart. [default: 10]")
    position: Position = flag(
        "snippet",
        "--position",
        "snippet: a shuffled snippet keeps the code of its own place (code); slot: of its new one (paper).",
    )
    aggregation: Aggregation = flag(
        "hierarchical",
        "--aggregation",
        "hierarchical (AA-SFE), self-attention, se or mean: the rows of Table 7.",
    )
    ssop: bool = flag(True, "--ssop/--no-ssop", "Learn the order of shuffled snippets too.")
    order_weight: float | None = None  # λ of Eq. 7; None: 1/n
    detach_snippets: bool = True  # Algorithm 1, line 6: the order loss reaches the features through T alone
    order_input: OrderInput = "fused"  # §3.3: O_i = R_i + T, T, or R_i
    include_natural: bool = False  # the natural order is one of those in training

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("snippets", "frames", "layers", "heads", "ffn", "dim", "orders"), MANY)
        counts["order_hidden"] = (4, MANY[1])  # a quarter of it is at least one
        expect_values(self, "model.", **counts, dropout=SHARE, head_dropout=SHARE, order_weight=(0, math.inf))
        if self.dim % self.heads:
            near = max(number for number in range(1, self.heads) if self.dim % number == 0)
            raise UsageError(
                f"model.dim is a multiple of model.heads, found {self.dim} and {self.heads}.",
                remedy=f"--set model.heads={near}",
            )

    @property
    def shown(self) -> Snippets:
        """Return n × J."""
        return Snippets(count=self.snippets, frames=self.frames)

    @property
    def order_widths(self) -> tuple[int, int]:
        """Return the widths of the order head's hidden layers."""
        return self.order_hidden, self.order_hidden // 4

    @property
    def shuffles(self) -> bool:
        """Say whether there are orders to shuffle by."""
        return self.ssop

    @property
    def questions(self) -> Mapping[str, str]:
        """Return what SSOP asks."""
        return {"order": "order of shuffled snippets"} if self.ssop else {}

    def expect_together(self, clips: int, *, batch: int, parts: int) -> None:
        """Refuse a single clip: the order head has a batch norm."""
        if self.ssop and clips == 1:
            so_many = f" in {parts} parts" if parts > 1 else ""
            raise UsageError(
                f"The order head's batch norm needs at least two clips at a time, found --batch {batch}{so_many}.",
                remedy=f"--batch {2 * parts}, or --no-ssop",
            )

    @property
    def weight_of_order(self) -> float:
        """Return λ of Eq. 7."""
        weight = self.order_weight
        return 1 / self.snippets if weight is None else weight
