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
    what: str  # the table, as `est reproduce` calls it
    row: str
    source: str
    war: float | None = None
    uar: float | None = None
    order: float | None = None  # accuracy of the order of shuffled snippets
    variance: float | None = None  # over starts of the test window, in points squared
    parameters: float | None = None  # millions, with the backbone less its classifier
    macs: float | None = None  # thousand millions
    remark: str = ""


def _bu(what: str, row: str, source: str, war: float | None = None, **more: Any) -> PaperNumber:
    return PaperNumber(dataset="bu4dfe", what=what, row=row, source=source, war=war, **more)


NUMBERS = (
    _bu("ablation", "transformer", "Table 6", 85.60, parameters=34.37, macs=63.85),
    _bu("ablation", "aa-sfe", "Table 6", 87.12, parameters=34.37, macs=63.88),
    _bu("ablation", "est", "Table 6", 88.17, parameters=42.78, macs=63.89),
    _bu("complexity", "transformer", "Table 6", 85.60, parameters=34.37, macs=63.85),
    _bu("complexity", "aa-sfe", "Table 6", 87.12, parameters=34.37, macs=63.88),
    _bu("complexity", "est", "Table 6", 88.17, parameters=42.78, macs=63.89),
    _bu("attention", "mean", "Table 7", 85.60, parameters=34.37),
    _bu("attention", "self-attention", "Table 7", 87.63, parameters=42.78),
    _bu("attention", "se", "Table 7", 87.46, parameters=43.30),
    _bu("attention", "hierarchical", "Table 7", 88.17, parameters=42.78),
    _bu("order-accuracy", "order", "Table 8", order=55.4),
    PaperNumber(dataset="mmi", what="order-accuracy", row="order", source="Table 8", order=45.0),
    PaperNumber(dataset="afew", what="order-accuracy", row="order", source="Table 8", order=50.9),
    PaperNumber(dataset="dfew", what="order-accuracy", row="order", source="Table 8", order=46.1),
    _bu("zero-middle", "without", "Table 9", 82.5),
    _bu("zero-middle", "with", "Table 9", 87.5),
    _bu("start-frames", "without", "Fig. 6", variance=1.2),
    _bu("start-frames", "with", "Fig. 6", variance=0.669),
    _bu("orders", "est", "Fig. 8", 88.17, order=55.43),
    _bu("snippets", "est", "Fig. 10", 88.17),
    _bu("layers-heads", "est", "Fig. 11", 88.17),
    PaperNumber(
        dataset="dfew", what="cross-database", row="transformer", source="Table 11", war=48.86, remark="DFEW to AFEW"
    ),
    PaperNumber(dataset="dfew", what="cross-database", row="est", source="Table 11", war=51.14, remark="DFEW to AFEW"),
    _bu("cross-database", "transformer", "Table 11", 19.66, remark="to AFEW, 57 of 290 clips"),
    _bu("cross-database", "est", "Table 11", 25.17, remark="to AFEW, 73 of 290 clips"),
)


def paper_number(dataset: str, what: str, row: str) -> PaperNumber | None:
    """Return what the paper prints in a line of a table for a data set; nothing where it prints nothing."""
    return next((one for one in NUMBERS if (one.dataset, one.what, one.row) == (dataset, what, row)), None)


def datasets_of(what: str) -> tuple[str, ...]:
    """Name the data sets that the paper prints a table of."""
    return tuple(dict.fromkeys(one.dataset for one in NUMBERS if one.what == what))


# Table 1: frames a second, mean and standard deviation of the lengths in frames.
CLIPS = {
    "bu4dfe": ("24 to 25", 99.67, 9.95),
    "mmi": ("25", 89.24, 35.38),
    "afew": ("24 to 25", 50.09, 26.26),
    "dfew": ("23.98", 79.26, 44.72),
}
