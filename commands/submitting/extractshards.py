"""`est submit extract`: est extract in shards, with every option that est extract has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..engineoptions import Engines as EncoderEngines
from ..extracting.extract import asked
from ..options import examples, with_options_of
from ..panels import CLUSTER, MACHINE, OUTPUT
from ..screen import Screen
from .clusteroptions import (
    Actors,
    Address,
    ExtractEngineName,
    ExtractEngines,
    NumGpus,
    Print,
    slurm_options,
    take_slurm,
)
from .rayextract import expect_no_ray, expect_no_shards, extract_by_ray
from .submissionpage import show

if TYPE_CHECKING:
    from ...extract.config import ExtractConfig
    from ...inputs.input import FoundInputs

Shards = Annotated[
    int | None,
    typer.Option(
        "--shards",
        metavar="N",
        help="Parts that are extracted apart, then merged. [default: 8]\n\nInputs are divided by their bytes, neighbours together.",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]
KeepShards = Annotated[
    bool,
    typer.Option("--keep-shards", help="Do not remove the shards once they are merged.", rich_help_panel=OUTPUT.rare),
]
EncoderEngine = Annotated[
    EncoderEngines,
    typer.Option(
        "--encoder-engine",
        metavar="NAME",
        help="auto, torch or onnxruntime.\n\nWhat computes the encoder: --engine of est extract.",
        rich_help_panel=MACHINE,
    ),
]
# of one cache: clips of a cache by other weights, a share that is named by hand, what a cache records as failed; and what only looks
OF_ONE_CACHE = ("source", "views", "shard", "retry_failed", "compare_detectors", "list_datasets")


@examples(
    "est submit extract videos/ --out cache.zarr --shards 4 --engine local",
    "est submit extract videos/ --out cache.zarr --shards 100 --partition gpu --gpus 1 --time 2:00:00",
    "est submit extract videos/ --out cache.zarr --engine ray --num-gpus 1",
)
@with_options_of(asked, without=OF_ONE_CACHE, changed={"encoder_engine": EncoderEngine})
@with_options_of(slurm_options)
def extract(
    screen: Screen,
    context: typer.Context,
    *,
    shards: Shards = None,
    engine: ExtractEngineName = ExtractEngines.slurm,
    address: Address = None,
    actors: Actors = None,
    num_gpus: NumGpus = None,
    printing: Print = False,
    keep_shards: KeepShards = False,
    **options: Any,
) -> int:
    """Extract in shards on a cluster or this machine, and merge them. Or on Ray. The same command resumes."""
    of_slurm = take_slurm(options, engine=engine, printing=printing)
    of_ray = {"address": address, "actors": actors, "num_gpus": num_gpus}
    if engine is ExtractEngines.ray:
        of_shards = {
            "--shards": shards,
            "--max-parallel": of_slurm.max_parallel,
            "--print": printing,
            "--keep-shards": keep_shards,
        }
        expect_no_shards(of_shards)
    else:
        expect_no_ray(of_ray, engine)

    def submit(screen: Screen, found: FoundInputs, out: Path, config: ExtractConfig, *, retry_failed: bool) -> int:
        if engine is ExtractEngines.ray:
            return extract_by_ray(screen, found, out, config, of_ray)
        from ...cluster.submitting import prepare_extract, submit_extract

        with screen.resumable(), screen.watching() as watch:
            if printing:
                place = prepare_extract(found, out, config, shards=shards, watch=watch)
            else:
                submission = submit_extract(
                    found,
                    out,
                    config,
                    shards=shards,
                    engine=engine.value,
                    max_parallel=of_slurm.max_parallel,
                    slurm=of_slurm,
                    keep_shards=keep_shards,
                    watch=watch,
                )
        if not printing:
            return show(screen, submission)
        from ...cluster.parts import read_manifest
        from ...cluster.slurm.script import sbatch_script

        text = sbatch_script(place, read_manifest(place), of_slurm, keep_shards=keep_shards)
        screen.result({"script": text}, text)
        return 0

    return asked(screen, context, submit, **options)
