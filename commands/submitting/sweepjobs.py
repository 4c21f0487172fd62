"""`est submit sweep`: est sweep by several jobs with one storage, with every option that est sweep has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..options import examples, with_options_of
from ..panels import CLUSTER
from ..screen import Screen
from ..training.sweep import asked
from .clusteroptions import EngineName, Engines, slurm_options, take_slurm
from .submissionpage import show

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        help="Jobs that search the same studies. [default: 2]",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]


@examples(
    "est submit sweep --cache cache.zarr --trials 60 --jobs 2 --engine local",
    "est submit sweep --cache cache.zarr --trials 200 --jobs 8 --gpus 1 --storage postgresql+psycopg://me@host/studies",
)
@with_options_of(asked)
@with_options_of(slurm_options)
def sweep(
    screen: Screen,
    *,
    jobs: Jobs = None,
    engine: EngineName = Engines.slurm,
    **options: Any,
) -> int:
    """Search settings by several jobs that share one database. The last one retrains and writes the page. The same command resumes."""
    of_slurm = take_slurm(options, engine=engine)

    def submit(screen: Screen, cache: Path, out: Path, *settings: Any, **more: Any) -> int:
        from ...cluster.sweeping import submit_sweep

        with screen.resumable(), screen.watching() as watch:
            submission = submit_sweep(
                cache,
                out,
                *settings,
                **more,
                jobs=jobs,
                engine=engine.value,
                max_parallel=of_slurm.max_parallel,
                slurm=of_slurm,
                watch=watch,
            )
        return show(screen, submission)

    return asked(screen, submit, **options)
