"""How a training is watched: a live table on a terminal, plain lines elsewhere, JSON events with --json.

A test score that is shown while a model trains is for curves alone: the result is that of the selected epoch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..train.loop.watch import Part, Record, Watch, questions_of
from .screen import SECONDS_BETWEEN_LINES, Screen, clock

if TYPE_CHECKING:
    from rich.console import RenderableType

ROWS = 8  # epochs that the table shows
SLOW = 10  # clips a second, below which a decimal counts


@contextmanager
def watching(screen: Screen) -> Generator[Watch]:
    """Yield the watch that suits the screen."""
    if screen.json:
        yield JsonWatch(screen)
    elif screen.quiet:
        yield QuietWatch(screen)
    elif sys.stderr.isatty():
        with LiveWatch(screen) as watch:
            yield watch
    else:
        yield LineWatch(screen)


class QuietWatch(Watch):
    """Warnings only."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen

    def warn(self, text: str) -> None:
        self.screen.warn(text)


class JsonWatch(QuietWatch):
    """An event for everything but steps."""

    def say(self, text: str) -> None:
        self.screen.note(text)

    def begin(self, part: Part, *, epochs: int, steps: int, first_epoch: int) -> None:
        self.screen.event("part", {**vars(part), "epochs": epochs, "steps": steps, "first_epoch": first_epoch})

    def epoch(self, part: Part, record: Record) -> None:
        self.screen.event("epoch", {"part": part.name, **record})

    def end(self, part: Part, result: Mapping[str, Any]) -> None:
        self.screen.event("part_result", result)


class LineWatch(QuietWatch):
    """A line now and then."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen)
        self.epochs = 0
        self.left = Left()
        self.shown = float("-inf")

    def say(self, text: str) -> None:
        self.screen.note(text)

    def begin(self, part: Part, *, epochs: int, steps: int, first_epoch: int) -> None:
        self.epochs = epochs
        self.left.begin(part, epochs, steps, first_epoch)

    def step(self, epoch: int, step: int) -> None:
        self.left.step(epoch, step)

    def epoch(self, part: Part, record: Record) -> None:
        last = record["epoch"] == self.epochs
        if last or time.monotonic() - self.shown >= SECONDS_BETWEEN_LINES:
            self.shown = time.monotonic()
            words = [f"{name} {value}" for name, value in cells(record).items() if value]
            left = self.left.text()
            self.screen.note(f"{title(part)}: {', '.join(words)}" + (f", {left} left" if left else ""))

    def end(self, part: Part, result: Mapping[str, Any]) -> None:
        self.screen.note(f"{title(part)}: {ending(result)}")


class LiveWatch(LineWatch):
    """The last epochs of the part under way, and how long everything will take."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen)
        from rich.console import Console
        from rich.live import Live

        self.part: Part | None = None
        self.records: list[Record] = []
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, refresh_per_second=8, get_renderable=self.render, transient=True)

    def __enter__(self) -> LiveWatch:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)

    def warn(self, text: str) -> None:
        self.console.print(f"Warning: {text}", style="yellow", highlight=False, markup=False)

    def begin(self, part: Part, *, epochs: int, steps: int, first_epoch: int) -> None:
        super().begin(part, epochs=epochs, steps=steps, first_epoch=first_epoch)
        self.part, self.records = part, []

    def epoch(self, part: Part, record: Record) -> None:
        self.records = [*self.records, record][-ROWS:]

    def end(self, part: Part, result: Mapping[str, Any]) -> None:
        self.say(f"{title(part)}: {ending(result)}")

    def render(self) -> RenderableType:
        """Draw what is known now."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        if self.part is None:
            return Text("")
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        rows = [cells(record) for record in self.records]
        # not every epoch is scored: the one with most to show names the columns
        columns = list(max(rows, key=len, default=["epoch"]))
        for name in columns:
            table.add_column(name, justify="right", style="bold" if name.startswith("test") else "")
        for row in rows:
            table.add_row(*(row.get(name, "") for name in columns))
        done, total = self.left.steps_done(), self.left.total
        line = (
            f"{title(self.part)} · {done}/{total} steps · {clock(self.left.elapsed())} · {self.left.text() or '–'} left"
        )
        below = Table.grid(padding=(0, 2, 0, 0))
        below.add_row(ProgressBar(total=max(total, 1), completed=done, width=40), Text(line, style="dim"))
        return Group(table, below)


class Left:
    """How much is left, by the speed so far of this process."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.training = 0.0  # since when: loading says nothing about the speed of steps
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

    def steps_done(self) -> int:
        return self.before + self.done

    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def text(self) -> str:
        """Return the time that is left, or nothing when nobody can know."""
        left = self.total - self.steps_done()
        return clock(left * (time.monotonic() - self.training) / self.taken) if self.taken and left else ""


def title(part: Part) -> str:
    """Name a part, and its place among all."""
    return part.name if part.total == 1 else f"{part.name} ({part.index + 1} of {part.total})"


def cells(record: Record) -> dict[str, str]:
    """Return what is shown of an epoch."""
    shown = {
        "epoch": str(record["epoch"]),
        "lr": f"{record['learning_rate']:.1e}",
        "loss": f"{record['loss']:.3f}",
        "train WAR": f"{record['train_right'] / record['train_clips']:.1%}",
    }
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
    """Say what a part came to."""
    line = f"WAR {result['war']:.1%} ({result['right']}/{result['total']}), UAR {result['uar']:.1%}"
    if "control" in result:
        line += f", control {result['control']['war']:.1%}"
    return f"{line}, epoch {result['selected']['epoch']}, {clock(result['seconds'])}"
