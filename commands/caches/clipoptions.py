"""The options by which clips of a cache are chosen, and put in order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..panels import CLIPS, INPUT

CachePath = Annotated[
    Path, typer.Argument(metavar="CACHE", help="A .zarr, .h5 or .hdf5 cache, or a URL.", rich_help_panel=INPUT)
]
Label = Annotated[
    list[str] | None,
    typer.Option("--label", help="Only clips of this label; may be repeated.", metavar="NAME", rich_help_panel=CLIPS),
]
Subject = Annotated[
    list[str] | None,
    typer.Option(
        "--subject", help="Only clips of this subject; may be repeated.", metavar="NAME", rich_help_panel=CLIPS
    ),
]
Split = Annotated[
    list[str] | None,
    typer.Option("--split", help="Only clips of this split; may be repeated.", metavar="NAME", rich_help_panel=CLIPS),
]
Fold = Annotated[
    list[int] | None,
    typer.Option("--fold", help="Only clips tested in this fold; may be repeated.", metavar="N", rich_help_panel=CLIPS),
]

Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="Only clips that meet a condition, such as 'coverage < 0.5'.\n\n"
        '"coverage < 0.5 and not (label = fear or subject = none)"; = != < <= > >=, and ~ for texts that '
        "contain another.",
        rich_help_panel=CLIPS,
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(
        "--sort",
        metavar="COLUMN",
        help="Lowest first; unknown values last. [default: as extracted]",
        rich_help_panel=CLIPS,
    ),
]
Reverse = Annotated[bool, typer.Option("--reverse", help="With --sort: highest first.", rich_help_panel=CLIPS)]
