"""The display of counted work: how much is done, how long it still takes, what it waits for.

The time that is left follows from all that was finished since the work began in earnest, so that loading before it does not count, nor
that clips of one batch are finished together. Nothing is said before the first is finished, and no bar is drawn of an unknown number.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..cache.watch import Progress
from .screen import clock

if TYPE_CHECKING:
    from rich.console import RenderableType

BAR = 40  # columns


def every_second(elapsed: float) -> float:
    """Return the seconds between JSON events."""
    return 1.0


def now_and_then(elapsed: float) -> float:
    """Return the seconds between lines of a log: ten at first, a minute after ten minutes, so that a night's log can be read."""
    return min(max(elapsed / 10, 10.0), 60.0)


class Pace:
    """Follows counted work: how long it takes, how long still, and which of its states are shown.

    Those are the first of each work, the last one, and between them one an interval at most.
    """

    def __init__(self, interval: Callable[[float], float]) -> None:
        self._interval = interval
        self._what = ""
        self._start = self._told = time.monotonic()
        self._first = (0.0, 0)  # when the counting began, and what was finished then
        self._finished = 0
        self._shown = -math.inf
        self._left: float | None = None  # when it was told last

    def take(self, progress: Progress) -> bool:
        """Take in a state; say whether it is to be shown."""
        now, finished = time.monotonic(), progress.done + progress.ahead
        if progress.what != self._what:  # it began where the one before it ended
            self._what, self._start, self._shown = progress.what, self._told, -math.inf
            self._first = (self._start if finished else now, 0)
        elif not finished and not progress.seconds:  # what comes before, such as the start of workers
            self._first = (now, 0)
        elif finished < self._finished:  # the next of several lists, such as the frames of another video
            self._first = (now, finished)
        self._told, self._finished = now, finished
        self._left = None
        begun, before = self._first
        if before < finished < progress.total:
            self._left = (now - begun) * (progress.total - finished) / (finished - before)
        if progress.done != progress.total and now - self._shown < self._interval(now - self._start):
            return False
        self._shown = now
        return True

    @property
    def elapsed(self) -> float:
        """Return the seconds that the work has taken."""
        return time.monotonic() - self._start

    @property
    def left(self) -> float | None:
        """Return the seconds that it still takes; None if not known."""
        return None if self._left is None else max(self._left - (time.monotonic() - self._told), 0.0)

    def words(self, progress: Progress) -> str:
        """Return how much is done, since when, and how long it still takes."""
        left = self.left
        parts = [progress.counts(), clock(self.elapsed), *([f"{clock(left)} left"] if left is not None else [])]
        return ", ".join(parts)


def line_of(progress: Progress, pace: Pace) -> str:
    """Format a plain line of progress."""
    return " · ".join(filter(None, (f"{progress.what}: {pace.words(progress)}", progress.note())))


def bar_of(progress: Progress, pace: Pace) -> RenderableType:
    """Draw a bar, where the total is known, and below it what else is known."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 1, 0, 0))
    bar = [ProgressBar(total=progress.total, completed=progress.done, width=BAR)] if progress.total else []
    row.add_row(Text(progress.what, no_wrap=True), *bar, Text(pace.words(progress), no_wrap=True))
    note = progress.note()
    return Group(row, Text(note, style="dim", no_wrap=True, overflow="ellipsis")) if note else row
