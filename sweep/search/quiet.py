"""What a retraining tells: the sweep has announced cache and folds already, so that only what happens while it trains is passed on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...cache.watch import Progress
from ...train.loop.watch import Part, Record, TrainingWatch


class TrainingAlone(TrainingWatch):
    """Passes on what is said between the begin of a training and its end."""

    def __init__(self, watch: TrainingWatch) -> None:
        self.watch = watch
        self._training = False

    def progress(self, progress: Progress) -> None:
        self.watch.progress(progress)

    def warn(self, text: str) -> None:
        if self._training:
            self.watch.warn(text)

    def begin(self, part: Part, *, epochs: int, steps: int, first_epoch: int) -> None:
        self._training = True
        self.watch.begin(part, epochs=epochs, steps=steps, first_epoch=first_epoch)

    def step(self, epoch: int, step: int) -> None:
        self.watch.step(epoch, step)

    def epoch(self, part: Part, record: Record) -> None:
        self.watch.epoch(part, record)

    def end(self, part: Part, result: Mapping[str, Any]) -> None:
        self.watch.end(part, result)
