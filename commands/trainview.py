"""What is shown of a training: how much is left, the figures of an epoch, the scores of a part.

A test score that is shown while a model trains is for curves alone: the result is that of the selected epoch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..train.config.loss import BESIDE
from ..train.loop.watch import Part, Record, questions_of
from .screen import clock

SLOW = 10  # clips a second, below which a decimal counts


class Left:
    """How much is left, by the speed so far of this process."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.training = 0.0  # since when: loading says nothing about the speed of steps
        self.warm = 0.0  # when the first step had ended, which takes longer than others
        self.total = self.done = self.before = self.taken = 0
        self.steps = 1

    def begin(self, part: Part, epochs: int, steps: int, first_epoch: int) -> None:
        self.training = self.training or time.monotonic()
        self.steps = steps
        self.total = part.total * epochs * steps  # parts are about alike
        self.before = part.index * epochs * steps
        self.done = (first_epoch - 1) * steps

    def step(self, epoch: int, step: int) -> None:
        self.done = epoch * self.steps + step
        self.taken += 1
        if self.taken == 1:
            self.warm = time.monotonic()

    def steps_done(self) -> int:
        return self.before + self.done

    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def text(self) -> str:
        """Return the time that is left, or nothing if it is not known."""
        left = self.total - self.steps_done()
        if not self.taken or not left:
            return ""
        since, taken = (self.warm, self.taken - 1) if self.taken > 1 else (self.training, 1)
        return clock(left * (time.monotonic() - since) / taken)


def title(part: Part) -> str:
    """Name a part, and its place among all."""
    return part.name if part.total == 1 else f"{part.name} ({part.index + 1} of {part.total})"


def joined(parts: Sequence[Part]) -> Part:
    """Return parts that are trained as one stack as one, the first of which stands for its figures."""
    first, size = parts[0], len(parts)
    name = f"{first.name} and {size - 1} more"
    return replace(first, name=name, index=first.index // size, total=-(-first.total // size))


def cells(record: Record) -> dict[str, str]:
    """Return what is shown of an epoch."""
    shown = {
        "epoch": str(record["epoch"]),
        "lr": f"{record['learning_rate']:.1e}",
        "loss": f"{record['loss']:.3f}",
        "train WAR": f"{record['train_right'] / record['train_clips']:.1%}",
    }
    for name in BESIDE:
        if f"{name}_loss" in record:
            shown[f"{name} loss"] = f"{record[f'{name}_loss']:.3f}"
    for question in questions_of(record):
        shown[question] = f"{record[f'{question}_right'] / record['train_clips']:.1%}"
    for half in ("val", "test"):
        if f"{half}_right" in record:
            shown[f"{half} WAR"] = f"{record[f'{half}_right'] / record[f'{half}_clips']:.1%}"
            shown[f"{half} UAR"] = f"{record[f'{half}_uar']:.1%}"
    for unit in ("clips", "frames"):  # an encoder alone learns from frames
        if (rate := record.get(f"{unit}_per_second")) is not None:
            shown[f"{unit}/s"] = f"{rate:.0f}" if rate >= SLOW else f"{rate:.1f}"
    if "waited" in record:  # for pictures or maps
        shown["waiting"] = f"{record['waited'] / max(record['seconds'], 1e-9):.0%}"
    return shown


def ending(result: Mapping[str, Any]) -> str:
    """Format the result of a part."""
    line = f"WAR {result['war']:.1%} ({result['right']}/{result['total']}), UAR {result['uar']:.1%}"
    if "control" in result:
        line += f", control {result['control']['war']:.1%}"
    return f"{line}, epoch {result['selected']['epoch']}, {clock(result['seconds'])}"
