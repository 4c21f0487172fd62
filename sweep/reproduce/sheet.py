"""A finished table: cells with words for people and values for programs, written as text, Markdown, CSV, LaTeX and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...train.results.pages.latex import escape
from ...train.runs.files import write, write_csv

NOTHING = "–"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What stands in one place of a table."""

    words: str = NOTHING
    values: Mapping[str, Any] = field(default_factory=dict)  # by column of the CSV file


Line = Mapping[str, Cell]  # column → cell


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table as it is shown."""

    name: str
    title: str
    caption: str  # on what, how trained, how many seeds
    lines: Sequence[Line]
    found: Sequence[str] = ()  # what the numbers say, in sentences
    notes: Sequence[str] = ()  # what to know before a number is compared
    skipped: Mapping[str, str] = field(default_factory=dict)  # rows that could not be made, and why
    pictures: Mapping[str, str] = field(default_factory=dict)  # by the end of the file's name: SVG

    @property
    def columns(self) -> list[str]:
        """Name the columns that some line fills, in order."""
        names = dict.fromkeys(name for line in self.lines for name in line)
        return [name for name in names if any(line.get(name, Cell()).words != NOTHING for line in self.lines)]

    @property
    def words(self) -> list[list[str]]:
        """Return the cells as people read them, a row for each line."""
        return [[line.get(name, Cell()).words for name in self.columns] for line in self.lines]

    @property
    def remarks(self) -> list[str]:
        """Return everything that is said below the table."""
        left_out = [f"left out: {label}: {why}" for label, why in self.skipped.items()]
        return [*self.found, *left_out, *self.notes]

    def text(self) -> list[str]:
        """Return the lines of a terminal."""
        rows = [self.columns, *self.words]
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        table = [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return [self.title, self.caption, *(table if self.lines else []), *(f"  {line}" for line in self.remarks)]

    def markdown(self) -> str:
        """Return the page."""
        rows = [_bar(self.columns), "|" + "---|" * len(self.columns), *map(_bar, self.words)] if self.lines else []
        shown = [f"![{self.title}]({file})" for file in self.files() if file.endswith(".svg")]
        blocks = [
            f"# {self.title}",
            self.caption,
            "\n".join(rows),
            *shown,
            "\n".join(f"- {line}" for line in self.remarks),
        ]
        return "\n\n".join(block for block in blocks if block) + "\n"

    def latex(self, command: str) -> str:
        """Return the table for a paper; needs booktabs."""
        names = self.columns
        rows = [" & ".join(map(escape, row)) + r" \\" for row in self.words]
        return "\n".join(
            [
                f"% {' '.join(command.split())}",
                r"% needs \usepackage{booktabs} in the preamble",
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{escape(f'{self.title}. {self.caption}')}}}",
                rf"\begin{{tabular}}{{l{'r' * (len(names) - 1)}}}",
                r"\toprule",
                " & ".join(map(escape, names)) + r" \\",
                r"\midrule",
                *rows,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON data."""
        return {
            "what": self.name,
            "title": self.title,
            "caption": self.caption,
            "rows": [_values(line) for line in self.lines],
            "found": list(self.found),
            "notes": list(self.notes),
            "left_out": dict(self.skipped),
        }

    def files(self) -> list[str]:
        """Name the files that are written."""
        return [f"{self.name}{end}" for end in (".md", ".csv", ".tex", *self.pictures)]

    def save(self, folder: Path, command: str) -> None:
        """Write it."""
        rows = [_values(line) for line in self.lines]
        header = list(dict.fromkeys(key for row in rows for key in row))
        write(folder / f"{self.name}.md", self.markdown())
        write_csv(folder / f"{self.name}.csv", header, ([_plain(row.get(key)) for key in header] for row in rows))
        write(folder / f"{self.name}.tex", self.latex(command))
        for end, picture in self.pictures.items():
            write(folder / f"{self.name}{end}", picture)


def _values(line: Line) -> dict[str, Any]:
    return {key: value for cell in line.values() for key, value in cell.values.items()}


def _plain(value: Any) -> Any:
    return "" if value is None else value


def _bar(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
