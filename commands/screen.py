"""What a command says: results on stdout, everything else on stderr; as JSON lines on stdout with `--json`.

On a terminal progress is a live bar; elsewhere it is a plain line every ten seconds, because a bar wrecks a log.
"""

from __future__ import annotations

import json as json_module
import sys
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import EstError

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_EVENTS = 1.0

Update = Callable[..., None]  # (done, total, note="")


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The one place that prints."""

    json: bool = False
    quiet: bool = False
    debug: bool = False

    def result(self, data: Mapping[str, Any], text: str) -> None:
        """Show what the command was called for: `data` to machines, `text` to people."""
        if self.json:
            self.event("result", data)
        else:
            print(text, flush=True)

    def note(self, text: str) -> None:
        """Say something by the way."""
        if self.json:
            self.event("note", {"message": text})
        elif not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Say something that the user should act on; not even --quiet silences it."""
        if self.json:
            self.event("warning", {"message": text})
        else:
            print(f"Warning: {text}", file=sys.stderr, flush=True)

    def error(self, error: EstError) -> int:
        """Show a user's error, its cause and its remedy; return its exit status."""
        if self.debug:
            traceback.print_exception(error, file=sys.stderr)
        cause = error.__cause__
        because = f"{type(cause).__name__}: {cause}" if cause is not None else None
        if self.json:
            data = {"kind": type(error).__name__, "message": error.message, "cause": because, "remedy": error.remedy}
            self.event("error", data)
        else:
            lines = [f"Error: {error.message}"]
            lines += [f"  cause: {because}"] if because else []
            lines += [f"  try: {error.remedy}"] if error.remedy else []
            print("\n".join(lines), file=sys.stderr, flush=True)
        return error.status

    def confirm(self, question: str) -> bool | None:
        """Ask on a terminal; None where there is nobody to ask."""
        if self.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return None
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().casefold() in ("y", "yes")

    @contextmanager
    def progress(self, what: str, unit: str) -> Generator[Update]:
        """Yield a function of (done, total) and perhaps a note that keeps the user informed."""
        if self.json:
            yield self._every(SECONDS_BETWEEN_EVENTS, lambda **state: self.event("progress", {"what": what, **state}))
        elif self.quiet:
            yield lambda done, total, note="": None
        elif sys.stderr.isatty():
            with _bar(what, unit) as update:
                yield update
        else:
            yield self._every(SECONDS_BETWEEN_LINES, lambda **state: print(_line(what, unit, **state), file=sys.stderr))

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Print a JSON line; for --json alone."""
        print(json_module.dumps({"event": kind, **data}, ensure_ascii=False, default=str), flush=True)

    @staticmethod
    def _every(interval: float, show: Callable[..., None]) -> Update:
        """Show the first state, the last one, and at most one an interval between them."""
        start = time.monotonic()
        shown = -interval

        def update(done: int, total: int, note: str = "") -> None:
            nonlocal shown
            elapsed = time.monotonic() - start
            if done == total or elapsed - shown >= interval:
                shown = elapsed
                show(done=done, total=total, seconds=round(elapsed, 1), note=note)

        return update


def _line(what: str, unit: str, *, done: int, total: int, seconds: float, note: str) -> str:
    """Format a plain line of progress."""
    line = f"{what}: {done}/{total} {unit}, {clock(seconds)}"
    if 0 < done < total and seconds > 0:
        line += f", {clock(seconds * (total - done) / done)} left"
    return f"{line} · {note}" if note else line


def clock(seconds: float) -> str:
    """Format a duration as 7s, 3:25 or 1:02:03."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest}s"


@contextmanager
def _bar(what: str, unit: str) -> Generator[Update]:
    """Show a live bar with rate and remaining time on the terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit} · {{task.fields[rate]}}"),
        TimeElapsedColumn(),
        TextColumn("· left"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, rate="")

        def update(done: int, total: int, note: str = "") -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=note or (f"{speed:.1f}/s" if speed else ""))

        yield update
