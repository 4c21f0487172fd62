"""The trainings of several tables, shown as one long work: the name of the run before each part, and its place among all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...cache.watch import Progress
from ...train.loop.watch import Part, Record, TrainingWatch


class RowWatch(TrainingWatch):
    """Passes on what runs report. What a run says of itself is passed on until training begins: the others would say it again."""

    def __init__(self, watch: TrainingWatch, total: int) -> None:
        self.watch, self.total = watch, total
        self._name, self._before, self._size = "", 0, 0
        self._begun = False
        self._warned: set[str] = set()

    def enter(self, name: str, parts: int) -> None:
        """Go on to a run of so many trainings."""
        self._before += self._size
        self._name, self._size = name, parts

    def progress(self, progress: Progress) -> None:
        self.watch.progress(progress)

    def say(self, text: str) -> None:
        if not self._begun:
            self.watch.say(text)

    def warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.watch.warn(text)

    def begin(self, part: Part, *, epochs: int, steps: int, first_epoch: int) -> None:
        self._begun = True
        self.watch.begin(self._placed(part), epochs=epochs, steps=steps, first_epoch=first_epoch)

    def begin_together(self, parts: Sequence[Part], *, epochs: int, steps: int, first_epoch: int) -> None:
        self._begun = True
        placed = [self._placed(part) for part in parts]
        self.watch.begin_together(placed, epochs=epochs, steps=steps, first_epoch=first_epoch)

    def step(self, epoch: int, step: int) -> None:
        self.watch.step(epoch, step)

    def epoch(self, part: Part, record: Record) -> None:
        self.watch.epoch(self._placed(part), record)

    def end(self, part: Part, result: Mapping[str, Any]) -> None:
        self.watch.end(self._placed(part), {**result, "part": self._placed(part).name})

    def _placed(self, part: Part) -> Part:
        return replace(
            part, name=f"{self._name}, {part.name}", index=self._before + part.index, total=max(self.total, 1)
        )


class Silent(TrainingWatch):
    """Passes on warnings alone, each once."""

    def __init__(self, watch: TrainingWatch) -> None:
        self.watch = watch
        self._warned: set[str] = set()

    def warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.watch.warn(text)
