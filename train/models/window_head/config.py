"""The settings of the head on windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ....errors import UsageError, expect_values
from ..contract import CLIPS_FOR_SIZES, MANY, SHARE, AllWindows, Architecture, ModelConfig, Training

SMALL: Mapping[str, Any] = {"embed_width": 128, "mlp_width": 192, "stem_layers": 1}
HALVINGS = 2  # of the windows, between the stem and the two branches


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """What `build` builds. Published: 16, 8 and 4 windows of 16 frames at distances of 4, 8 and 16; 1,408 numbers a window."""

    name: ClassVar[str] = "window-head"
    title: ClassVar[str] = "Window head"
    source: ClassVar[str] = "PTH-Net: Li et al., TIP 2024"
    architecture: ClassVar[Architecture] = "parity-checked"
    published_training: ClassVar[Training] = "frozen encoder"
    own_in_stack: ClassVar[tuple[str, ...] | None] = ("path_dropout",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": SMALL}

    num_kinds: int = 3  # kinds of windows, the closest together first: it alone decides in the test
    num_places: int = 16  # windows of the first kind; of each further one half as many
    embed_width: int = 512
    mlp_width: int = 768
    embed_layers: int = 2
    stem_layers: int = 2
    branch_layers: int = 1  # of each of two branches
    att_heads: int = 8
    norm_groups: int = 16
    path_dropout: float = 0.1  # of branches, clip by clip
    agree_weight: float = 1.0  # weight of how far the other kinds are from what the first one says

    def __post_init__(self) -> None:
        counts = ("num_kinds", "num_places", "embed_width", "mlp_width", "embed_layers", "stem_layers", "branch_layers")
        expect_values(
            self,
            "model.",
            path_dropout=SHARE,
            agree_weight=(0, 1000),
            att_heads=MANY,
            norm_groups=MANY,
            **dict.fromkeys(counts, MANY),
        )
        least = 2 ** (HALVINGS + self.num_kinds - 1)
        if self.num_places % least:
            near = max(least, self.num_places // least * least)
            raise UsageError(
                f"model.num_places is halved for each further kind and twice on the way: a multiple of {least}, found {self.num_places}.",
                remedy=f"--set model.num_places={near}",
            )
        for name in ("att_heads", "norm_groups"):
            if self.embed_width % getattr(self, name):
                raise UsageError(
                    f"model.embed_width is a multiple of model.{name}, found {self.embed_width} and {getattr(self, name)}.",
                    remedy=f"--set model.{name}={_divisor(self.embed_width, getattr(self, name))}",
                )

    @property
    def each(self) -> tuple[int, ...]:
        """Return the places of each kind."""
        return tuple(self.num_places // 2**kind for kind in range(self.num_kinds))

    @property
    def shown(self) -> AllWindows:
        """Return all windows, up to the places of their kind."""
        return AllWindows(each=self.each)

    @property
    def told(self) -> tuple[str, ...]:
        """Return the mask: which places hold a window."""
        return ("mask",)

    def search_space(self, clips: int) -> Mapping[str, Any]:
        """Return what is dropped and, with few clips, sizes of the preset small if they are not set."""
        own = any(getattr(self, name) != getattr(type(self), name) for name in SMALL)
        few = clips < CLIPS_FOR_SIZES and not own
        return {"path_dropout": [0.0, 0.1, 0.3]} | (dict(SMALL) if few else {})


def _divisor(width: int, most: int) -> int:
    """Return the largest divisor of a width up to a number."""
    return max(number for number in range(1, min(width, most) + 1) if width % number == 0)
