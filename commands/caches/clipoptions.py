"""The options by which clips of a cache are chosen, and put in order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CachePath = Annotated[Path, typer.Argument(metavar="CACHE", help="A .zarr, .h5 or .hdf5 cache.")]
Label = Annotated[list[str] | None, typer.Option("--label", help="Only clips of this label; may be repeated.")]
Subject = Annotated[list[str] | None, typer.Option("--subject", help="Only clips of this subject; may be repeated.")]
Split = Annotated[list[str] | None, typer.Option("--split", help="Only clips of this split; may be repeated.")]
Fold = Annotated[list[int] | None, typer.Option("--fold", help="Only clips tested in this fold; may be repeated.")]

Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help='Only clips that meet a condition: "coverage < 0.5 and not (label = fear or subject = none)"; '
        "= != < <= > >=, and ~ for texts that contain another.",
    ),
]
Sort = Annotated[
    str | None,
    typer.Option("--sort", metavar="COLUMN", help="Lowest first; what is unknown stands last. [default: as extracted]"),
]
Reverse = Annotated[bool, typer.Option("--reverse", help="With --sort: highest first.")]
