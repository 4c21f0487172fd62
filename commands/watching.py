"""How long work is watched: a live bar or table on a terminal, plain lines elsewhere, JSON events with --json.

Elsewhere than on a terminal there is a line now and then (`workview`), because a bar wrecks a log.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..cache.watch import Progress
from ..train.loop.watch import Part, Record, TrainingWatch
from .screen import Screen, clock
from .trainview import Left, cells, ending, joined, title
from .workview import Pace, bar_of, every_second, line_of, now_and_then

if TYPE_CHECKING:
    from rich.console import RenderableType

ROWS = 8  # epochs that the table shows


@contextmanager
def watching(screen: Screen) -> Generator[TrainingWatch]:
    """Yield the watch that suits the screen."""
    if screen.quiet:
        yield QuietWatch(screen)
    elif screen.json:
        yield JsonWatch(screen)
    elif sys.stderr.isatty():
        with LiveWatch(screen) as watch:
            yield watch
    else:
        yield LineWatch(screen)


class QuietWatch(TrainingWatch):
    """Sentences and warnings; of these the screen leaves out the sentences with --quiet."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen

    def say(self, text: str) -> None:
        self.screen.note(text)

    def warn(self, text: str) -> None:
        self.screen.warn(text)

    def stopped(self, text: str) -> None:
        replace(self.screen, quiet=False).note(
            text
        )  # after an interruption it is shown how to resume, with --quiet too


class JsonWatch(QuietWatch):
    """An event for everything but steps; at most one a second for progress."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen)
        self.pace = Pace(every_second)

    def progress(self, progress: Progress) -> None:
        if self.pace.take(progress):
            state = {"what": progress.what, "done": progress.done, "total": progress.total}
            left = self.pace.left
            times = {"seconds": round(self.pace.elapsed, 1), "left": None if left is None else round(left, 1)}
            self.screen.event("progress", {**state, **times, "queued": progress.queued, "note": progress.note()})

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
        self.pace = Pace(now_and_then)
        self.epochs = 0
        self.left = Left()
        self.shown = -math.inf
        self.beside: set[str] = set()  # parts of a stack that are not shown

    def progress(self, progress: Progress) -> None:
        if self.pace.take(progress):
            self.screen.note(line_of(progress, self.pace))

    def begin(self, part: Part, *, epochs: int, steps: int, first_epoch: int) -> None:
        self.epochs, self.beside = epochs, set()
        self.left.begin(part, epochs, steps, first_epoch)

    def begin_together(self, parts: Sequence[Part], *, epochs: int, steps: int, first_epoch: int) -> None:
        self.begin(joined(parts), epochs=epochs, steps=steps, first_epoch=first_epoch)
        self.beside = {part.name for part in parts[1:]}

    def step(self, epoch: int, step: int) -> None:
        self.left.step(epoch, step)

    def epoch(self, part: Part, record: Record) -> None:
        if part.name in self.beside:  # of a stack one is shown
            return
        last = record["epoch"] == self.epochs
        if last or time.monotonic() - self.shown >= now_and_then(self.left.elapsed()):
            self.shown = time.monotonic()
            words = [f"{name} {value}" for name, value in cells(record).items() if value]
            left = self.left.text()
            self.screen.note(f"{title(part)}: {', '.join(words)}" + (f", {left} left" if left else ""))

    def end(self, part: Part, result: Mapping[str, Any]) -> None:
        self.screen.note(f"{title(part)}: {ending(result)}")


class LiveWatch(LineWatch):
    """A bar; or the last epochs of the part under way, and how long everything will take."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen)
        from rich.console import Console
        from rich.live import Live

        self.work: Progress | None = None
        self.part: Part | None = None
        self.records: list[Record] = []
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, refresh_per_second=8, get_renderable=self.render, transient=True)

    def __enter__(self) -> LiveWatch:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end_work()
        self.live.stop()

    def progress(self, progress: Progress) -> None:
        if self.work is not None and progress.what != self.work.what:
            self.end_work()
        self.pace.take(progress)
        self.work = progress

    def end_work(self) -> None:
        """Leave the last state of counted work on the terminal, and count the time of what follows again."""
        if self.work is not None:
            self.console.print(bar_of(self.work, self.pace))
            self.work, self.left = None, Left()

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)

    def warn(self, text: str) -> None:
        self.console.print(f"Warning: {text}", style="yellow", highlight=False, markup=False)

    def begin(self, part: Part, *, epochs: int, steps: int, first_epoch: int) -> None:
        self.end_work()
        super().begin(part, epochs=epochs, steps=steps, first_epoch=first_epoch)
        self.part, self.records = part, []

    def epoch(self, part: Part, record: Record) -> None:
        if part.name not in self.beside:
            self.records = [*self.records, record][-ROWS:]

    def end(self, part: Part, result: Mapping[str, Any]) -> None:
        self.say(f"{title(part)}: {ending(result)}")

    def render(self) -> RenderableType:
        """Draw what is known now."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        if (work := self.work) is not None:
            return bar_of(work, self.pace)
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
