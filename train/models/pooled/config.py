"""The settings of the pooled statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ....errors import expect_values
from ..contract import MANY, SHARE, AllFrames, ModelConfig

SEARCH = {"dropout": [0.0, 0.2, 0.5]}  # what a sweep varies by default


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """What `build` builds."""

    name: ClassVar[str] = "pooled"
    title: ClassVar[str] = "Pooled statistics"
    own_in_stack: ClassVar[tuple[str, ...] | None] = ("dropout",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": {}}

    most_frames: int = 400  # of a longer clip so many
    dropout: float = 0.0  # of statistics

    def __post_init__(self) -> None:
        expect_values(self, "model.", most_frames=MANY, dropout=SHARE)

    @property
    def shown(self) -> AllFrames:
        """Return all frames."""
        return AllFrames(most=self.most_frames, padded=False)

    @property
    def told(self) -> tuple[str, ...]:
        """Return the mask: frames that a clip leaves over, or that show no face, do not count."""
        return ("mask",)

    def search_space(self, clips: int) -> Mapping[str, Any]:
        """Return the dropout."""
        return dict(SEARCH)
