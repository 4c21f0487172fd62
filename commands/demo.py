"""`est demo`: rendered, labelled face videos; data that needs no licence, no download and no network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .options import Out, Overwrite, Seed, command, group_command
from .screen import Screen

DEMO_FOLDER = Path("est-demo")

app = typer.Typer(help="Render labelled face videos, the data of the demo and of the tests.", rich_markup_mode=None)

Subjects = Annotated[int, typer.Option("--subjects", help="How many people.")]
Clips = Annotated[int, typer.Option("--clips-per-subject", help="Videos of each; the expressions take turns.")]
Difficulty = Annotated[float, typer.Option("--difficulty", help="From 0, posed and clean, to 1, subtle and disturbed.")]
Size = Annotated[str, typer.Option("--size", metavar="WxH", help="Width and height of the videos in pixels.")]
Fps = Annotated[int, typer.Option("--fps", help="Frames per second.")]
Pairs = Annotated[
    bool, typer.Option("--temporal-pairs", help="Classes that differ only in the order of the same frames.")
]
Workers = Annotated[int | None, typer.Option("--workers", help="Processes that render; one a core when left out.")]


@group_command(app)
def demo(screen: Screen, out: Out = DEMO_FOLDER, seed: Seed = 0) -> int:
    """Render the demo set into est-demo/videos; `est demo render` has the knobs."""
    return render(screen, out=out / "videos", seed=seed, overwrite=True)


@command(app, "render")
def render(
    screen: Screen,
    *,
    out: Out,
    subjects: Subjects = 24,
    clips_per_subject: Clips = 7,
    seed: Seed = 0,
    difficulty: Difficulty = 0.4,
    size: Size = "640x360",
    fps: Fps = 25,
    temporal_pairs: Pairs = False,
    overwrite: Overwrite = False,
    workers: Workers = None,
) -> int:
    """Render MP4 files and manifest.csv (path, label, subject, split, apex, seed) into a folder."""
    from ..demo import RenderSpec, render_set

    spec = RenderSpec(
        subjects=subjects,
        clips_per_subject=clips_per_subject,
        seed=seed,
        difficulty=difficulty,
        size=parse_size(size),
        fps=fps,
        temporal_pairs=temporal_pairs,
    )
    with screen.progress("Rendering", "videos") as update:
        clips = render_set(spec, out, overwrite=overwrite, workers=workers, on_clip=update)
    labels = sorted({clip.label for clip in clips})
    frames = sum(clip.num_frames for clip in clips)
    people = len({clip.subject for clip in clips})
    screen.result(
        {"out": str(out), "videos": len(clips), "frames": frames, "subjects": people, "labels": labels},
        f"{len(clips)} videos, {frames} frames, {people} subjects, {len(labels)} labels in {out}\n"
        f"Labels, subjects and splits: {out / 'manifest.csv'}",
    )
    return 0


@command(app, "sheet")
def sheet(
    screen: Screen,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .jpg or .png file to write.")] = Path("faces.jpg"),
    seed: Seed = 0,
) -> int:
    """Draw what the rendered faces look like on one page."""
    from ..demo import RenderSpec, save_sheet

    save_sheet(RenderSpec(seed=seed), out)
    screen.result({"out": str(out)}, str(out))
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """Read 640x360 as (640, 360)."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise UsageError(f"--size is width x height in pixels, found {text!r}", remedy="--size 640x360")
    return int(width), int(height)
