"""The trainings of an audit, shown as one long work: places among all trainings, what has been said once, the time that all will take."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...cache.watch import Progress
from ...train.loop.watch import Part, Record, TrainingWatch


class AuditWatch(TrainingWatch):
    """Passes on what runs report. What a run says of itself is passed on until training begins: the others would say it again."""

    def __init__(self, watch: TrainingWatch, total: int, done: int) -> None:
        self.watch, self.total, self.left = watch, total, total - done
        self._name, self._before = "", 0
        self._begun = self._estimated = False
        self._since, self._first, self._epochs = 0.0, 1, 1

    def enter(self, name: str, before: int) -> None:
        """Go on to a run; `before` trainings stand before its own."""
        self._name, self._before = name, before

    def progress(self, progress: Progress) -> None:
        self.watch.progress(progress)

    def say(self, text: str) -> None:
        if not self._begun:
            self.watch.say(text)

    def warn(self, text: str) -> None:
        if not self._name:
            self.watch.warn(text)

    def begin(self, part: Part, *, epochs: int, steps: int, first_epoch: int) -> None:
        self._begun = True
        self._since, self._first, self._epochs = time.monotonic(), first_epoch, epochs
        self.watch.begin(self._placed(part), epochs=epochs, steps=steps, first_epoch=first_epoch)

    def step(self, epoch: int, step: int) -> None:
        self.watch.step(epoch, step)

    def epoch(self, part: Part, record: Record) -> None:
        done = record["epoch"] - self._first + 1
        if not self._estimated and (done == 2 or record["epoch"] == self._epochs):  # the first one alone is slow
            self._estimated = True
            each = (time.monotonic() - self._since) / done * self._epochs
            self.watch.say(f"{self.left} trainings of about {duration(each)}: {duration(self.left * each)}")
        self.watch.epoch(self._placed(part), record)

    def end(self, part: Part, result: Mapping[str, Any]) -> None:
        self.watch.end(self._placed(part), {**result, "part": self._placed(part).name})

    def _placed(self, part: Part) -> Part:
        name = f"{self._name}, {part.name}" if self._name else part.name
        return replace(part, name=name, index=self._before + part.index, total=self.total)


def duration(seconds: float) -> str:
    """Write a time as 0.8 s, 12 s, 6 min or 2.5 h."""
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
