"""The settings of MSSTNet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ....encoders.taps import PYRAMID
from ....errors import expect_values
from ..contract import CLIPS_FOR_SIZES, MANY, SHARE, Architecture, Evenly, ModelConfig, Training, expect_whole_heads

SEARCH: Mapping[str, Any] = {"dropout": [0.0, 0.1, 0.3]}  # what a sweep varies by default
SMALL: Mapping[str, Any] = {"dim": 128, "ffn": 256, "layers": 1, "dropout": 0.0}


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """What `build` builds. Published: four scales of 16 patches each. No size below is: they are those of Former-DFER's temporal half."""

    name: ClassVar[str] = "msstnet"
    title: ClassVar[str] = "MSSTNet"
    source: ClassVar[str] = "Wang et al., ICASSP 2024"
    architecture: ClassVar[Architecture] = "reconstruction"
    published_training: ClassVar[Training] = "end to end"
    own_in_stack: ClassVar[tuple[str, ...] | None] = ("dropout",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": SMALL}

    num_segments: int = 8  # equal parts of the clip
    segment_frames: int = 2  # frames in a row of each
    layers: int = 1  # of each scale
    heads: int = 8
    dim: int = 512
    ffn: int = 1024
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
        """Return the maps of all stages of the encoder, pooled to 4 × 4."""
        return PYRAMID

    @property
    def num_frames(self) -> int:
        """Return how many frames of a clip it looks at."""
        return self.num_segments * self.segment_frames

    def search_space(self, clips: int) -> Mapping[str, Any]:
        """Return the dropout and, with few clips, the sizes of the preset small where nobody has set them."""
        own = any(getattr(self, name) != getattr(type(self), name) for name in SMALL if name != "dropout")
        few = clips < CLIPS_FOR_SIZES and not own
        return dict(SEARCH) | ({"dim": SMALL["dim"], "ffn": SMALL["ffn"], "layers": [1, 2]} if few else {})
