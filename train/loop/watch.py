"""What a training reports besides messages: the part that starts, steps, a record per epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...cache.watch import Watch

Record = Mapping[str, Any]  # one epoch: epoch, learning_rate, loss, expression_loss, order_loss, train_right, …


@dataclass(frozen=True, kw_only=True)
class Part:
    """One training inside a run: one fold with one seed."""

    name: str  # fold1, or fold1-seed2 when there are several seeds: its folder
    fold: str
    seed: int
    index: int  # of all parts of the run
    total: int


class TrainingWatch(Watch):
    """Receives what a training reports, besides what every long work does."""

    def stopped(self, text: str) -> None:
        """The work was stopped; the text says how to resume it."""
        self.say(text)

    def begin(self, part: Part, *, epochs: int, steps: int, first_epoch: int) -> None:
        """A part starts, or resumes from an epoch."""

    def begin_together(self, parts: Sequence[Part], *, epochs: int, steps: int, first_epoch: int) -> None:
        """Several parts begin as one stack, whose steps are told once; epochs and steps are those of the longest."""
        for part in parts:
            self.begin(part, epochs=epochs, steps=steps, first_epoch=first_epoch)

    def step(self, epoch: int, step: int) -> None:
        """A step is done; called often."""

    def epoch(self, part: Part, record: Record) -> None:
        """An epoch is done."""

    def end(self, part: Part, result: Mapping[str, Any]) -> None:
        """A part is done and scored."""


def questions_of(record: Record) -> list[str]:
    """Return the further questions that a model answered in an epoch, besides the class."""
    names = (key.removesuffix("_right") for key in record if key.endswith("_right"))
    return [name for name in names if name not in ("train", "val", "test")]
