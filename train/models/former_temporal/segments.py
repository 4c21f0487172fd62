"""The settings that models share which look at a few frames in a row of equal parts of a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ....errors import expect_values
from ..contract import CLIPS_FOR_SIZES, MANY, SHARE, Architecture, Evenly, ModelConfig, Training, expect_whole_heads

SEARCH: Mapping[str, Any] = {"dropout": [0.0, 0.1, 0.3]}  # what a sweep varies by default
SMALL: Mapping[str, Any] = {"dim": 128, "ffn": 256, "layers": 1, "dropout": 0.0}  # of a Transformer on maps


@dataclass(frozen=True, kw_only=True)
class SegmentsConfig(ModelConfig):
    """Which frames are shown."""

    num_segments: int = 8  # equal parts of the clip
    segment_frames: int = 2  # frames in a row of each

    def __post_init__(self) -> None:
        expect_values(self, "model.", num_segments=MANY, segment_frames=MANY)

    @property
    def shown(self) -> Evenly:
        """Return a few frames in a row of each part of the clip; in the test those in the middle of it."""
        return Evenly(parts=self.num_segments, frames=self.segment_frames)

    @property
    def num_frames(self) -> int:
        """Return how many frames of a clip the model looks at."""
        return self.num_segments * self.segment_frames


@dataclass(frozen=True, kw_only=True)
class MapTransformerConfig(SegmentsConfig):
    """The sizes of a Transformer on maps."""

    architecture: ClassVar[Architecture] = "reconstruction"
    published_training: ClassVar[Training] = "end to end"
    own_in_stack: ClassVar[tuple[str, ...] | None] = ("dropout",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": SMALL}

    layers: int = 1
    heads: int = 8
    dim: int = 512
    ffn: int = 1024
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_values(self, "model.", dropout=SHARE, **dict.fromkeys(("layers", "heads", "dim", "ffn"), MANY))
        expect_whole_heads(self.dim, self.heads)

    def search_space(self, clips: int) -> Mapping[str, Any]:
        """Return the dropout and, with few clips, the sizes of the preset small if they are not set."""
        own = any(getattr(self, name) != getattr(type(self), name) for name in SMALL if name != "dropout")
        few = clips < CLIPS_FOR_SIZES and not own
        return dict(SEARCH) | ({"dim": SMALL["dim"], "ffn": SMALL["ffn"], "layers": [1, 2]} if few else {})
