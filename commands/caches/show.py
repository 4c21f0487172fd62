"""`est cache show`: clips of a cache as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import STATUS_PARTIAL
from ..options import Overwrite, examples
from ..panels import CLIPS, INPUT, OUTPUT
from ..screen import Screen
from .clipoptions import CachePath, Fold, Label, Reverse, Sort, Split, Subject, Where

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="CLIP", help="Clips by id. [default: the first 24]", rich_help_panel=INPUT),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        "--output",
        help="The folder for clips.png and clips.html. [default: <cache>-clips]",
        rich_help_panel=OUTPUT,
    ),
]
Frames = Annotated[
    int | None,
    typer.Option(
        "--frames", metavar="N", help="Frames shown per clip, evenly spread. [default: 12]", rich_help_panel=OUTPUT
    ),
]
Every = Annotated[
    int | None,
    typer.Option("--every", metavar="N", help="Every N-th frame of a clip, instead.", rich_help_panel=OUTPUT),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", help="Largest number of clips. [default: 24]", rich_help_panel=CLIPS),
]


@examples(
    "est cache show cache.zarr --sort coverage --limit 12",
    "est cache show cache.zarr --label fear --every 10 --out fear",
)
def show(
    screen: Screen,
    *,
    cache: CachePath,
    ids: Ids = None,
    label: Label = None,
    subject: Subject = None,
    split: Split = None,
    fold: Fold = None,
    where: Where = None,
    sort: Sort = None,
    reverse: Reverse = False,
    limit: Limit = None,
    frames: Frames = None,
    every: Every = None,
    out: Out = None,
    overwrite: Overwrite = False,
) -> int:
    """Show the face crops of clips as a contact sheet and a page: which are detected, interpolated, missing; steps of the box."""
    from ...cache import open_cache
    from ...cache.reading.listing import Choice
    from ...report.cachepage.clipview import Sampling
    from ...report.cachepage.showing import show_clips

    choice = Choice(
        label=label, subject=subject, split=split, fold=fold, where=where, sort=sort, reverse=reverse, limit=limit
    )
    folder = out or Path(f"{cache.stem}-clips")
    sampling = Sampling(frames=frames, every=every)
    with screen.watching() as watch:
        shown = show_clips(
            open_cache(cache), folder, ids=ids, choice=choice, sampling=sampling, overwrite=overwrite, watch=watch
        )
    for clip, why in shown.troubles.items():
        screen.warn(f"{clip} is shown without crops: {why}")
    data = {"sheet": str(shown.sheet), "page": str(shown.page), "clips": shown.clips, "without_crops": shown.troubles}
    count = len(shown.clips)
    lines = [f"{count} {'clip' if count == 1 else 'clips'}: {shown.sheet}, {shown.page}"]
    lines += [f"The contact sheet has the first {shown.on_sheet} of them."] if shown.on_sheet < count else []
    screen.result(data, "\n".join(lines))
    return STATUS_PARTIAL if shown.troubles else 0
