"""The options that say what does the work of `est submit`: Slurm, this machine, and how much of either."""

from __future__ import annotations

import inspect
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ...cluster.slurm.options import SlurmOptions, read_more
from ...errors import UsageError
from ..panels import CLUSTER, OUTPUT


class Engines(StrEnum):
    """What does the work."""

    slurm = "slurm"
    local = "local"
    debug = "debug"


class ExtractEngines(StrEnum):
    """What does the work of an extraction."""

    slurm = "slurm"
    local = "local"
    debug = "debug"
    ray = "ray"


OutArgument = Annotated[
    Path,
    typer.Argument(
        metavar="OUT", help="The cache, or the folder of the sweep, that was submitted.", rich_help_panel=OUTPUT
    ),
]
EngineName = Annotated[
    Engines,
    typer.Option(
        "--engine",
        help="What does the work.\n\nslurm: jobs of a cluster. local: processes of this machine, in the foreground. "
        "debug: this process, one part after the other. The engine of the encoder is --encoder-engine here.",
        rich_help_panel=CLUSTER,
    ),
]
ExtractEngineName = Annotated[
    ExtractEngines,
    typer.Option(
        "--engine",
        help="What does the work.\n\nslurm: jobs of a cluster. local: processes of this machine, in the foreground. "
        "debug: this process, one part after the other. ray: actors of a Ray cluster, which write one cache, without shards. "
        "The engine of the encoder is --encoder-engine here.",
        rich_help_panel=CLUSTER,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="WHERE",
        help="The Ray cluster: auto, HOST:PORT, ray://HOST:PORT, or local. [default: auto]\n\nauto: the one this machine belongs to. "
        "local: one that is started here and ends with the work.",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]
Actors = Annotated[
    int | None,
    typer.Option(
        "--actors",
        metavar="N",
        help="Ray actors that decode and encode. [default: as many as fit]",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]
NumGpus = Annotated[
    float | None,
    typer.Option(
        "--num-gpus",
        metavar="SHARE",
        help="GPU of a Ray actor, from 0 to 1. [default: 1 where there are GPUs]",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]
EngineAgain = Annotated[
    Engines | None, typer.Option("--engine", help="Another engine than before.", rich_help_panel=CLUSTER)
]
MaxParallel = Annotated[
    int | None,
    typer.Option(
        "--max-parallel",
        metavar="N",
        help="Jobs that run at once.\n\nOf slurm by default all; of local one, which uses every core, or one a GPU.",
        rich_help_panel=CLUSTER,
    ),
]
Partition = Annotated[
    str | None, typer.Option("--partition", metavar="NAME", help="Slurm's partition.", rich_help_panel=CLUSTER)
]
Time = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="H:MM:SS",
        help="Time of a Slurm job. [default: 04:00:00]\n\nA job that is not done by then is queued again, and resumes.",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]
TimeAgain = Annotated[
    str | None,
    typer.Option(
        "--time", metavar="H:MM:SS", help="Time of a Slurm job. [default: as before]", rich_help_panel=CLUSTER
    ),
]
Gpus = Annotated[int | None, typer.Option("--gpus", metavar="N", help="GPUs of a Slurm job.", rich_help_panel=CLUSTER)]
Cpus = Annotated[int | None, typer.Option("--cpus", metavar="N", help="Cores of a Slurm job.", rich_help_panel=CLUSTER)]
Mem = Annotated[
    str | None, typer.Option("--mem", metavar="SIZE", help="Memory of a Slurm job: 16G.", rich_help_panel=CLUSTER)
]
Account = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="Who pays for Slurm jobs.", rich_help_panel=CLUSTER.rare),
]
Requeues = Annotated[
    int | None,
    typer.Option(
        "--requeues",
        metavar="N",
        help="Times that a Slurm job may run out of its --time. [default: 20]",
        show_default=False,
        rich_help_panel=CLUSTER.rare,
    ),
]
RequeuesAgain = Annotated[
    int | None,
    typer.Option(
        "--requeues",
        metavar="N",
        help="Times that a Slurm job may run out of its --time. [default: as before]",
        rich_help_panel=CLUSTER.rare,
    ),
]
More = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        metavar="KEY=VALUE",
        help="Any other option of sbatch; may be repeated.",
        rich_help_panel=CLUSTER.rare,
    ),
]
Print = Annotated[
    bool,
    typer.Option(
        "--print",
        help="Print scripts for sbatch, and submit nothing.\n\nThey need neither submitit nor this command.",
        rich_help_panel=OUTPUT,
    ),
]


def slurm_options(
    base: SlurmOptions | None = None,
    *,
    max_parallel: MaxParallel = None,
    partition: Partition = None,
    time: Time = None,
    gpus: Gpus = None,
    cpus: Cpus = None,
    mem: Mem = None,
    account: Account = None,
    requeues: Requeues = None,
    slurm: More = None,
) -> SlurmOptions:
    """Turn options into those of Slurm; what is not given is as in `base`."""
    given: dict[str, Any] = {
        "max_parallel": max_parallel,
        "partition": partition,
        "time": time,
        "gpus": gpus,
        "cpus": cpus,
    }
    given |= {"mem": mem, "account": account, "requeues": requeues, "more": read_more(slurm) if slurm else None}
    return replace(base or SlurmOptions(), **{name: value for name, value in given.items() if value is not None})


def take_slurm(options: dict[str, Any], *, engine: StrEnum, printing: bool = False) -> SlurmOptions:
    """Take the options of Slurm out of those of a command; refuse them where Slurm does not do the work."""
    given = {name: options.pop(name) for name in OF_SLURM}
    if printing and engine.value in ("local", "debug"):
        raise UsageError(
            f"--print prints scripts for Slurm, and --engine {engine.value} is asked for.",
            remedy="leave out one of them",
        )
    wrong = [f"--{name}" for name, value in given.items() if value is not None and name != "max_parallel"]
    if wrong and engine != Engines.slurm and not printing:
        raise UsageError(
            f"{', '.join(wrong)} {'are options' if len(wrong) > 1 else 'is an option'} of Slurm, and --engine {engine.value} is asked for.",
            remedy="--engine slurm, or leave out what is Slurm's",
        )
    return slurm_options(**given)


OF_SLURM = tuple(name for name in inspect.signature(slurm_options).parameters if name != "base")
