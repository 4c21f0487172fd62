"""The settings of STT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..former_temporal.segments import MapTransformerConfig


@dataclass(frozen=True, kw_only=True)
class Config(MapTransformerConfig):
    """What `build` builds. Published: 4 blocks of 8 heads on 512 numbers, 2,048 in the middle, 8 × 2 frames; the dropout is not."""

    name: ClassVar[str] = "stt"
    title: ClassVar[str] = "STT"
    source: ClassVar[str] = "Ma, Sun and Li, arXiv 2205.04749, 2022"

    layers: int = 4
    ffn: int = 2048

    @property
    def reads(self) -> str:
        """Return the maps whose places are tokens."""
        return "layer3"
