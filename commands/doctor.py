"""`est doctor`: checks what est needs on this machine, and names the command that fixes each problem."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import STATUS_FAILED
from .options import examples
from .screen import Screen

if TYPE_CHECKING:
    from ..doctor.check import Examination

Fetch = Annotated[
    bool,
    typer.Option(
        "--fetch",
        help="Download the named weights and detectors that are missing, and the ImageNet weights of ResNet-18.",
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="SOURCE",
        help="With --fetch: the file, folder or address from which hsemotion:NAME is taken.",
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weights", metavar="NAME", help="Published weights to check, as est extract takes them; may be repeated."
    ),
]
Detectors = Annotated[
    list[str] | None,
    typer.Option(
        "--detector", metavar="NAME", help="A detector to check, such as insightface:buffalo_l; may be repeated."
    ),
]
ModelsDir = Annotated[Path | None, typer.Option("--models-dir", help="The folder of downloaded weights.")]
Folder = Annotated[Path, typer.Option("--folder", help="The folder for caches and runs.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Speed = Annotated[
    bool,
    typer.Option("--speed", help="Measure the speed of the encoder with each engine and precision; takes seconds."),
]
SIGNS = {"ok": "✓", "note": "·", "problem": "✗"}


@examples("est doctor", "est doctor --fetch --weights imagenet", "est doctor --speed")
def doctor(
    screen: Screen,
    *,
    fetch: Fetch = False,
    source: From = None,
    weights: Weights = None,
    detector: Detectors = None,
    models_dir: ModelsDir = None,
    folder: Folder = Path(),
    device: Device = "auto",
    speed: Speed = False,
) -> int:
    """Check this machine, and name the command for each problem. Versions, devices, codecs, weights, folders and disk are checked.

    With --quiet only problems are shown; the exit status is 1 if there is one.
    """
    from ..doctor.examination import examine

    found = examine(
        folder=folder,
        device=device,
        weights=weights or (),
        detectors=detector or (),
        models_dir=models_dir,
        fetch=fetch,
        source=source,
        speed=speed,
        hear=lambda name: screen.note(f"checking {name} …"),
    )
    shown = replace(found, checks=found.problems) if screen.quiet else found
    if shown.checks or screen.json:
        screen.result(found.to_json(), page(shown))
    return STATUS_FAILED if found.problems else 0


def page(found: Examination) -> str:
    """Format it as text."""
    width = max((len(check.name) for check in found.checks), default=0)
    lines = []
    for group, checks in found.groups().items():
        lines.append(group)
        for check in checks:
            lines.append(f"  {SIGNS[check.state]} {check.name:<{width}}  {check.found}")
            if check.remedy:
                lines.append(f"    {'':<{width}}  try: {check.remedy}")
    number = len(found.problems)
    names = ", ".join(check.name for check in found.problems)
    notes = sum(check.state == "note" for check in found.checks)
    well = "Everything that est needs is here" + (f"; {notes} note{'s' * (notes > 1)}." if notes else ".")
    end = f"{number} problem{'s' * (number > 1)}: {names}" if number else well
    return "\n".join([*lines, end])
