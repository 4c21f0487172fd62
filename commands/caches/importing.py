"""`est cache import`: features of other software become a cache."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import STATUS_PARTIAL, UsageError, counted
from ..options import examples
from ..panels import COLUMNS, INPUT, OUTPUT, WINDOWS
from ..screen import Screen

if TYPE_CHECKING:
    from ...inputs.features.plan import ImportPlan

EXAMPLES = 5  # clips of a dry run that are shown


class Dtype(StrEnum):
    """Types of features."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


class NaN(StrEnum):
    """What becomes of empty cells and NaN."""

    REFUSE = "refuse"
    ZERO = "zero"
    NO_FACE = "no-face"


class PastEnd(StrEnum):
    """What becomes of windows that end behind their clip."""

    REFUSE = "refuse"
    CUT = "cut"


Sources = Annotated[
    list[Path],
    typer.Argument(
        metavar="SOURCE",
        help="Files or folders: .npy, .npz, .csv, .tsv, .parquet.\n\n"
        "One for each clip; or tables of many, with --id-column.",
        rich_help_panel=INPUT,
    ),
]
By = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="TEXT",
        help='The tool that made the features, such as "OpenFace 2.2"; required.',
        rich_help_panel=INPUT,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", "--output", help="The cache to write or to resume; .zarr or .h5.", rich_help_panel=OUTPUT
    ),
]
Into = Annotated[
    Path | None,
    typer.Option(
        "--into",
        metavar="CACHE",
        help="Add the feature to a cache that has these clips.\n\nIts clips must have the same numbers of frames.",
        rich_help_panel=OUTPUT,
    ),
]
FeatureName = Annotated[
    str,
    typer.Option(
        "--feature",
        "--features",
        help="The name of the array, as in est train.",
        metavar="NAME",
        rich_help_panel=OUTPUT,
    ),
]
Lists = Annotated[
    list[Path] | None,
    typer.Option(
        "--list",
        help="A list of the clips by id or path; may be repeated.\n\n"
        "With label, subject, split, fold, num_frames; only these clips are imported.",
        metavar="FILE",
        rich_help_panel=INPUT,
    ),
]
Labels = Annotated[
    str,
    typer.Option(
        "--labels",
        help="Labels: none, folders or a regular expression.\n\nAs in est extract.",
        metavar="FROM",
        rich_help_panel=INPUT,
    ),
]
Subjects = Annotated[
    str,
    typer.Option(
        "--subjects",
        help="Subjects: none, folders or a regular expression.\n\nAs in est extract.",
        metavar="FROM",
        rich_help_panel=INPUT,
    ),
]
ColumnPatterns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="A,B*",
        help="Columns of features, * and ? allowed. [default: all of numbers]\n\n"
        "All but those of labels, ids and frames.",
        rich_help_panel=COLUMNS,
    ),
]
Array = Annotated[
    str, typer.Option("--array", help="Which array of an .npz holds the features.", rich_help_panel=COLUMNS.rare)
]
IdColumn = Annotated[
    str, typer.Option("--id-column", help="Column of the clip's id, in tables of many clips.", rich_help_panel=COLUMNS)
]
TimeColumn = Annotated[
    str,
    typer.Option("--time-column", help="Seconds of each frame. [OpenFace: timestamp]", rich_help_panel=COLUMNS.rare),
]
StateColumn = Annotated[
    str,
    typer.Option(
        "--state-column", help="Above 0 where a frame shows a face. [OpenFace: success]", rich_help_panel=COLUMNS.rare
    ),
]
ScoreColumn = Annotated[
    str,
    typer.Option(
        "--score-column",
        help="Confidence of the detector. [OpenFace: confidence; py-feat: FaceScore]",
        rich_help_panel=COLUMNS.rare,
    ),
]
FrameColumn = Annotated[
    str,
    typer.Option(
        "--frame-column", help="Number of the frame. [OpenFace, py-feat: frame]", rich_help_panel=COLUMNS.rare
    ),
]
StartColumn = Annotated[
    str,
    typer.Option("--start-column", help="Of windows: their first frame, counted from 0.", rich_help_panel=WINDOWS.rare),
]
StopColumn = Annotated[
    str,
    typer.Option("--stop-column", help="Of windows: the frame after their last one.", rich_help_panel=WINDOWS.rare),
]
RateColumn = Annotated[
    str,
    typer.Option(
        "--rate-column", help="Of windows: the frame rate at which frames were read.", rich_help_panel=WINDOWS.rare
    ),
]
Fps = Annotated[
    float | None,
    typer.Option("--fps", help="Frame rate of the videos, where no column has times.", rich_help_panel=COLUMNS),
]
Window = Annotated[
    str | None,
    typer.Option(
        "--window",
        metavar="N,…",
        help="Rows are of windows of N frames; one for all, or for each SOURCE.",
        rich_help_panel=WINDOWS,
    ),
]
Stride = Annotated[
    str | None,
    typer.Option(
        "--stride", metavar="N,…", help="Frames from one window to the next, as --window.", rich_help_panel=WINDOWS
    ),
]
Rate = Annotated[
    str | None,
    typer.Option(
        "--rate",
        metavar="X,…",
        help="The frame rate at which windows were read, as --window. [default: --fps]",
        rich_help_panel=WINDOWS.rare,
    ),
]
NaNs = Annotated[
    NaN,
    typer.Option("--nan", help="Empty cells and NaN: refuse the clip, 0, no face.", rich_help_panel=COLUMNS),
]
Ends = Annotated[
    PastEnd,
    typer.Option(
        "--past-end",
        help="Windows that end after their clip: refuse the clip, or cut them.",
        rich_help_panel=WINDOWS.rare,
    ),
]


@examples(
    "est cache import openface/ --by 'OpenFace 2.2' --columns 'AU*_r' --list clips.csv --out au.zarr",
    "est cache import windows/ --by VideoMAE --window 16 --stride 8 --fps 25 --out windows.zarr --dry-run",
)
def import_(
    screen: Screen,
    *,
    sources: Sources,
    by: By = "",
    out: Out = None,
    into: Into = None,
    feature: FeatureName = "features",
    lists: Lists = None,
    labels: Labels = "none",
    subjects: Subjects = "none",
    columns: ColumnPatterns = None,
    array: Array = "",
    id_column: IdColumn = "",
    time_column: TimeColumn = "",
    state_column: StateColumn = "",
    score_column: ScoreColumn = "",
    frame_column: FrameColumn = "",
    start_column: StartColumn = "",
    stop_column: StopColumn = "",
    rate_column: RateColumn = "",
    fps: Fps = None,
    window: Window = None,
    stride: Stride = None,
    rate: Rate = None,
    dtype: Annotated[
        Dtype, typer.Option("--dtype", help="Type of the numbers in the cache.", rich_help_panel=OUTPUT.rare)
    ] = Dtype.FLOAT32,
    nan: NaNs = NaN.REFUSE,
    past_end: Ends = PastEnd.REFUSE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be read and exit.", rich_help_panel=OUTPUT)
    ] = False,
) -> int:
    """Import features of other software (arrays or tables, of frames or of windows) into a cache; the same command resumes."""
    from ...inputs.features.config import ImportConfig
    from ...inputs.features.plan import plan_import

    if (out is None) == (into is None) and not dry_run:
        raise UsageError(
            "No output is given: --out names a new cache, --into a cache that has these clips.",
            remedy="--out cache.zarr",
        )
    config = ImportConfig(
        by=by,
        feature=feature,
        dtype=dtype.value,
        columns=tuple(part.strip() for part in columns.split(",")) if columns else (),
        array=array,
        id_column=id_column,
        time_column=time_column,
        state_column=state_column,
        score_column=score_column,
        frame_column=frame_column,
        start_column=start_column,
        stop_column=stop_column,
        rate_column=rate_column,
        fps=fps,
        window=tuple(map(int, numbers("--window", window))),
        stride=tuple(map(int, numbers("--stride", stride))),
        rate=numbers("--rate", rate, whole=False),
        nan=nan.value,
        past_end=past_end.value,
    )
    plan = plan_import(sources, config, lists=lists or (), labels=labels, subjects=subjects)
    for line in plan.lines:
        screen.note(line)
    for warning in plan.warnings:
        screen.warn(warning)
    if dry_run:
        screen.result(plan_data(plan), plan_text(plan))
        return STATUS_PARTIAL if plan.problems else 0
    target = out if into is None else into
    assert target is not None
    from ...inputs.features.importing import run_import

    with screen.resumable(), screen.watching() as watch:
        report = run_import(plan, target, filling=into is not None, watch=watch)
    screen.result(report.to_json(), "\n".join(report.lines()))
    return STATUS_PARTIAL if report.failures else 0


def numbers(option: str, text: str | None, *, whole: bool = True) -> tuple[float, ...]:
    """Read numbers with commas between them."""
    try:
        return tuple(int(part) if whole else float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        kind = "whole numbers" if whole else "numbers"
        raise UsageError(f"{option} is {kind} with commas between them, found {text!r}.") from error


def plan_data(plan: ImportPlan) -> dict[str, Any]:
    """Return what a dry run shows."""
    return {
        "feature": plan.config.feature,
        "shape": list(plan.shape),
        "columns": list(plan.columns.features) if plan.columns else [],
        "roles": plan.columns.roles if plan.columns else {},
        "left_out": [*plan.columns.left_out, *plan.columns.named] if plan.columns else [],
        "windows": [str(level) for level in plan.levels],
        "clips": [
            {"id": one.id, "path": str(one.input.path), **one.input.annotations, "num_frames": one.num_frames}
            for one in plan.clips
        ],
        "problems": [{"id": one.id, "path": one.path, "error": one.error} for one in plan.problems],
        "ignored": plan.ignored,
    }


def plan_text(plan: ImportPlan) -> str:
    """Format a dry run as text."""
    lines = [f"{one.id}\t{one.input.path}\t{one.input.label or '-'}" for one in plan.clips[:EXAMPLES]]
    lines += [f"… and {len(plan.clips) - EXAMPLES} more"] if len(plan.clips) > EXAMPLES else []
    lines += [f"cannot be imported: {one.id}: {one.error}" for one in plan.problems]
    if plan.ignored:
        lines.append("ignored: " + ", ".join(f"{count} {suffix}" for suffix, count in plan.ignored.items()))
    shape = " × ".join(map(str, plan.shape))
    kinds = f", windows of {' + '.join(map(str, plan.levels))}" if plan.levels else ""
    return "\n".join(
        [
            *lines,
            f"{counted(len(plan.clips), 'clip')}, rows of {shape} {'number' if shape == '1' else 'numbers'}{kinds}, "
            f"{counted(len(plan.problems), 'problem')}",
        ]
    )
