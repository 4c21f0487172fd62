"""The output of a command: results on stdout, everything else on stderr; as JSON lines on stdout with `--json`."""

from __future__ import annotations

import json as json_module
import sys
import traceback
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import EstError, brief

if TYPE_CHECKING:
    from ..train.loop.watch import TrainingWatch


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The one place that prints."""

    json: bool = False
    quiet: bool = False
    debug: bool = False

    def watching(self) -> AbstractContextManager[TrainingWatch]:
        """Return what watches long work for this screen (watching.py)."""
        from .watching import watching  # here: `est --help` watches nothing

        return watching(self)

    @contextmanager
    def resumable(self) -> Generator[None]:
        """Show, when the work is interrupted, that the same command resumes it; with --quiet too."""
        try:
            yield
        except KeyboardInterrupt:
            replace(self, quiet=False).note("stopped; running the same command again resumes")
            raise

    def result(self, data: Mapping[str, Any], text: str) -> None:
        """Show the result of the command: `data` with --json, else `text`."""
        if self.json:
            self.event("result", data)
        else:
            print(text, flush=True)

    def note(self, text: str) -> None:
        """Show a message; nothing with --quiet."""
        if self.quiet:
            return
        if self.json:
            self.event("note", {"message": text})
        else:
            print(text, file=sys.stderr, flush=True)

    def aside(self, text: str) -> None:
        """Show text on stderr; nothing with --json."""
        print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Show a warning; with --quiet too."""
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
            told = _words(cause, error.message)
            lines += [f"  cause: {told}"] if told else []
            lines += [f"  try: {error.remedy}"] if error.remedy else []
            print("\n".join(lines), file=sys.stderr, flush=True)
        return error.status

    def confirm(self, question: str) -> bool | None:
        """Ask on a terminal; None without a terminal."""
        if self.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return None
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().casefold() in ("y", "yes")

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Print a JSON line; for --json alone."""
        print(json_module.dumps({"event": kind, **data}, ensure_ascii=False, default=str), flush=True)


def _words(cause: BaseException | None, message: str) -> str:
    """Return a cause as text; empty if the message has it. A class is named only where its words alone are none."""
    if cause is None:
        return ""
    words = brief(cause) if str(cause).strip() else ""
    if words and words.rstrip(".") in " ".join(message.split()):
        return ""
    return words if " " in words else f"{type(cause).__name__}: {words}".removesuffix(": ")


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay cells out in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def clock(seconds: float) -> str:
    """Format a duration as 7s, 3:25 or 1:02:03."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest}s"
