"""The table of a run: written after every row, as JSON and as Markdown, and taken over by a page between two marks.

python benchmarks/gpu/table.py bench-gpu/gpu.json --into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from plan import Planned

BEGIN, END = "<!-- gpu: begin -->", "<!-- gpu: end -->"
NAMES = ("gpu.json", "gpu.md")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row that was measured, or why it was not."""

    group: str
    name: str
    title: str
    goal: str = ""
    reached: bool | None = None  # None: no goal, or nothing measured
    value: float | None = None
    text: str = ""
    note: str = ""
    seconds: float = 0.0
    failed: str = ""
    left_out: str = ""


def row_of(planned: Planned, ended: dict[str, Any]) -> Row:
    """Return the row of what a worker said at its end."""
    value, goal = ended.get("value"), planned.goal
    return Row(
        group=planned.group,
        name=planned.name,
        title=planned.title,
        goal=str(goal) if goal else "",
        reached=None if goal is None or value is None else goal.reached(value),
        **{key: ended[key] for key in ("value", "text", "note", "seconds", "failed", "left_out") if key in ended},
    )


@dataclass(kw_only=True)
class Table:
    """The rows of a run, and the machine they were measured on."""

    machine: dict[str, Any]  # card, driver, cuda, torch, python, cores, date, commit
    dry: str = ""  # the device of a dry run
    rows: list[Row] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)  # packages that were brought
    lacking: list[str] = field(default_factory=list)  # and those that are missing all the same

    def save(self, folder: Path) -> None:
        """Write both files, each whole or as it was."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in zip(NAMES, (json.dumps(asdict(self), indent=1) + "\n", self.markdown()), strict=True):
            partial = folder / f"{name}.partial"
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, folder / name)

    def markdown(self) -> str:
        """Write the table as a page shows it."""
        found = self.machine
        lines = [
            f"{found['date']} · {found['card']}, driver {found['driver']}, CUDA {found['cuda']}, {found['cores']} cores · "
            f"Python {found['python']}, torch {found['torch']} · {found['commit']}"
        ]
        if self.dry:
            lines.insert(0, f"**A dry run on {self.dry}: small sizes, and no measurement of anything.**\n")
        if self.lacking:
            lines.append(f"\nNot installed: {', '.join(self.lacking)}.")
        lines += ["", "| | measured | goal | | |", "|---|---|---|---|---|"]
        for row in self.rows:
            verdict = {True: "reached", False: "missed", None: ""}[None if self.dry else row.reached]
            measured = row.text or (f"failed: {row.failed}" if row.failed else f"left out: {row.left_out}")
            cells = [row.title, measured, row.goal, verdict, row.note]
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
        return "\n".join(lines) + "\n"


def load(path: Path) -> Table:
    """Read a table back."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return Table(**found | {"rows": [Row(**row) for row in found["rows"]]})


def insert(text: str, page: str) -> str:
    """Put a text between the marks of a page."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"expected {BEGIN} and {END} once each, in this order")
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n\n{text.strip()}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Let a page take a table over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="gpu.json of a run")
    parser.add_argument("--into", type=Path, required=True, metavar="PAGE")
    arguments = parser.parse_args()
    table = load(arguments.table)
    if table.dry:
        sys.exit(f"{arguments.table} is of a dry run on {table.dry}: it has no measurements. Run it on a GPU.")
    try:
        page = insert(table.markdown(), arguments.into.read_text(encoding="utf-8"))
    except ValueError as error:
        sys.exit(f"{arguments.into}: {error}.")
    arguments.into.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
