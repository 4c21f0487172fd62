"""The settings of STT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ....errors import expect_values
from ..contract import CLIPS_FOR_SIZES, MANY, SHARE, Architecture, Evenly, ModelConfig, Training, expect_whole_heads

SEARCH: Mapping[str, Any] = {"dropout": [0.0, 0.1, 0.3]}  # what a sweep varies by default
SMALL: Mapping[str, Any] = {"dim": 128, "ffn": 256, "layers": 1, "dropout": 0.0}


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """What `build` builds. Published: 4 blocks of 8 heads on 512 numbers, 2,048 in the middle, 8 × 2 frames; the dropout is not."""

    name: ClassVar[str] = "stt"
    title: ClassVar[str] = "STT"
    source: ClassVar[str] = "Ma, Sun and Li, arXiv 2205.04749, 2022"
    architecture: ClassVar[Architecture] = "reconstruction"
    published_training: ClassVar[Training] = "end to end"
    own_in_stack: ClassVar[tuple[str, ...] | None] = ("dropout",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": SMALL}

    num_segments: int = 8  # equal parts of the clip
    segment_frames: int = 2  # frames in a row of each
    layers: int = 4
    heads: int = 8
    dim: int = 512
    ffn: int = 2048
    dropout: float = 0.1

    def __post_init__(self) -> None:
        sizes = dict.fromkeys(("num_segments", "segment_frames", "layers", "heads", "dim", "ffn"), MANY)
        expect_values(self, "model.", dropout=SHARE, **sizes)
        expect_whole_heads(self.dim, self.heads)

    @property
    def shown(self) -> Evenly:
        """Return a few frames in a row of each part of the clip; in the test those in the middle of it."""
        return Evenly(parts=self.num_segments, frames=self.segment_frames)

    @property
    def reads(self) -> str:
        """Return the maps whose places are tokens."""
        return "layer3"

    @property
    def num_frames(self) -> int:
        """Return how many frames of a clip it looks at."""
        return self.num_segments * self.segment_frames

    def search_space(self, clips: int) -> Mapping[str, Any]:
        """Return the dropout and, with few clips, the sizes of the preset small where nobody has set them."""
        own = any(getattr(self, name) != getattr(type(self), name) for name in SMALL if name != "dropout")
        few = clips < CLIPS_FOR_SIZES and not own
        return dict(SEARCH) | ({"dim": SMALL["dim"], "ffn": SMALL["ffn"], "layers": [1, 2]} if few else {})
