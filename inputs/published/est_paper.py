"""What the EST paper prints besides scores of whole systems: ablations, orders, starts, costs. Sources are the paper's own tables.

Scores of whole systems stand with their data sets (`Dataset.results`). Table 2's data set, which the paper calls BU-3DFE, is BU-4DFE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PAPER = "EST paper"


@dataclass(frozen=True, kw_only=True)
class PaperNumber:
    """One line of one of the paper's tables; shares in percent."""

    dataset: str  # the protocol's name
    source: str  # the table or figure
    row: str
    war: float | None = None
    uar: float | None = None
    order: float | None = None  # accuracy of the order of shuffled snippets
    variance: float | None = None  # over starts of the test window, in points squared
    parameters: float | None = None  # millions, with the backbone less its classifier
    macs: float | None = None  # thousand millions
    remark: str = ""


def _bu(source: str, row: str, war: float | None = None, **more: Any) -> PaperNumber:
    return PaperNumber(dataset="bu4dfe", source=source, row=row, war=war, **more)


def _dfew(source: str, row: str, war: float | None = None, **more: Any) -> PaperNumber:
    return PaperNumber(dataset="dfew", source=source, row=row, war=war, **more)


NUMBERS = (
    _bu("Table 6", "transformer", 85.60, parameters=34.37, macs=63.85),
    _bu("Table 6", "aa-sfe", 87.12, parameters=34.37, macs=63.88),
    _bu("Table 6", "est", 88.17, parameters=42.78, macs=63.89),
    _bu("Table 7", "mean", 85.60, parameters=34.37),
    _bu("Table 7", "self-attention", 87.63, parameters=42.78),
    _bu("Table 7", "se", 87.46, parameters=43.30),
    _bu("Table 7", "hierarchical", 88.17, parameters=42.78),
    _bu("Table 8", "order", order=55.4),
    PaperNumber(dataset="mmi", source="Table 8", row="order", order=45.0),
    PaperNumber(dataset="afew", source="Table 8", row="order", order=50.9),
    _dfew("Table 8", "order", order=46.1),
    _bu("Table 9", "without", 82.5),
    _bu("Table 9", "with", 87.5),
    _bu("Fig. 6", "without", variance=1.2),
    _bu("Fig. 6", "with", variance=0.669),
    _bu("Fig. 8", "est", 88.17, order=55.43),
    _bu("Fig. 10", "est", 88.17),
    _bu("Fig. 11", "est", 88.17),
    _dfew("Table 11", "transformer", 48.86, remark="to AFEW, 172 of 352 clips"),
    _dfew("Table 11", "est", 51.14, remark="to AFEW, 180 of 352 clips"),
    _bu("Table 11", "transformer", 19.66, remark="to AFEW, 57 of 290 clips"),
    _bu("Table 11", "est", 25.17, remark="to AFEW, 73 of 290 clips"),
)


def paper_number(dataset: str, source: str, row: str) -> PaperNumber | None:
    """Return what the paper prints in a line of a table for a data set; nothing where it prints nothing."""
    return next((one for one in NUMBERS if (one.dataset, one.source, one.row) == (dataset, source, row)), None)


def datasets_of(source: str) -> tuple[str, ...]:
    """Name the data sets that the paper prints a table of."""
    return tuple(dict.fromkeys(one.dataset for one in NUMBERS if one.source == source))


# Table 1: frames a second, mean and standard deviation of the lengths in frames.
CLIPS = {
    "bu4dfe": ("24 to 25", 99.67, 9.95),
    "mmi": ("25", 89.24, 35.38),
    "afew": ("24 to 25", 50.09, 26.26),
    "dfew": ("23.98", 79.26, 44.72),
}
