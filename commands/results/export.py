"""`est export`: a run's model as one file that runs without est."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..options import Overwrite
from ..screen import Screen


class Format(StrEnum):
    """The file's format."""

    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"


class What(StrEnum):
    """How much is exported."""

    HEAD = "head"
    FULL = "full"


RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The folder that est train made.")]
OutFile = Annotated[
    Path, typer.Option("--out", "-o", help="The file to write; its model card goes beside it, as FILE.md.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="onnx runs in onnxruntime, torchscript in torch alone.")]
WhatOption = Annotated[
    What, typer.Option("--what", help="head: features in; full: face crops in, the frame encoder included.")
]
PartName = Annotated[
    str | None, typer.Option("--part", metavar="NAME", help="Which part's model. [default: the first]")
]
CachePath = Annotated[
    Path | None, typer.Option("--cache", "-c", help="Where the run's cache is now. [default: where it was]")
]
Weights = Annotated[
    str | None,
    typer.Option("--weights", metavar="FILE", help="The encoder's weights, where the cache knows only their name."),
]


def export(
    screen: Screen,
    *,
    run: RunPath,
    out: OutFile,
    format: FormatOption = Format.ONNX,
    what: WhatOption = What.HEAD,
    part: PartName = None,
    cache: CachePath = None,
    weights: Weights = None,
    overwrite: Overwrite = False,
) -> int:
    """Write a run's model as one ONNX or TorchScript file, verified against the run, with a model card beside it."""
    from ...infer.export.exporting import export_run

    with screen.watching() as watch:
        found = export_run(
            run,
            out,
            form=format.value,
            what=what.value,
            part=part,
            cache=cache,
            weights=weights,
            overwrite=overwrite,
            watch=watch,
        )
    lines = [
        f"{found.path} ({found.bytes / 1e6:.1f} MB), part {found.part}; {found.card}",
        *(f"  {line}" for line in found.checks),
    ]
    screen.result(found.to_json(), "\n".join(lines))
    return 0
