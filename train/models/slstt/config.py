"""The settings of SLSTT's trainable half."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ....errors import expect_values
from ..contract import CLIPS_FOR_SIZES, MANY, SHARE, AllFrames, Architecture, ModelConfig, Training, flag

Aggregation = Literal["lstm", "mean"]

SMALL: Mapping[str, Any] = {"layers": 1, "hidden": 64, "classifier_hidden": 64}
# As the released code runs: its cosine schedule is overwritten when an epoch begins, which leaves 0.01 for epochs 1 to 29, then 0.001.
PUBLISHED: Mapping[str, Any] = {
    "loop.optimizer": "sgd",
    "loop.momentum": 0.9,
    "loop.learning_rate": 0.01,
    "loop.weight_decay": 1e-4,
    "loop.schedule": "step",
    "loop.step_epochs": 29,
    "loop.step_factor": 0.1,
    "loop.warmup": 0,
    "loop.epochs": 40,
    "loop.batch": 2,
}
# What a sweep varies by default.
SEARCH_DROPOUT = (0.0, 0.2, 0.5)
SEARCH_HIDDEN = (256, 512)  # with CLIPS_FOR_SIZES


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """What `build` builds. Published: all 11 frames of a clip, three layers of 512 numbers, 256 before the classes, no dropout."""

    name: ClassVar[str] = "slstt"
    title: ClassVar[str] = "SLSTT"
    source: ClassVar[str] = "Zhang et al., IEEE TAFFC 2022"
    architecture: ClassVar[Architecture] = "parity-checked"
    published_training: ClassVar[Training] = "frozen encoder"
    published_modality: ClassVar[str] = "flow"
    own_in_stack: ClassVar[tuple[str, ...] | None] = ("dropout",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": SMALL, "published": PUBLISHED}

    aggregation: Aggregation = flag(
        "lstm", "--aggregation", "lstm: the last state of an LSTM; mean: of the logits of the frames. [default: lstm]"
    )
    layers: int = flag(3, "--layers", "Layers of the LSTM. [default: 3]")
    hidden: int = flag(512, "--hidden", "Numbers in a state. [default: 512]")
    classifier_hidden: int = 256  # between the last state and the classes
    most_frames: int = 11  # of a longer clip so many, evenly
    dropout: float = 0.0  # before the classes

    def __post_init__(self) -> None:
        sizes = dict.fromkeys(("layers", "hidden", "classifier_hidden", "most_frames"), MANY)
        expect_values(self, "model.", dropout=SHARE, **sizes)

    @property
    def shown(self) -> AllFrames:
        """Return all frames."""
        return AllFrames(most=self.most_frames)

    @property
    def told(self) -> tuple[str, ...]:
        """Return the mask: frames that a clip leaves over, or that show no face, are passed over."""
        return ("mask",)

    def search_space(self, clips: int) -> Mapping[str, Any]:
        """Return the dropout and the numbers in a state; with few clips the sizes of the preset small if they are not set."""
        found: dict[str, Any] = {"dropout": sorted({*SEARCH_DROPOUT, self.dropout})}
        if clips >= CLIPS_FOR_SIZES:
            return found | {"hidden": sorted({*SEARCH_HIDDEN, self.hidden})}
        own = any(getattr(self, name) != getattr(type(self), name) for name in SMALL)
        return found if own else found | dict(SMALL)
