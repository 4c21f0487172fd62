"""`fit`: a cache and a configuration → a run, every fold and seed of it trained and scored.

The rows are loaded once and shared by all parts. A run that was stopped resumes: parts that are scored are left alone, the one
under way continues from its checkpoint, bit for bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..cache import Cache, current_environment
from ..cache.interrupt import listening
from ..encoders.device import parse_device
from ..encoders.precision import Precision, resolve_precision
from ..errors import EstError, UsageError, differing, quoted
from .announcement import announce, heading
from .config.config import TrainConfig
from .config.configfile import differences
from .data.data import FrameSource
from .data.feature_arrays import Arrays
from .folds.published import has_megc_table
from .folds.votes import Votes
from .loop.fold_training import train_parts
from .loop.stacks.rule import num_together
from .loop.starts.initial_weights import InitialWeights, Start
from .loop.trainer import reproducible
from .loop.watch import Part, TrainingWatch
from .loop.world import World, joined, own_device
from .models.registry import model_facts
from .preparation import Prepared, expect_trainable, prepare
from .provenance import describe_cache, describe_clips, describe_halves, describe_megc, expect_same, own_cache
from .results.results import Results, collect
from .runs.run import Run, expect_free, latest_unfinished, new_path
from .unfinished import clips_besides

ELSEWHERE = "resume the run on a machine that computes in it, or start another --out with --precision fp32"


def fit(
    cache: Cache | Path | str | Prepared | None = None,
    out: Path | str | None = None,
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
    watch: TrainingWatch | None = None,
) -> Results:
    """Train on a cache, every fold and seed, score each on its test half, and write all of it into a new folder.

    `cache` is a cache, its path, or one that `prepare` has loaded; `out` the folder of the run, by default runs/<time>; `config` the
    model, the protocol and the training. With `resume` a run is continued under its own settings: `out`, or the latest unfinished one.
    Ctrl-C saves a checkpoint and raises KeyboardInterrupt. `watch` is told what happens.

    >>> config = est.train_config("small", {"protocol.kind": "kfold", "protocol.folds": 2, "loop.batch": 2, "loop.epochs": 1})
    >>> results = est.fit("cache.zarr", "runs/short", config)
    >>> results.run.complete, results.scores.total
    (True, 4)
    >>> list(results.to_pandas().columns[:5])
    ['part', 'id', 'subject', 'truth', 'prediction']
    """
    watch = watch or TrainingWatch()
    if not isinstance(watch, TrainingWatch):
        raise UsageError(f"A training tells an est.train.TrainingWatch, found {type(watch).__name__}.")
    out = Path(out) if out is not None else None
    if resume:
        run = Run.open(out or latest_unfinished())
        _expect_resumable(run, config)
        if run.permuted and not isinstance(cache, Prepared):  # whose labels would be those of the cache
            raise UsageError(
                f"{run.path} is a reference of est audit: its labels were permuted.",
                remedy="the same est audit again resumes it",
            )
        watch.say(f"resuming {run.path}")
        return _resume(run, cache, watch)
    if cache is None:
        raise UsageError("Which cache? --cache names it.", remedy="--cache cache.zarr")
    if out is not None:
        expect_free(out)
    if config is None:
        config = cache.config if isinstance(cache, Prepared) else TrainConfig()
    if not isinstance(cache, Prepared):  # an audit prepares, and chooses epochs: it shows what choosing does
        config.expect_epoch_of_protocol()
    return _begin(cache, out, config, watch)


def _begin(
    cache: Cache | Path | str | Prepared, out: Path | None, config: TrainConfig, watch: TrainingWatch
) -> Results:
    threads = config.loop.threads or torch.get_num_threads()
    device = own_device(parse_device(config.device))
    precision, why = resolve_precision(config.loop.precision, device)
    with reproducible(device, threads), joined(device) as world:
        expect_trainable(config, world)
        ready = cache if isinstance(cache, Prepared) else prepare(cache, config)
        ready.expect_fitting(config)
        announce(ready, config, describe_machine(device, precision, why, world), watch)
        run = None
        if world.first:
            together, why = _together(ready, config, precision, world)
            if len(config.seeds) * len(ready.plan.folds) > 1:
                watch.say(why)
            facts = _facts(ready, config, precision=precision, threads=threads, processes=world.size)
            facts["together"] = together  # trainings at once, by which sums may differ in their last bits
            table = ready.data.table
            run = Run.create(
                out or new_path(), config, facts, describe_halves(ready.plan, table), describe_clips(table)
            )
            watch.say(f"run: {run.path}")
        return _train(world.tell(run), ready, precision, watch, world)


def _resume(run: Run, cache: Cache | Path | str | Prepared | None, watch: TrainingWatch) -> Results:
    facts = run.facts
    device = own_device(parse_device(run.config.device))
    precision, why = resolve_precision(facts["precision"], device, remedy=ELSEWHERE)
    with reproducible(device, facts["threads"]), joined(device) as world:
        expect_trainable(run.config, world)
        _expect_votes(run)
        place = own_cache(run) if cache is None else cache
        # a cache may have grown since, as one does that is still being extracted: the run resumes with its own clips
        ready = place if isinstance(place, Prepared) else prepare(place, run.config, only=run.clips())
        ready.expect_fitting(run.config)
        announce(ready, run.config, describe_machine(device, precision, why, world), watch)
        expect_same(run, ready.cache, ready.data.table, describe_halves(ready.plan, ready.data.table))
        if grown := clips_besides(run, ready.cache):
            watch.say(grown)
        if isinstance(ready.start, InitialWeights):
            ready = replace(ready, start=ready.start.as_begun(facts["finetune"]["digest"]))
        if ready.start is not None:
            _expect_same_start(run, ready.cache, ready.source, ready.start)
        if ready.votes is not None:
            _expect_same_votes(run, ready.votes)
        now = {"device": ready.device.type, "processes": world.size}
        then = {"device": facts["device"].partition(":")[0], "processes": facts["processes"]}
        if now != then:
            watch.warn(
                f"The run was started on {then['processes']} × {then['device']}: on {now['processes']} × {now['device']} "
                "its numbers will not be bit-identical."
            )
        return _train(run, ready, precision, watch, world)


def _together(ready: Prepared, config: TrainConfig, precision: Precision, world: World) -> tuple[int, str]:
    """Return how many parts are trained at once, and why so many."""
    data = ready.data
    return num_together(
        config,
        width=data.clips.width,
        maps=data.clips.maps,
        num_classes=len(data.labels),
        device=ready.device,
        precision=precision,
        processes=world.size,
    )


def describe_machine(device: torch.device, precision: Precision, why: str, world: World) -> str:
    """Return where and how a run computes."""
    several = f", {world.size} processes" if world.size > 1 else ""
    return f"{device}, {precision} ({why}), {torch.get_num_threads()} threads{several}"


def _train(run: Run, ready: Prepared, precision: Precision, watch: TrainingWatch, world: World) -> Results:
    """Train and score what is not yet, and collect the results."""
    parts = [Part(**fact, index=i, total=len(run.parts)) for i, fact in enumerate(run.facts["parts"])]
    folds = {fold.name: fold for fold in ready.plan.folds}
    with run.alone() if world.first else nullcontext(), _saying_how_to_go_on(run, watch):
        run = run.reopen() if world.first else run
        with listening(patient=False) as stop:
            for group in _groups(parts, ready, run.facts.get("together", 1)):
                trained = train_parts(
                    run,
                    group,
                    folds,
                    ready.fold_data.of(group[0].fold),
                    device=ready.device,
                    precision=precision,
                    watch=watch,
                    stop=stop,
                    start=ready.start,
                    world=world,
                )
                if world.any(not trained or (stop.wanted and group[-1] is not parts[-1])):
                    raise KeyboardInterrupt
        results = collect(run) if world.first else None
        return world.tell(replace(results, run=run.finish()) if results is not None else None)


def _groups(parts: Sequence[Part], ready: Prepared, together: int) -> Iterator[list[Part]]:
    """Yield the parts that are trained together: neighbours that read the same arrays, so many at most."""
    reads = ready.fold_data.reads
    for _, same in itertools.groupby(parts, key=lambda part: reads[part.fold]):
        yield from map(list, _batched(list(same), together))


def _batched(parts: Sequence[Part], size: int) -> Iterator[Sequence[Part]]:
    for first in range(0, len(parts), size):
        yield parts[first : first + size]


@contextmanager
def _saying_how_to_go_on(run: Run, watch: TrainingWatch) -> Generator[None]:
    try:
        yield
    except KeyboardInterrupt:
        watch.stopped(f"stopped; est train --resume --out {quoted(run.path)} resumes")
        raise


def _expect_same_start(run: Run, cache: Cache, source: FrameSource | None, start: Start) -> None:
    """Refuse to resume from other weights, or with something else to look at."""
    known = run.facts["finetune"]
    if source != known["source"]:
        raise EstError(
            differing(run.path, {f"what it looks at in {cache.path}": (known["source"], source)}),
            remedy="resume with the cache as it was, or start a new run",
        )
    then, now = known["digest"], start.digest
    if then != now:
        raise EstError(
            differing(run.path, {"weights": (f"{known['weights']} ({then[:8]})", f"others ({now[:8]})")}),
            remedy="restore the weights, or start a new run",
        )


def _expect_votes(run: Run) -> None:
    """Refuse to resume without the votes."""
    path = run.config.data.votes
    if path and not Path(path).is_file():
        raise EstError(
            f"{run.path} learns from the votes {path}, and there is no such file.", remedy="restore the file"
        )


def _expect_same_votes(run: Run, votes: Votes) -> None:
    """Refuse to resume with other votes."""
    if run.facts["votes"]["digest"] != votes.digest:
        raise EstError(
            f"The votes {votes.path} have changed since {run.path} was started.",
            remedy="restore the file as it was, or start a new run",
        )


def _facts(
    ready: Prepared, config: TrainConfig, *, precision: Precision, threads: int, processes: int
) -> dict[str, Any]:
    """Return what run.json holds."""
    several = len(config.seeds) > 1
    folds = ready.plan.folds
    return {
        "heading": heading(config),
        "model": config.model.name,
        "cache": describe_cache(ready.cache, ready.data.table),
        "frame_rate": _frame_rate(ready),
        "reads": {fold: reads.plain for fold, reads in ready.fold_data.reads.items() if isinstance(reads, Arrays)},
        "labels": list(ready.data.labels),
        "protocol": {
            "kind": ready.plan.kind,
            "independence": ready.plan.independence,
            "notes": list(ready.plan.notes),
            "folds": {
                fold.name: {"train": len(fold.train), "val": len(fold.val), "test": len(fold.test)} for fold in folds
            },
        },
        "parts": [
            {"name": f"{fold.name}-seed{seed}" if several else fold.name, "fold": fold.name, "seed": seed}
            for seed, fold in itertools.product(config.seeds, folds)
        ],
        **model_facts(config.model, config.seeds),
        "device": str(ready.device),
        "precision": precision,
        "threads": threads,
        "processes": processes,
        "environment": current_environment(["torch"]),
        **({"finetune": {"source": ready.source, **ready.start.to_json()}} if ready.start is not None else {}),
        **(
            {"votes": {"digest": ready.votes.digest, "clips": len(ready.votes.line)}} if ready.votes is not None else {}
        ),
        **({"megc": describe_megc(ready.cache, ready.data.table)} if has_megc_table(config.protocol) else {}),
        **({"leaks": [leak.to_json() for leak in ready.leaks]} if ready.leaks else {}),
    }


def _frame_rate(ready: Prepared) -> float:
    """Return the median frame rate of the clips that are learnt from, 0 when none is known."""
    learnt = np.unique(np.concatenate([ready.data.learnt(fold.train) for fold in ready.plan.folds]))
    rates = ready.data.clips.fps[ready.data.place[learnt]]
    return float(np.median(rates[rates > 0])) if (rates > 0).any() else 0.0


def _expect_resumable(run: Run, config: TrainConfig | None) -> None:
    """Refuse a run that is complete and whole, and settings that are not its own."""
    if run.complete and not run.verify():
        raise UsageError(
            f"{run.path} is complete.", remedy=f"est evaluate {quoted(run.path)}, or est train without --resume"
        )
    changed = differences(run.config, config) if config is not None else {}
    if changed:
        raise UsageError(
            differing(run.path, changed),
            remedy="resume without them, or begin a run of its own",
        )
