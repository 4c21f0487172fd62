"""The settings of the gated recurrent network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ....errors import expect_values
from ..contract import MANY, SHARE, ModelConfig, Snippets, flag

Pooling = Literal["mean", "max", "last"]


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """What `build` builds."""

    name: ClassVar[str] = "gru"
    title: ClassVar[str] = "GRU"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": {"hidden": 64}}

    frames: int = flag(
        75, "--frames", "Unified frames in a row, around the middle; 75 are all that a view has. [default: 75]"
    )
    layers: int = flag(1, "--layers", "Layers. [default: 1]")
    hidden: int = flag(256, "--hidden", "Numbers in a state, of each direction. [default: 256]")
    bidirectional: bool = flag(True, "--bidirectional/--one-way", "Read clips backwards, too.")
    pooling: Pooling = flag("mean", "--pooling", "How states become one: mean, max or last. [default: mean]")
    dropout: float = 0.3  # between layers, and before the classes

    def __post_init__(self) -> None:
        expect_values(self, "model.", frames=MANY, layers=MANY, hidden=MANY, dropout=SHARE)

    @property
    def shown(self) -> Snippets:
        """Return a single snippet: frames in a row."""
        return Snippets(count=1, frames=self.frames)

    @property
    def directions(self) -> int:
        """Return how often a clip is read."""
        return 2 if self.bidirectional else 1
