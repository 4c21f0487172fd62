"""`est submit`: extractions and sweeps on many machines, or as several processes of this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import STATUS_INTERRUPTED, UsageError, counted, some
from ..options import command, examples, with_options_of
from ..panels import OUTPUT
from ..screen import Screen
from .clusteroptions import EngineAgain, OutArgument, RequeuesAgain, TimeAgain, slurm_options
from .extractshards import extract
from .submissionpage import page, show
from .sweepjobs import sweep

if TYPE_CHECKING:
    from ...cluster.state import State

app = typer.Typer(
    help="Extract or sweep on many machines, or in parts on this one. See how far the jobs are, retry, cancel.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
PartNumber = Annotated[int, typer.Option("--part", metavar="N", help="Which shard or job, counted from 0.")]
WorkersNumber = Annotated[
    int | None,
    typer.Option("--workers", "--num-workers", help="Processes that decode, or search, if not as submitted."),
]
KeepShards = Annotated[
    bool, typer.Option("--keep-shards", help="Do not remove the shards.", rich_help_panel=OUTPUT.rare)
]
COUNTED = ("clips", "frames", "failures", "trials")  # of what a part has made

command(app, "extract")(extract)
command(app, "sweep")(sweep)


@command(app, "status")
@examples("est submit status cache.zarr", "est submit status cache.zarr --json")
def status(screen: Screen, *, out: OutArgument) -> int:
    """Show how far each part is, and why parts have failed."""
    from ...cluster.status import read_submission

    submission = read_submission(out)
    screen.result(submission.to_json(), page(submission))
    return 0


@command(app, "retry")
@examples("est submit retry cache.zarr", "est submit retry cache.zarr --time 12:00:00 --mem 32G")
@with_options_of(slurm_options, changed={"time": TimeAgain, "requeues": RequeuesAgain})
def retry(screen: Screen, *, out: OutArgument, engine: EngineAgain = None, **options: Any) -> int:
    """Do what failed or is missing, and nothing that is done.

    Inputs are those of then, and options, too, unless others are given.
    """
    from ...cluster import submitting
    from ...cluster.place import Place
    from ...cluster.slurm.queue import read_queue

    of_slurm = slurm_options(read_queue(Place(out)).options, **options)
    chosen = None if engine is None else engine.value
    at_once = (
        options["max_parallel"] if engine else of_slurm.max_parallel
    )  # of another engine than before it says nothing
    with screen.resumable(), screen.watching() as watch:
        submission = submitting.retry(out, engine=chosen, max_parallel=at_once, slurm=of_slurm, watch=watch)
    return show(screen, submission)


@command(app, "cancel")
@examples("est submit cancel cache.zarr", "est submit cancel cache.zarr --json")
def cancel(screen: Screen, *, out: OutArgument) -> int:
    """Stop what is queued or runs; what is done stays. est submit retry resumes."""
    from ...cluster.place import Place
    from ...cluster.submitting import cancel as cancel_parts

    stopped = cancel_parts(out)
    starter = Place(out).starter.name
    told = ["the process that starts the parts" if name == starter else name for name in stopped]
    screen.result({"cancelled": stopped}, f"stopped: {some(told, 20)}" if told else "nothing was queued or running")
    return 0


@command(app, "work")
@examples("est submit work cache.zarr --part 3", "est submit work cache.zarr --part 12 --workers 2")
def work(screen: Screen, *, out: OutArgument, part: PartNumber, workers: WorkersNumber = None) -> int:
    """Do one part, as its job does it; run again it resumes."""
    from ...cluster.parts import run_part
    from ...cluster.place import Place

    if part < 0:
        raise UsageError(
            f"Parts are counted from 0, found {part}.", remedy="--part 0; est submit merge does the last step"
        )
    with screen.resumable(), screen.watching() as watch:
        state = run_part(Place(out), part, workers=workers, watch=watch)
    return show_state(screen, state)


@command(app, "merge")
@examples("est submit merge cache.zarr", "est submit merge cache.zarr --keep-shards")
def merge(screen: Screen, *, out: OutArgument, keep_shards: KeepShards = False) -> int:
    """Do the last step: join what the parts made, and verify it."""
    from ...cluster.parts import run_part
    from ...cluster.place import LAST, Place

    with screen.resumable(), screen.watching() as watch:
        state = run_part(Place(out), LAST, keep_shards=keep_shards, watch=watch)
    return show_state(screen, state)


def show_state(screen: Screen, state: State) -> int:
    """Show how one part ended, and return the exit status."""
    told = [counted(state.result[name], name[:-1]) for name in COUNTED if name in state.result]
    screen.result({"state": state.state, "left": state.left, **state.result}, ": ".join([state.state, ", ".join(told)]))
    return 0 if state.is_done else STATUS_INTERRUPTED
