"""The settings of the gated recurrent network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ....errors import UsageError
from ..contract import ModelConfig, Snippets, flag

Pooling = Literal["mean", "max", "last"]


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """What `build` builds."""

    name: ClassVar[str] = "gru"
    title: ClassVar[str] = "GRU"

    frames: int = flag(
        75, "--frames", "Unified frames in a row, around the middle; 75 are all that a view has. [default: 75]"
    )
    layers: int = flag(1, "--layers", "Layers. [default: 1]")
    hidden: int = flag(256, "--hidden", "Numbers in a state, of each direction. [default: 256]")
    bidirectional: bool = flag(True, "--bidirectional/--one-way", "Read clips backwards, too.")
    pooling: Pooling = flag("mean", "--pooling", "How states become one: mean, max or last. [default: mean]")
    dropout: float = 0.3  # between layers, and before the classes

    def __post_init__(self) -> None:
        for name in ("frames", "layers", "hidden"):
            found = getattr(self, name)
            if not isinstance(found, int) or isinstance(found, bool) or found < 1:
                raise UsageError(
                    f"model.{name} is a whole number from 1, found {found!r}.",
                    remedy=f"--set model.{name}={getattr(type(self), name)}",
                )
        if not isinstance(self.bidirectional, bool):
            raise UsageError(f"model.bidirectional is true or false, found {self.bidirectional!r}.")
        if self.pooling not in ("mean", "max", "last"):
            raise UsageError(f"model.pooling is mean, max or last, found {self.pooling!r}.", remedy="--pooling mean")
        if not isinstance(self.dropout, int | float) or isinstance(self.dropout, bool) or not 0 <= self.dropout < 1:
            raise UsageError(f"model.dropout is a share from 0 to below 1, found {self.dropout!r}.")

    @property
    def shown(self) -> Snippets:
        """Return a single snippet: frames in a row."""
        return Snippets(count=1, frames=self.frames)

    @property
    def directions(self) -> int:
        """Return how often a clip is read."""
        return 2 if self.bidirectional else 1
