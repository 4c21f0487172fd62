"""The settings of Former-DFER."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ....encoders.taps import MAPS
from ....errors import expect_values
from ..contract import MANY, Architecture, Training
from ..former_temporal.config import SMALL
from ..former_temporal.config import Config as TemporalConfig


@dataclass(frozen=True, kw_only=True)
class Config(TemporalConfig):
    """What `build` builds: the settings of the temporal half, and those of the spatial one. Published: 1 layer, 8 heads of 32, 512."""

    name: ClassVar[str] = "former-dfer"
    title: ClassVar[str] = "Former-DFER"
    paper: ClassVar[str] = (
        "Z. Zhao, Q. Liu: Former-DFER: Dynamic Facial Expression Recognition Transformer. ACM Multimedia (2021)"
    )
    source: ClassVar[str] = "Zhao and Liu, ACM MM 2021"
    architecture: ClassVar[Architecture] = "counts-checked"
    published_training: ClassVar[Training] = "end to end"
    last_stage: ClassVar[bool] = True
    own_in_stack: ClassVar[tuple[str, ...] | None] = None  # the batch norms of layer4 follow what they see
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": {**SMALL, "spatial_ffn": 256}}

    spatial_layers: int = 1
    spatial_heads: int = 8
    spatial_head_width: int = 32
    spatial_ffn: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = ("spatial_layers", "spatial_heads", "spatial_head_width", "spatial_ffn")
        expect_values(self, "model.", **dict.fromkeys(sizes, MANY))

    @property
    def reads(self) -> str:
        """Return the maps that ResNet-18's last stage sees."""
        return MAPS
