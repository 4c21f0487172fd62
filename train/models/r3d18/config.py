"""The settings of R3D-18."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ....errors import expect_values
from ..contract import CROPS, MANY, Architecture, Evenly, ModelConfig, Training


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """What `build` builds. Torchvision's: 64 channels that double from stage to stage; here one frame of each of 16 parts of a clip."""

    name: ClassVar[str] = "r3d18"
    title: ClassVar[str] = "R3D-18"
    paper: ClassVar[str] = (
        "D. Tran, H. Wang, L. Torresani, J. Ray, Y. LeCun, M. Paluri: A Closer Look at Spatiotemporal Convolutions for Action "
        "Recognition. CVPR (2018)"
    )
    source: ClassVar[str] = "Tran et al., CVPR 2018"
    architecture: ClassVar[Architecture] = "parity-checked"
    published_training: ClassVar[Training] = "end to end"
    own_in_stack: ClassVar[tuple[str, ...] | None] = None  # its batch norms follow what they see
    published_weights: ClassVar[tuple[str, ...]] = ("kinetics400",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": {"channels": 16, "frames": 8}}

    frames: int = 16
    channels: int = 64  # of the first stage

    def __post_init__(self) -> None:
        expect_values(self, "model.", frames=MANY, channels=MANY)

    @property
    def reads(self) -> str:
        """Return that it reads crops."""
        return CROPS

    @property
    def shown(self) -> Evenly:
        """Return one frame of each of equal parts of the clip; in the test that in the middle of it."""
        return Evenly(parts=self.frames)
