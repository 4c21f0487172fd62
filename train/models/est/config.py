"""The sizes and switches of the model. The defaults are the paper's; where its text and its code differ, the code's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ....errors import UsageError, expect_values
from ..contract import (
    CLIPS_FOR_SIZES,
    MANY,
    SHARE,
    Architecture,
    ModelConfig,
    Snippets,
    Training,
    expect_whole_heads,
    flag,
)

Position = Literal["slot", "snippet"]
Aggregation = Literal["hierarchical", "mean", "self-attention", "se"]
OrderInput = Literal["fused", "query", "snippets"]

# What a sweep varies by default.
SEARCH_LAYERS = (1, 2)
SIZES = ("dim", "ffn", "order_hidden")
SEARCH_DIMS = (128, 256, 512)  # with CLIPS_FOR_SIZES
SEARCH = {"dropout": [0.0, 0.1, 0.3], "head_dropout": [0.0, 0.2, 0.4]}
SEARCH_ORDER = {"order_weight": {"low": 0.01, "high": 1.0, "log": True}}  # where there is SSOP
LARGE = 512  # from this dim on, with
LARGE_RATE = {"loop.learning_rate": {"low": 3e-5, "high": 1e-3, "log": True}}


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """What `build` builds."""

    name: ClassVar[str] = "est"
    title: ClassVar[str] = "EST"
    paper: ClassVar[str] = (
        "Y. Liu, W. Wang, C. Feng, H. Zhang, Z. Chen, Y. Zhan: Expression Snippet Transformer for Robust Video-based Facial "
        "Expression Recognition. Pattern Recognition 138 (2023)"
    )
    source: ClassVar[str] = "Liu et al., Pattern Recognition 2023"
    architecture: ClassVar[Architecture] = "parity-checked"
    published_training: ClassVar[Training] = "end to end"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper-text": {"position": "slot"},
        "small": {"dim": 128, "ffn": 256, "layers": 1, "order_hidden": 256, "dropout": 0.0, "head_dropout": 0.0},
    }
    own_in_stack: ClassVar[tuple[str, ...] | None] = ("dropout", "head_dropout", "order_weight")

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
        expect_whole_heads(self.dim, self.heads)

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
        """Return whether there are orders to shuffle by."""
        return self.ssop

    @property
    def questions(self) -> Mapping[str, str]:
        """Return what SSOP asks."""
        return {"order": "order of shuffled snippets"} if self.ssop else {}

    @property
    def implied(self) -> Mapping[str, Any]:
        """Return λ where it is left to n."""
        return {"order_weight": self.weight_of_order}

    def search_space(self, clips: int) -> Mapping[str, Any]:
        """Return regularisation and layers, with few clips at the sizes of the preset small, with many clips several widths."""
        found: dict[str, Any] = {"layers": sorted({*SEARCH_LAYERS, self.layers})}
        dims = [self.dim]
        if clips >= CLIPS_FOR_SIZES:
            dims = sorted({*(dim for dim in SEARCH_DIMS if dim % self.heads == 0), self.dim})
            found["dim"] = dims
        elif self.has_default_sizes:
            small = self.presets["small"]
            found = {name: small[name] for name in SIZES} | {"layers": list(SEARCH_LAYERS)}
            dims = [small["dim"]]
        regular = {name: sorted({*choices, getattr(self, name)}) for name, choices in SEARCH.items()}
        return found | regular | (SEARCH_ORDER if self.ssop else {}) | (LARGE_RATE if max(dims) >= LARGE else {})

    @property
    def has_default_sizes(self) -> bool:
        """Return whether widths and layers are the paper's."""
        return all(getattr(self, name) == getattr(type(self), name) for name in (*SIZES, "layers"))

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
