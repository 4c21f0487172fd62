"""What is minimised besides plain cross-entropy: the section [loss] of a run. Everything in it is off by default, as in the paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import UsageError, expect_range, expect_values

if TYPE_CHECKING:
    from .config import DataConfig, LoopConfig

BESIDE = CONTRASTIVE, COMPACT, CENTRE = (
    "contrastive",
    "compact",
    "centre",
)  # names by which history and curves know them


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Changes of the loss of the classes, and losses beside it with their weights; 0 is off."""

    focal: float = 0.0  # γ: how much less counts what is nearly right (Lin et al. 2017)
    effective_number: float = 0.0  # β of class weights (Cui et al. 2019)
    adjustment: float = 0.0  # τ: how much of the classes' log prior is added to logits in training (Menon et al. 2021)
    contrastive: float = 0.0  # weight of the supervised contrastive loss (Khosla et al. 2020)
    temperature: float = 0.1  # of the contrastive loss
    compact: float = 0.0  # weight of a reconstruction of STT's compact loss
    centre: float = 0.0  # weight of the centre loss (Wen et al. 2016)
    centre_rate: float = 10.0  # of the learning rate: centres learn so many times as fast as the model

    def __post_init__(self) -> None:
        expect_values(
            self,
            "loss.",
            focal=(0, 10),
            adjustment=(0, 10),
            contrastive=(0, 1000),
            temperature=(0.001, 100),
            compact=(0, 1000),
            centre=(0, 1000),
            centre_rate=(0, 10_000),
        )
        expect_range(
            "loss.effective_number", self.effective_number, 0, 0.999999, default=0.99
        )  # its default, 0, is off
        if self.compact and self.centre:
            raise UsageError(
                "loss.compact and loss.centre both hold clips at centres of their classes.",
                remedy="--set loss.compact=0 or --set loss.centre=0",
            )

    @property
    def terms(self) -> Mapping[str, float]:
        """Return the losses beside those of the model, and how much each counts."""
        weights = {CONTRASTIVE: self.contrastive, COMPACT: self.compact, CENTRE: self.centre}
        return {name: weight for name, weight in weights.items() if weight}

    @property
    def has_centres(self) -> bool:
        """Return whether centres are learnt."""
        return bool(self.compact or self.centre)

    @property
    def changes_classes(self) -> bool:
        """Return whether the loss of the classes is not a plain cross-entropy, and cannot be compared with ln(classes)."""
        return bool(self.focal or self.effective_number or self.adjustment)

    def expect_possible(self, data: DataConfig, loop: LoopConfig) -> None:
        """Refuse losses that do not go with other settings."""
        corrections = {
            "--balanced": data.balanced,
            "--class-weights": data.class_weights,
            "loss.effective_number": self.effective_number,
            "loss.adjustment": self.adjustment,
        }
        chosen = [name for name, on in corrections.items() if on]
        if len(chosen) > 1:
            raise UsageError(
                f"{' and '.join(chosen)} each correct for rare classes; together they would correct twice.",
                remedy=f"keep one of them, {chosen[0]} or {chosen[1]}",
            )
        if self.contrastive and data.mixup:
            raise UsageError(
                "loss.contrastive compares clips of one class with others, and data.mixup makes clips of two classes.",
                remedy="--set data.mixup=0, or --set loss.contrastive=0",
            )
        if self.contrastive and loop.batch < 2:
            raise UsageError("loss.contrastive compares the clips of a batch, found one.", remedy="--batch 8")
