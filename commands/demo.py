"""`est demo`: the complete pipeline on rendered faces; `est demo render`: labelled videos without licence, download or network."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, counted
from .options import Out, Overwrite, Seed, command, examples, group_command
from .panels import DATA, MACHINE, PanelGroup
from .screen import Screen, clock

if TYPE_CHECKING:
    from ..demo.report import DemoReport

DEMO_FOLDER = Path("est-demo")

app = typer.Typer(
    cls=PanelGroup,
    help="Run the complete pipeline on rendered faces. Render, extract, train, score; or only render them.",
    rich_markup_mode=None,
)

Subjects = Annotated[int, typer.Option("--subjects", help="Number of people.", rich_help_panel=DATA)]
Clips = Annotated[
    int | None,
    typer.Option(
        "--clips-per-subject",
        help="Videos per person; the classes alternate. [default: 7; 8 where classes come in pairs]\n\n"
        "With --dynamics and --temporal-pairs an even number.",
        rich_help_panel=DATA,
    ),
]
Difficulty = Annotated[
    float,
    typer.Option("--difficulty", help="From 0, posed and clean, to 1, subtle and disturbed.", rich_help_panel=DATA),
]
Size = Annotated[
    str, typer.Option("--size", metavar="WxH", help="Width and height of the videos in pixels.", rich_help_panel=DATA)
]
Fps = Annotated[
    int | None, typer.Option("--fps", help="Frames per second. [default: 25; 100 with --micro]", rich_help_panel=DATA)
]
Pairs = Annotated[
    bool,
    typer.Option(
        "--temporal-pairs", help="Classes that differ only in the order of the same frames.", rich_help_panel=DATA
    ),
]
Dynamics = Annotated[
    bool,
    typer.Option(
        "--dynamics",
        help="Classes that differ only in their course over time.\n\nClips differ in length.",
        rich_help_panel=DATA,
    ),
]
Micro = Annotated[
    bool,
    typer.Option(
        "--micro",
        help="Micro-expressions: negative, positive, surprise.\n\n"
        "Faint and of 0.2 to 0.5 s, at 100 to 200 frames a second.",
        rich_help_panel=DATA,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "--num-workers", help="Rendering processes. [default: one per core]", rich_help_panel=MACHINE
    ),
]


DemoSubjects = Annotated[
    int | None, typer.Option("--subjects", help="Number of people. [default: 8 posed, 12 dynamics]")
]
DemoDifficulty = Annotated[
    float | None,
    typer.Option(
        "--difficulty", help="From 0, posed and clean, to 1, subtle and disturbed. [default: 0.4 posed, 0.3 dynamics]"
    ),
]
DemoPairs = Annotated[
    bool,
    typer.Option("--temporal-pairs", help="Only classes that differ in nothing but the order of the same frames."),
]
Epochs = Annotated[
    int | None, typer.Option("--epochs", help="Epochs of each training. [default: 15 posed, 60 dynamics]")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]

FETCH = "est doctor --fetch"
NEXT = "est extract VIDEOS --labels folders --subjects folders --out cache.zarr && est train --cache cache.zarr"


@group_command(app)
@examples("est demo", "est demo --out my-demo --epochs 5", "est demo render --out videos --subjects 2")
def demo(
    screen: Screen,
    out: Out = DEMO_FOLDER,
    seed: Seed = 0,
    subjects: DemoSubjects = None,
    difficulty: DemoDifficulty = None,
    temporal_pairs: DemoPairs = False,
    epochs: Epochs = None,
    device: Device = "auto",
    workers: Workers = None,
) -> int:
    """Render posed expressions and dynamics into est-demo/, extract them, train EST and the control, test on unseen people."""
    # Decoders and torch share the cores: threads that spin while they wait would take them from each other. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from ..demo.demoset import DYNAMICS, PAIRS, POSED
    from ..demo.pipeline import DemoConfig, run_demo

    settings = {} if epochs is None else {"loop.epochs": epochs}
    sets = (PAIRS,) if temporal_pairs else (POSED, DYNAMICS)
    config = DemoConfig(
        sets=tuple(one.changed(settings=settings, seed=seed, subjects=subjects, difficulty=difficulty) for one in sets),
        device=device,
        workers=workers,
    )
    with screen.watching() as watch:
        report = run_demo(out, config, watch=watch)
    screen.result(report.to_json(), demo_text(report))
    return 0


def demo_text(report: DemoReport) -> str:
    """Format the result of a demo, and what to do next."""
    times = ", ".join(f"{name} {clock(seconds)}" for name, seconds in report.seconds.items())
    lines = [
        *report.table(),
        *(one.verdict() for one in report.sets),
        f"{times}; {clock(sum(report.seconds.values()))} in all, {sum(report.cpu_seconds.values()):.0f} CPU seconds",
        f"Summaries and confusion matrices: {', '.join(str(one.results.run.path) for one in report.sets)}",
        "Apparent expressions over time in one of the videos, and the annotated video:",
        report.predict_command(),
        "Your own videos, as VIDEOS/SUBJECT/LABEL/clip.mp4, after the ImageNet weights have been downloaded once:",
        FETCH,
        NEXT,
    ]
    return "\n".join(lines)


@command(app, "render")
@examples(
    "est demo render --out videos --subjects 2 --clips-per-subject 3 --seed 7",
    "est demo render --out micro --micro --subjects 6",
)
def render(
    screen: Screen,
    *,
    out: Out,
    subjects: Subjects = 24,
    clips_per_subject: Clips = None,
    seed: Seed = 0,
    difficulty: Difficulty = 0.4,
    size: Size = "640x360",
    fps: Fps = None,
    temporal_pairs: Pairs = False,
    dynamics: Dynamics = False,
    micro: Micro = False,
    overwrite: Overwrite = False,
    workers: Workers = None,
) -> int:
    """Render MP4 files and manifest.csv (path, label, subject, split, onset, apex, offset, seed) into a folder.

    With --micro also extra:database, one of three rendered databases.
    """
    from ..demo import RenderSpec, render_set
    from ..demo.micro import FPS

    spec = RenderSpec(
        subjects=subjects,
        clips_per_subject=clips_per_subject,
        seed=seed,
        difficulty=difficulty,
        size=parse_size(size),
        fps=(FPS if micro else RenderSpec.fps) if fps is None else fps,
        temporal_pairs=temporal_pairs,
        dynamics=dynamics,
        micro=micro,
    )
    with screen.watching() as watch:
        clips = render_set(spec, out, overwrite=overwrite, workers=workers, watch=watch)
    labels = sorted({clip.label for clip in clips})
    frames = sum(clip.num_frames for clip in clips)
    people = len({clip.subject for clip in clips})
    found = {"video": len(clips), "frame": frames, "subject": people, "label": len(labels)}
    counts = ", ".join(counted(number, noun) for noun, number in found.items())
    screen.result(
        {"out": str(out), "videos": len(clips), "frames": frames, "subjects": people, "labels": labels},
        f"{counts} in {out}\nLabels, subjects and splits: {out / 'manifest.csv'}",
    )
    return 0


@command(app, "sheet")
@examples("est demo sheet", "est demo sheet --out faces.png --seed 7")
def sheet(
    screen: Screen,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", "--output", help="The .jpg or .png file to write.")] = Path(
        "faces.jpg"
    ),
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
    if not (cross and all(re.fullmatch("[0-9]{1,9}", side) for side in (width, height))):
        raise UsageError(f"--size is width x height in pixels, found {text!r}.", remedy="--size 640x360")
    return int(width), int(height)
