"""What the user decides about a backbone that learns too. The defaults are the paper's; `--preset modern` differs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from ...errors import UsageError, expect_values
from ..models.contract import CROPS

if TYPE_CHECKING:
    from ..models.contract import ModelConfig
    from .config import DataConfig, LoopConfig

Learns = Literal["none", "layer4", "all"]
Source = Literal["auto", "crops", "videos", "maps"]

# What counts though no backbone learns: with a model that holds the last stage of one, and with one that reads crops.
OF_LAST_STAGE = ("weights", "normalize", "batch_norm")
OF_CROPS = ("source", "weights", "shift", "zoom", "brightness", "workers")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Which part of the backbone learns, from which start, and from what it sees."""

    learns: Learns = "none"  # of the backbone: its last stage (layer4, whatever the encoder calls it), or all
    source: Source = (
        "auto"  # crops of the cache, videos (decoded again), or maps (layer3, for layer4); auto: what is fastest
    )
    # Of the start, also of a model that holds a last stage or reads crops: imagenet, synface, random, an encoder by name, a file or a
    # run; empty: those of the cache's features.
    weights: str = ""
    normalize: str = ""  # of pixels, where a file of weights does not say it
    init: str = ""  # a run on the same folds whose models are the start
    rate: float = 1.0  # of the backbone, in learning rates of the head
    batch_norm: Literal["train", "frozen"] = "train"  # of the backbone, and of the last stage that a model holds
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
        """Return whether any of the backbone learns."""
        return self.learns != "none"

    @property
    def augments(self) -> bool:
        """Return whether clips are moved, scaled or lit differently each time."""
        return max(self.shift, self.zoom, self.brightness) > 0

    def expect_possible(self, model: ModelConfig, data: DataConfig, loop: LoopConfig) -> None:
        """Refuse what does not go together with a backbone that learns, and settings of one where none does."""
        if not self.on:
            self._expect_used(model)
            return
        self._expect_before(model)
        if model.class_file is not None:
            raise UsageError(
                f"{model.name} with class vectors of a file goes with cached features, and --finetune starts from an encoder.",
                remedy="leave out --class-vectors or --finetune",
            )
        if data.noise:
            raise UsageError(
                "data.noise is for fixed features, and with --finetune they change at every step.",
                remedy="leave data.noise out; --set finetune.shift=0.04 augments pixels",
            )
        if data.views:
            raise UsageError(
                "data.views are fixed features, and with --finetune they change at every step.",
                remedy="leave --views out; --set finetune.shift=0.06 augments pixels",
            )
        if loop.graph:
            raise UsageError(
                "loop.graph records steps on cached features, not those of a backbone.", remedy="--set loop.graph=false"
            )

    def _expect_used(self, model: ModelConfig) -> None:
        """Refuse settings of a backbone that learns where none does; some are of models that hold a part of one, or look at crops."""
        used = OF_LAST_STAGE if model.last_stage else OF_CROPS if model.reads == CROPS else ()
        changed = [
            item.name for item in fields(self) if getattr(self, item.name) != item.default and item.name not in used
        ]
        if changed and model.reads == CROPS:
            raise UsageError(
                f"finetune.{', finetune.'.join(changed)}: a setting of --finetune, and {model.name} has no backbone before it.",
                remedy=f"leave it out; of [finetune] the settings {', '.join(OF_CROPS)} count",
            )
        if changed:
            raise UsageError(
                f"finetune.{', finetune.'.join(changed)}: a setting of --finetune, which is not asked for.",
                remedy="--finetune all or --finetune layer4",
            )

    def _expect_before(self, model: ModelConfig) -> None:
        """Refuse to put a backbone before a model that it cannot stand before."""
        if model.reads == CROPS:
            raise UsageError(
                f"{model.name} reads crops and is trained as a whole: it has no backbone before it.",
                remedy="leave out --finetune",
            )
        if model.of_windows:
            raise UsageError(
                f"{model.name} reads windows, which an encoder of frames does not make.", remedy="leave out --finetune"
            )
        if model.reads and self.learns == "layer4":
            own = "; its own layer4 learns in every training" if model.last_stage else ""
            raise UsageError(
                f"--finetune layer4 is for models that read gap, and {model.name} reads {model.reads}{own}.",
                remedy="leave out --finetune to learn from cached maps, or --finetune all to learn end to end from crops",
            )
