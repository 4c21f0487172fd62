"""The settings of the temporal half of Former-DFER."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ....errors import expect_values
from ..contract import CLIPS_FOR_SIZES, MANY, SHARE, Architecture, Evenly, ModelConfig, Training

SEARCH = {"dropout": [0.0, 0.1, 0.3]}  # what a sweep varies by default
SMALL: Mapping[str, Any] = {"layers": 1, "ffn": 256}


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """What `build` builds. Published: 3 layers, 8 heads of 64 on 512 features, 1,024 in the middle, no dropout, 8 × 2 frames."""

    name: ClassVar[str] = "former-temporal"
    title: ClassVar[str] = "T-Former"
    source: ClassVar[str] = "Zhao and Liu, ACM MM 2021"
    architecture: ClassVar[Architecture] = "counts-checked"
    published_training: ClassVar[Training] = "end to end"
    own_in_stack: ClassVar[tuple[str, ...] | None] = ("dropout",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": SMALL}

    num_segments: int = 8  # equal parts of the clip
    segment_frames: int = 2  # frames in a row of each
    layers: int = 3
    heads: int = 8
    head_width: int = 64
    ffn: int = 1024
    dropout: float = 0.0

    def __post_init__(self) -> None:
        sizes = dict.fromkeys(("num_segments", "segment_frames", "layers", "heads", "head_width", "ffn"), MANY)
        expect_values(self, "model.", dropout=SHARE, **sizes)

    @property
    def shown(self) -> Evenly:
        """Return a few frames in a row of each part of the clip; in the test those in the middle of it."""
        return Evenly(parts=self.num_segments, frames=self.segment_frames)

    def search_space(self, clips: int) -> Mapping[str, Any]:
        """Return the dropout and, with few clips, sizes of the preset small where nobody has set them."""
        few = clips < CLIPS_FOR_SIZES and self.ffn == type(self).ffn
        return {**SEARCH, "layers": [1, 3] if self.layers == type(self).layers else [self.layers]} | (
            {"ffn": SMALL["ffn"]} if few else {}
        )
