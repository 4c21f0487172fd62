"""The settings of the temporal half of Former-DFER."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ....errors import expect_values
from ..contract import CLIPS_FOR_SIZES, MANY, SHARE, Architecture, Training
from .segments import SEARCH, SegmentsConfig

SMALL: Mapping[str, Any] = {"layers": 1, "ffn": 256}


@dataclass(frozen=True, kw_only=True)
class Config(SegmentsConfig):
    """What `build` builds. Published: 3 layers, 8 heads of 64 on 512 features, 1,024 in the middle, no dropout, 8 × 2 frames."""

    name: ClassVar[str] = "former-temporal"
    title: ClassVar[str] = "T-Former"
    source: ClassVar[str] = "Zhao and Liu, ACM MM 2021"
    architecture: ClassVar[Architecture] = "counts-checked"
    published_training: ClassVar[Training] = "end to end"
    own_in_stack: ClassVar[tuple[str, ...] | None] = ("dropout",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": SMALL}

    layers: int = 3
    heads: int = 8
    head_width: int = 64
    ffn: int = 1024
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = dict.fromkeys(("layers", "heads", "head_width", "ffn"), MANY)
        expect_values(self, "model.", dropout=SHARE, **sizes)

    def search_space(self, clips: int) -> Mapping[str, Any]:
        """Return the dropout and, with few clips, sizes of the preset small if they are not set."""
        few = clips < CLIPS_FOR_SIZES and self.ffn == type(self).ffn
        return {**SEARCH, "layers": [1, 3] if self.layers == type(self).layers else [self.layers]} | (
            {"ffn": SMALL["ffn"]} if few else {}
        )
