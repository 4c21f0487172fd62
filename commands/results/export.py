"""`est export`: a run's model as one file that runs without est."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import UsageError
from ..options import Overwrite, examples
from ..panels import INPUT, OUTPUT
from ..pushoptions import Licence, Public, Yes, permission_of
from ..screen import Screen


class Format(StrEnum):
    """The file's format."""

    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"


class What(StrEnum):
    """How much is exported."""

    HEAD = "head"
    FULL = "full"


RunPath = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="The folder that est train made.\n\nWith --push also a file of weights of est.",
        rich_help_panel=INPUT,
    ),
]
OutFile = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        "--output",
        help="The file to write; its model card goes beside it as FILE.md.",
        rich_help_panel=OUTPUT,
    ),
]
Push = Annotated[
    str | None,
    typer.Option(
        "--push", metavar="hub:ORG/NAME", help="Also push it to a hub, private, with a page.", rich_help_panel=OUTPUT
    ),
]
FormatOption = Annotated[
    Format, typer.Option("--format", help="onnx is for onnxruntime, torchscript for torch.", rich_help_panel=OUTPUT)
]
WhatOption = Annotated[
    What,
    typer.Option(
        "--what",
        help="features in, or crops in (with encoder).\n\nhead: the model alone; full: with the frame encoder.",
        rich_help_panel=OUTPUT,
    ),
]
PartName = Annotated[
    str | None,
    typer.Option(
        "--part", metavar="NAME", help="The model to export, by its part. [default: the first]", rich_help_panel=INPUT
    ),
]
CachePath = Annotated[
    Path | None,
    typer.Option("--cache", "-c", help="Where the run's cache is now. [default: where it was]", rich_help_panel=INPUT),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="The encoder's weights, if the cache records only their name.",
        rich_help_panel=INPUT,
    ),
]


@examples(
    "est export runs/mine --out model.onnx",
    "est export runs/mine --out model.pt --format torchscript --what full",
)
def export(
    screen: Screen,
    *,
    run: RunPath,
    out: OutFile = None,
    format: FormatOption = Format.ONNX,
    what: WhatOption = What.HEAD,
    part: PartName = None,
    cache: CachePath = None,
    weights: Weights = None,
    overwrite: Overwrite = False,
    push: Push = None,
    licence: Licence = None,
    public: Public = False,
    yes: Yes = False,
) -> int:
    """Write a run's model as one ONNX or TorchScript file. It is verified against the run, and a model card is written beside it."""
    if push is None and (licence is not None or public or yes):
        raise UsageError(
            "--licence, --public and --yes need --push.", remedy="add --push hub:ORG/NAME, or leave them out"
        )
    if run.is_file():
        return _push_weights(screen, run, out, push, licence, public=public, yes=yes)
    if out is None:
        raise UsageError("No output is given: --out names the file.", remedy="--out model.onnx")
    settings: dict[str, Any] = {
        "form": format.value,
        "what": what.value,
        "part": part,
        "cache": cache,
        "weights": weights,
        "overwrite": overwrite,
    }
    if push is None:
        from ...infer.export.exporting import export_run

        with screen.watching() as watch:
            found = export_run(run, out, watch=watch, **settings)
        pushed = None
    else:
        from ...hub.sharing.models import push_export, terms_of

        permission = permission_of(screen, terms_of(run), licence, public=public, yes=yes)
        with screen.watching() as watch:
            found, pushed = push_export(run, out, push, permission, watch=watch, **settings)
    lines = [
        f"{found.path} ({found.bytes / 1e6:.1f} MB), part {found.part}; {found.card}",
        *(f"  {line}" for line in found.checks),
        *([pushed.line()] if pushed is not None else []),
    ]
    screen.result(found.to_json() | (pushed.to_json() if pushed is not None else {}), "\n".join(lines))
    return 0


def _push_weights(
    screen: Screen, path: Path, out: Path | None, push: str | None, licence: str | None, *, public: bool, yes: bool
) -> int:
    """Push a file of weights as it is, with hashes in its record."""
    if push is None or out is not None:
        raise UsageError(
            f"{path} is a file, expected the folder of a run: a file of weights is pushed, and not exported.",
            remedy="--push hub:ORG/NAME, without --out",
        )
    from ...hub.sharing.models import push_weights, terms_of

    permission = permission_of(screen, terms_of(path), licence, public=public, yes=yes)
    with screen.watching() as watch:
        pushed = push_weights(path, push, permission, watch=watch)
    screen.result(pushed.to_json(), pushed.line())
    return 0
