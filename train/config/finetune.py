"""What the user decides about a backbone that learns too. The defaults are the paper's; `--preset modern` differs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from ...errors import UsageError, expect_values

if TYPE_CHECKING:
    from .config import DataConfig, LoopConfig

Learns = Literal["none", "layer4", "all"]
Source = Literal["auto", "crops", "videos", "maps"]


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Which part of the backbone learns, from which start, and from what it sees."""

    learns: Learns = "none"  # of the backbone: its last stage (layer4, whatever the encoder calls it), or all
    source: Source = (
        "auto"  # crops of the cache, videos (decoded again), or maps (layer3, for layer4); auto: what is fastest
    )
    weights: str = ""  # of the start: imagenet, synface, random, an encoder by name, a file or a run; empty: those of the cache's features
    normalize: str = ""  # of pixels, where a file of weights does not say it
    init: str = ""  # a run on the same folds whose models are the start
    rate: float = 1.0  # of the backbone, in learning rates of the head
    batch_norm: Literal["train", "frozen"] = "train"  # of the backbone
    head_first: int = 0  # epochs in which the head learns alone; none with `init`, whose head has learnt
    shift: float = 0.0  # up to this share of the side, for a whole clip
    zoom: float = 0.0  # up to this share, in or out
    brightness: float = 0.0  # up to this share, lighter or darker
    checkpointing: bool = False  # compute the backbone's stages twice rather than keep what they did: less memory
    workers: int = 0  # threads that decode; 0: the cores

    def __post_init__(self) -> None:
        expect_values(
            self,
            "finetune.",
            rate=(0, 1000),
            head_first=(0, 100_000),
            shift=(0, 0.5),
            zoom=(0, 0.5),
            brightness=(0, 0.9),
            workers=(0, 1024),
        )
        if self.source == "maps" and self.learns == "all":
            raise UsageError(
                "Maps are what layer3 made of the pixels: a backbone that learns as a whole needs the pixels.",
                remedy="--finetune layer4, or --set finetune.source=crops",
            )

    @property
    def on(self) -> bool:
        """Say whether any of the backbone learns."""
        return self.learns != "none"

    @property
    def augments(self) -> bool:
        """Say whether clips are moved, scaled or lit differently each time."""
        return max(self.shift, self.zoom, self.brightness) > 0

    def expect_possible(self, data: DataConfig, loop: LoopConfig) -> None:
        """Refuse what does not go together with a backbone that learns, and settings of one where none does."""
        if not self.on:
            changed = [item.name for item in fields(self) if getattr(self, item.name) != item.default]
            if changed:
                raise UsageError(
                    f"finetune.{', finetune.'.join(changed)}: a setting of --finetune, which is not asked for.",
                    remedy="--finetune all or --finetune layer4",
                )
            return
        if data.noise:
            raise UsageError(
                "data.noise is for features that stay, and with --finetune they change at every step.",
                remedy="leave data.noise out; --set finetune.shift=0.04 augments pixels",
            )
        if data.views:
            raise UsageError(
                "data.views are features that stay, and with --finetune they change at every step.",
                remedy="leave --views out; --set finetune.shift=0.06 augments pixels",
            )
        if loop.graph:
            raise UsageError(
                "loop.graph records steps on cached features, not those of a backbone.", remedy="--set loop.graph=false"
            )
