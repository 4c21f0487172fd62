"""The settings of MSSTNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ....encoders.taps import PYRAMID
from ..former_temporal.segments import MapTransformerConfig


@dataclass(frozen=True, kw_only=True)
class Config(MapTransformerConfig):
    """What `build` builds. Published: four scales of 16 patches each. No size is: they are those of Former-DFER's temporal half."""

    name: ClassVar[str] = "msstnet"
    title: ClassVar[str] = "MSSTNet"
    source: ClassVar[str] = "Wang et al., ICASSP 2024"

    layers: int = 1  # of each scale

    @property
    def reads(self) -> str:
        """Return the maps of all stages of the encoder, pooled to 4 × 4."""
        return PYRAMID
