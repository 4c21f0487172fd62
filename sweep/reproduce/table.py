"""A table or figure of the paper: its rows, each a label and settings above the configuration, and how they are measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...train.models.registry import DEFAULT

MODEL = "model.name"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table, or one point of a figure."""

    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # by key, above the configuration that was asked for
    against: str = ""  # the label of the row that it is compared with; empty: the table's baseline
    paper: str = ""  # which number of the paper is shown with it: a name in inputs/published
    curve: str = ""  # of a figure: the curve that the point belongs to,
    x: float | None = None  # and its place

    @property
    def model(self) -> str:
        """Name the model."""
        return self.settings.get(MODEL, DEFAULT)

    def __post_init__(self) -> None:
        assert self.curve == "" or self.x is not None, f"{self.label} is a point of a curve without a place"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table or figure."""

    name: str  # WHAT of the command line
    number: str  # of the paper: Table 6
    printed: str = ""  # where the paper's numbers stand, if not there
    title: str
    measure: str  # a module of sweep/reproduce/measures
    rows: tuple[Row, ...] = ()
    baseline: str = ""  # the label of the row that the others are compared with
    pairs: tuple[tuple[str, str], ...] = ()  # labels of rows that are compared besides
    axis: str = ""  # of a figure: what stands below it
    needs: str = ""  # besides a labelled cache
    notes: tuple[str, ...] = ()  # what to know before a number is compared, of our rows
    paper_notes: tuple[str, ...] = ()  # and of the paper's numbers
    order: bool = False  # whether the accuracy of the order of snippets is shown
    classes: bool = False  # whether the recall of each class is shown
    sizes: bool = False  # whether parameters are shown

    def __post_init__(self) -> None:
        labels = [row.label for row in self.rows]
        assert len(set(labels)) == len(labels), f"{self.name} has two rows of one label"
        named = [self.baseline, *(row.against for row in self.rows), *(label for pair in self.pairs for label in pair)]
        assert all(name in labels for name in named if name), self.name

    @property
    def source(self) -> str:
        """Name the paper's table whose numbers are shown with the rows."""
        return self.printed or self.number

    @property
    def trains(self) -> bool:
        """Return whether there is something to train."""
        return bool(self.rows) and self.measure != "complexity"

    def row(self, label: str) -> Row:
        """Return a row."""
        return next(row for row in self.rows if row.label == label)

    def rival(self, row: Row) -> str:
        """Return the label of the row that one is compared with; empty where it is the baseline itself."""
        name = row.against or self.baseline
        return "" if name == row.label else name
