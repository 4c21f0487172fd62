"""The settings of the Frame Attention Network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ....errors import expect_values
from ..contract import MANY, SHARE, Architecture, EvenlyThenAll, ModelConfig, Training

# What a sweep varies by default.
SEARCH = {"dropout": [0.0, 0.3, 0.5], "relation_dropout": [0.0, 0.3, 0.6]}


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """What `build` builds."""

    name: ClassVar[str] = "fan"
    title: ClassVar[str] = "FAN"
    source: ClassVar[str] = "Meng et al., ICIP 2019"
    architecture: ClassVar[Architecture] = "parity-checked"
    published_training: ClassVar[Training] = "end to end"
    own_in_stack: ClassVar[tuple[str, ...] | None] = ("dropout", "relation_dropout")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": {}}

    train_frames: int = 3  # in training, one from each of so many equal parts of the clip
    most_frames: int = 400  # in the test, of a longer clip so many
    dropout: float = 0.5  # before the first weights
    relation_dropout: float = 0.6  # before the second

    def __post_init__(self) -> None:
        expect_values(self, "model.", train_frames=MANY, most_frames=MANY, dropout=SHARE, relation_dropout=SHARE)

    @property
    def shown(self) -> EvenlyThenAll:
        """Return a few frames in training, all in the test."""
        return EvenlyThenAll(parts=self.train_frames, most=self.most_frames)

    @property
    def told(self) -> tuple[str, ...]:
        """Return the mask: frames that a clip leaves over, or that show no face, have no weight."""
        return ("mask",)

    def search_space(self, clips: int) -> Mapping[str, Any]:
        """Return both dropouts."""
        return dict(SEARCH)
