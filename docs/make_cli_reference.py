"""Write docs/cli.md from the help of every command, as --help-all shows it; with --check only say whether it is current."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import typer

from est.cli import app
from est.commands.panels import whole_help

PAGE = Path(__file__).parent / "cli.md"
WIDTH = 100

INTRODUCTION = """\
# Command line

Written by `make docs` from the help of the commands themselves; `make test` checks that it is current.

Results go to stdout, progress and messages to stderr. With `--json` stdout carries JSON lines only, each with an `event`:
`progress`, `note`, `warning`, `result` or `error`.

Commands with many options show the daily ones with `--help` and all of them, as below, with `--help-all`. Some options have a second name,
which other tools use: `--output` is `--out`, `--batch-size` is `--batch`, `--learning-rate` is `--lr`, `--num-workers` is `--workers`.

| exit status | meaning |
|---|---|
| 0 | all good |
| 1 | failed |
| 2 | wrong usage |
| 3 | finished, but some inputs failed, or duplicates were found; they are listed |
| 130 | interrupted by Ctrl-C |
"""


def commands(command, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield (names, command) for a command and, depth first, all below it."""
    yield names, command
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from commands(child, (*names, name))


def reference() -> str:
    """Return the page."""
    sections = [INTRODUCTION]
    for names, command in commands(typer.main.get_command(app), ("est",)):
        context = command.make_context(" ".join(names), [], resilient_parsing=True, terminal_width=WIDTH)
        title = " ".join(names)
        sections.append(f"## {title}\n\n```text\n{whole_help(context).rstrip()}\n```\n")
    return "\n".join(sections)


def main() -> None:
    page = reference()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
            sys.exit("docs/cli.md is not what `est --help` says: run make docs")
    else:
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
