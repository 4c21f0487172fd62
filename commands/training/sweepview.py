"""What is shown of a sweep: a live table of the best so far on a terminal, a line now and then elsewhere, events with --json."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...cache.remote.address import shown
from ...errors import counted
from ...sweep.found.record import StudyRecord, Sweep
from ...sweep.found.table import lines, score_lines, settings_text
from ...sweep.search.watching import SweepWatch
from ..screen import Screen, clock
from ..watching import JsonWatch, LineWatch, LiveWatch, QuietWatch
from ..workview import now_and_then

if TYPE_CHECKING:
    from rich.console import RenderableType


@contextmanager
def watching_sweep(screen: Screen) -> Generator[SweepWatch]:
    """Yield the watch that suits the screen."""
    if screen.quiet:
        yield QuietSweep(screen)
    elif screen.json:
        yield JsonSweep(screen)
    elif sys.stderr.isatty():
        live = LiveSweep(screen)
        with live:
            yield live
    else:
        yield LineSweep(screen)


class QuietSweep(QuietWatch, SweepWatch):
    """Warnings alone."""


class JsonSweep(JsonWatch, SweepWatch):
    """An event after every few trials."""

    def trials(self, found: Sweep) -> None:
        for study in found.studies:
            best = study.best
            self.screen.event(
                "study",
                {
                    "study": study.name,
                    "ended": len(study.records) - study.running,
                    "running": study.running,
                    "best": best.value if best is not None else None,
                    "settings": dict(best.values) if best is not None else {},
                },
            )


class LineSweep(LineWatch, SweepWatch):
    """A line now and then."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen)
        self.last = 0.0
        self.begun = time.monotonic()
        self.first: int | None = None

    def trials(self, found: Sweep) -> None:
        if self.first is None:
            self.first = ended(found)
        now = time.monotonic()
        if now - self.last >= now_and_then(now - self.begun):
            self.last = now
            self.screen.note(self.state(found))

    def state(self, found: Sweep) -> str:
        """Return how far the sweep is: trials, their pace, the time that is left, the best of the folds."""
        done, total = ended(found), found.trials * len(found.studies)
        seconds = time.monotonic() - self.begun
        new = done - (self.first or 0)
        pace = f", {60 * new / seconds:.1f} a minute" if new and seconds > 0 else ""
        left = f", {clock(seconds * (total - done) / new)} left" if new and total > done else ""
        best = [
            study.best.value for study in found.studies_of(control=False) if study.best is not None and study.best.value
        ]
        mean = f"; best so far {sum(best) / len(best):.1%} (mean of {counted(len(best), 'fold')})" if best else ""
        under_way = sum(study.running for study in found.studies)
        running = f" and {under_way} under way" if under_way else ""
        return f"trials: {done}{f'/{total}' if total else ''}{running}{pace}{left}{mean}"


class LiveSweep(LiveWatch, LineSweep):
    """A table of the best trial of each study."""

    def __init__(self, screen: Screen) -> None:
        self.found: Sweep | None = None
        super().__init__(screen)

    def trials(self, found: Sweep) -> None:
        if self.first is None:
            self.first = ended(found)
        self.found = found

    def begin(self, *arguments: object, **settings: object) -> None:
        self.found = None  # a choice is trained again: its epochs are shown
        super().begin(*arguments, **settings)  # ty: ignore[invalid-argument-type]

    def render(self) -> RenderableType:
        """Draw what is known now."""
        if self.found is None:
            return super().render()
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        rows = [("study", "trials", "best", "settings of the best")]
        rows += [row(study, self.found) for study in self.found.studies]
        wide = sum(max(len(cells[column]) for cells in rows) + 2 for column in range(3))
        left = max(self.console.width - wide, 10)  # only settings are cut
        for name in rows[0]:
            table.add_column(name, no_wrap=True)
        for *cells, settings in rows[1:]:
            table.add_row(*cells, settings if len(settings) <= left else f"{settings[: left - 1]}…")
        return Group(table, Text(self.state(self.found), style="dim"))


def row(study: StudyRecord, found: Sweep) -> tuple[str, str, str, str]:
    """Return the cells of a study."""
    done, trials = len(study.records) - study.running, found.trials
    best = study.best
    count = f"{done}/{trials}" if trials else str(done)
    count += f" + {study.running}" if study.running else ""
    if best is None or best.value is None:
        return study.name, count, "", ""
    return study.name, count, f"{best.value:.1%}", settings_text(best, study, found)


def ended(found: Sweep) -> int:
    """Count the trials that have ended."""
    return sum(len(study.records) - study.running for study in found.studies)


def closing(found: Sweep, cache: Path, out: Path) -> list[str]:
    """Return what is said in the end: each study's best, the scores of the choices, and the commands that repeat them."""
    from ...sweep.search.retraining import BEST

    said = list(lines(found))
    paths = sorted((out / BEST).glob("*-inner*.toml"))
    if paths:
        said.append(
            "the chosen trainings alone, which repeat bit for bit from call to call (they are scored on their test halves, too):"
        )
        said += [f"  {repeat_command(cache, path)}" for path in paths[:3]]
        if len(paths) > 3:
            said.append(f"  and {len(paths) - 3} more in {out / BEST}")
    said += score_lines(found)
    if found.retrained is None:
        said.append("--retrain-best trains each fold's choice on its whole training half, and scores it once")
    return said


def repeat_command(cache: Path, config: Path) -> str:
    """Return the command that trains what a configuration file says."""
    return shlex.join(["est", "train", "--cache", shown(cache), "--config", str(config)])
