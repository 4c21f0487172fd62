"""The settings of the gated recurrent network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ....errors import expect_values
from ..contract import CLIPS_FOR_SIZES, MANY, SHARE, Architecture, ModelConfig, Snippets, Training, flag

Pooling = Literal["mean", "max", "last"]

# What a sweep varies by default.
SEARCH_HIDDEN = (64, 128)
SEARCH_MORE_HIDDEN = (128, 256)  # with CLIPS_FOR_SIZES
SEARCH_DROPOUT = (0.0, 0.1, 0.3, 0.5)


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """What `build` builds."""

    name: ClassVar[str] = "gru"
    title: ClassVar[str] = "GRU"
    source: ClassVar[str] = "a baseline of Liu et al., Pattern Recognition 2023"
    architecture: ClassVar[Architecture] = "reconstruction"
    published_training: ClassVar[Training] = "end to end"
    own_in_stack: ClassVar[tuple[str, ...] | None] = ("dropout",)
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

    def search_space(self, clips: int) -> Mapping[str, Any]:
        """Return regularisation and states, those that are set among the choices."""
        sizes = SEARCH_MORE_HIDDEN if clips >= CLIPS_FOR_SIZES else SEARCH_HIDDEN
        few = clips < CLIPS_FOR_SIZES and self.hidden == type(self).hidden
        hidden = sizes if few else sorted({*sizes, self.hidden})
        return {"hidden": list(hidden), "dropout": sorted({*SEARCH_DROPOUT, self.dropout})}

    @property
    def directions(self) -> int:
        """Return how often a clip is read."""
        return 2 if self.bidirectional else 1
