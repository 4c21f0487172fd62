"""`--across-cuts`, `--min-track` and `--min-face-size` of est extract: whose face, and which faces, become clips."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ..panels import FACES


class Cuts(StrEnum):
    """What becomes of a clip whose main face is another person's from some cut on."""

    keep = "keep"
    longest = "longest"
    split = "split"


AcrossCuts = Annotated[
    Cuts,
    typer.Option(
        "--across-cuts",
        help="With --face main: where another person takes over at a cut.\n\n"
        "keep: one clip of all, and a warning; longest: the person who is there longest, the others' frames count as without a face; "
        "split: a clip for each person in turn.",
        rich_help_panel=FACES.rare,
    ),
]
MinTrack = Annotated[
    int,
    typer.Option(
        "--min-track",
        metavar="FRAMES",
        help="With --face all: the least number of frames of a face that becomes a clip.",
        rich_help_panel=FACES.rare,
    ),
]
MinFaceSize = Annotated[
    int,
    typer.Option(
        "--min-face-size",
        metavar="PIXELS",
        help="With --face all: the least longer side of a face's box, the median over its frames.",
        rich_help_panel=FACES.rare,
    ),
]
