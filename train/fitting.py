"""`fit`: a cache and a configuration → a run, every fold and seed of it trained and scored.

The rows are loaded once and shared by all parts. A run that was stopped goes on where it was: parts that are scored are left alone, the one
under way continues from its checkpoint, bit for bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..cache import Cache, current_environment, open_cache
from ..cache.interrupt import listening
from ..encoders.device import parse_device
from ..encoders.precision import Precision, resolve_precision
from ..errors import EstError, UsageError, some
from .config.config import TrainConfig
from .config.configfile import differences
from .data.clipset import warn_of_rates
from .data.data import Data, Seeing, Shelf
from .data.feature_arrays import Arrays, arrays_of, views_of
from .data.pixels import choose_source
from .data.sampling import Sampler, describe_distinct, sampler_of
from .folds.annotations import Annotations
from .folds.leaks import Leak, describe_leaks, expect_none, find_in_features
from .folds.protocols import Plan, plan_folds
from .folds.published import convention, named, of_another
from .loop.fold_training import train_part
from .loop.initial_weights import Start, find_leaks_of_start, find_start
from .loop.provenance import describe_cache, describe_halves, expect_same
from .loop.tensorboard import board_writer
from .loop.trainer import expect_graph, reproducible
from .loop.watch import Part, Watch
from .loop.world import World, joined, own_device
from .models.registry import model_facts
from .results.results import Results, collect
from .results.run import Run, expect_free, latest_unfinished, new_path

HEADINGS = {
    "none": "frozen backbone",
    "layer4": "the last stage of the backbone learns with {title}; the paper's learns as a whole",
    "all": "the backbone learns with {title}",
}


def heading(config: TrainConfig) -> str:
    """Return the line above every score of a run."""
    model, said = config.model, HEADINGS[config.finetune.learns].format(title=config.model.title)
    if config.finetune.on:
        return said
    return f"{said}: {model.frozen_note}" if model.frozen_note else f"{model.title} on a {said}"


ELSEWHERE = "resume the run on a machine that computes in it, or begin another --out with --precision fp32"


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """What is known before the first step."""

    shelf: Shelf
    plan: Plan
    device: torch.device
    precision: Precision
    leaks: tuple[Leak, ...]  # that are allowed
    source: Seeing | None = None  # what a backbone that learns looks at
    start: Start | None = None  # where it starts

    @property
    def data(self) -> Data:
        """Return the data of the first fold, whose clips and labels are those of all."""
        return self.shelf.of(self.plan.folds[0].name)


def fit(
    cache: Cache | Path | str | None = None,
    out: Path | str | None = None,
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
    watch: Watch | None = None,
) -> Results:
    """Train what `config` says on a cache, into a new folder; with `resume` go on with a run (the latest unfinished one by default).

    Ctrl-C saves a checkpoint and raises KeyboardInterrupt.
    """
    watch = watch or Watch()
    out = Path(out) if out is not None else None
    if resume:
        run = Run.open(out or latest_unfinished())
        _expect_resumable(run, config)
        watch.say(f"going on with {run.path}")
        return _resume(run, cache, watch)
    if cache is None:
        raise UsageError("Which cache? --cache names it.", remedy="--cache cache.zarr")
    if out is not None:
        expect_free(out)
    return _begin(cache, out, config or TrainConfig(), watch)


def _begin(cache: Cache | Path | str, out: Path | None, config: TrainConfig, watch: Watch) -> Results:
    cache = cache if isinstance(cache, Cache) else open_cache(cache)
    threads = config.loop.threads or torch.get_num_threads()
    device = own_device(parse_device(config.device))
    with reproducible(device, threads), joined(device) as world:
        ready = prepare(cache, config, device, watch, world)
        table = ready.data.table
        run = None
        if world.first:
            facts = _facts(cache, ready, config, threads=threads, processes=world.size)
            run = Run.create(out or new_path(), config, facts, describe_halves(ready.plan, table))
            watch.say(f"run: {run.path}")
        return _train(world.tell(run), ready, watch, world)


def _resume(run: Run, cache: Cache | Path | str | None, watch: Watch) -> Results:
    facts = run.facts
    cache = cache if cache is not None else facts["cache"]["path"]
    cache = cache if isinstance(cache, Cache) else open_cache(cache)
    device = own_device(parse_device(run.config.device))
    with reproducible(device, facts["threads"]), joined(device) as world:
        ready = prepare(cache, run.config, device, watch, world, precision=facts["precision"])
        expect_same(run, cache, ready.data.table, describe_halves(ready.plan, ready.data.table))
        if ready.start is not None:
            _expect_same_start(run, cache, ready.source, ready.start)
        now = {"device": ready.device.type, "processes": world.size}
        then = {"device": facts["device"].partition(":")[0], "processes": facts["processes"]}
        if now != then:
            watch.warn(
                f"The run was begun on {then['processes']} × {then['device']}: on {now['processes']} × {now['device']} "
                "its numbers will not be the same bits."
            )
        return _train(run, ready, watch, world)


def _train(run: Run, ready: Prepared, watch: Watch, world: World) -> Results:
    """Train and score what is not yet, and collect the results."""
    parts = [Part(**fact, index=i, total=len(run.parts)) for i, fact in enumerate(run.facts["parts"])]
    folds = {fold.name: fold for fold in ready.plan.folds}
    with run.alone() if world.first else nullcontext(), _saying_how_to_go_on(run, watch):
        with listening(patient=False) as stop:
            for part in parts:
                result = train_part(
                    run,
                    part,
                    folds[part.fold],
                    ready.shelf.of(part.fold),
                    device=ready.device,
                    precision=ready.precision,
                    watch=watch,
                    stop=stop,
                    start=ready.start,
                    world=world,
                )
                if world.any(result is None or (stop.wanted and part is not parts[-1])):
                    raise KeyboardInterrupt
        results = collect(run) if world.first else None
        return world.tell(replace(results, run=run.finish()) if results is not None else None)


@contextmanager
def _saying_how_to_go_on(run: Run, watch: Watch) -> Generator[None]:
    try:
        yield
    except KeyboardInterrupt:
        watch.say(f"stopped; est train --resume --out {run.path} goes on")
        raise


def prepare(
    cache: Cache, config: TrainConfig, device: torch.device, watch: Watch, world: World, *, precision: str | None = None
) -> Prepared:
    """Divide the clips, load the rows, and tell the user what there is: what can be refused is refused here, before any training."""
    if precision is None:
        resolved, why = resolve_precision(config.loop.precision, device)
    else:
        resolved, why = resolve_precision(precision, device, remedy=ELSEWHERE)
    _expect_shares(config, world)
    if config.tensorboard:
        board_writer()
    sampler = sampler_of(config.sampling, config.model.shown)
    model_facts(config.model, config.seeds)  # refuses what cannot be drawn
    table = Annotations.from_cache(cache)
    plan = plan_folds(table, config.protocol, seed=config.seeds[0], validation=config.select == "val")
    if other := of_another(config.protocol.kind, cache.environment.get("dataset", {}).get("name", "")):
        plan = replace(plan, notes=(other, *plan.notes))
    source = start = None
    names = [fold.name for fold in plan.folds]
    if config.finetune.on:
        source = choose_source(
            cache,
            config.finetune.source,
            config.finetune.learns,
            mirrored=config.data.mirrored,
            augments=config.finetune.augments,
        )
        start = find_start(cache, config, source, plan)
        leaks = find_leaks_of_start(start, plan, table)
        reads: Mapping[str, Arrays | Seeing] = dict.fromkeys(names, source)
    else:
        reads = {name: arrays_of(cache, config, name) for name in names}
        leaks = find_in_features(cache, {name: found.plain for name, found in reads.items()}, plan, table)
    expect_none(leaks, allow=config.allow_leak)
    width = 0 if start is None else start.width
    shelf = Shelf(reads, lambda which: Data.load(cache, table, plan.folds, config, device, which, width=width))
    data = shelf.of(names[0])
    if start is not None:
        start.expect_labels(data.labels)
    expect_graph(config, data.clips, device)
    for fold in plan.folds:
        data.expect_enough(fold, config.loop.batch)
    where = f"{device}, {resolved} ({why}), {torch.get_num_threads()} threads"
    where += f", {world.size} processes" if world.size > 1 else ""
    _say(watch, config, data, plan, sampler, where)
    for line in start.report() if start is not None else ():
        watch.say(line)
    for line in describe_leaks(leaks):
        watch.warn(line)
    for line in _describe_reads(cache, config, reads):
        watch.say(line)
    return Prepared(shelf=shelf, plan=plan, device=device, precision=resolved, leaks=leaks, source=source, start=start)


def _describe_reads(cache: Cache, config: TrainConfig, reads: Mapping[str, Arrays | Seeing]) -> list[str]:
    """Say which arrays are read where it is not one of the name that was asked for, and which others there are."""
    found = [which for which in reads.values() if isinstance(which, Arrays)]
    lines = []
    if plain := list(dict.fromkeys(which.plain for which in found if which.plain != config.feature)):
        lines.append(f"each fold reads features that were tuned for it: {some(plain)}")
    views = max((len(views_of(cache, which.plain)) for which in found), default=0)
    number = f"{views} {'view' if views == 1 else 'views'}"
    if config.data.views:
        lines.append(f"clips are shown by {number} too, one look drawn for each clip and epoch")
    elif views:
        lines.append(f"{cache.path} has {number}: --views learns from them too")
    return lines


def _expect_same_start(run: Run, cache: Cache, source: Seeing | None, start: Start) -> None:
    """Refuse to go on from other weights, or with something else to look at."""
    known = run.facts["finetune"]
    if source != known["source"]:
        raise EstError(
            f"{run.path} was begun on {known['source']} of {cache.path}, and there are {source} now.",
            remedy="resume with the cache as it was, or begin a new run",
        )
    then, now = known["digest"], start.weights.digest
    if then != now:
        raise EstError(
            f"{run.path} was begun from the weights {known['weights']} ({then[:8]}); these are others ({now[:8]}).",
            remedy="bring the weights back, or begin a new run",
        )


def _expect_shares(config: TrainConfig, world: World) -> None:
    """Refuse a batch that cannot be divided between the processes."""
    if config.loop.graph and world.size > 1:
        raise UsageError(
            "loop.graph records the step of one process, not sums over several.", remedy="--set loop.graph=false"
        )
    batch, parts = config.loop.batch, world.size * config.loop.accumulate
    if batch % parts:
        over = f" in {config.loop.accumulate} parts" if config.loop.accumulate > 1 else ""
        raise UsageError(
            f"{world.size} processes cannot share a batch of {batch} clips{over} evenly.",
            remedy=f"--batch {(batch // parts + 1) * parts}",
        )


def _say(watch: Watch, config: TrainConfig, data: Data, plan: Plan, sampler: Sampler, where: str) -> None:
    """Tell the user what there is before time is spent on it."""
    watch.say(heading(config))
    watch.say(data.clips.residency)
    watch.say(where)
    line, warning = describe_distinct(sampler, data.clips.count)
    watch.say(line)
    if warning:
        watch.warn(warning)
    asked = config.protocol.kind
    watch.say(f"protocol: {named(asked, plan.kind)}, {len(plan.folds)} folds, independence: {plan.independence}")
    if known := convention(asked):
        watch.say(known)
    for note in plan.notes:
        watch.warn(note)
    loop = config.loop
    if loop.rise < loop.warmup:
        watch.say(f"warm-up: {loop.rise} of {loop.epochs} epochs, and not {loop.warmup}: no more than half of them")
    for fold in plan.folds:
        train, test = (data.clips.fps[data.place[rows][data.place[rows] >= 0]] for rows in (fold.train, fold.test))
        if warning := warn_of_rates(train, test):
            watch.warn(warning)
            break
    blank = np.unique(np.concatenate([fold.train[~data.visible(fold.train)] for fold in plan.folds]))
    if len(blank):
        watch.say(f"{len(blank)} clips to learn from show no face, and are left out: {some(data.table.ids[blank])}")
    hidden = [str(data.table.ids[row]) for fold in plan.folds for row in fold.test[~data.visible(fold.test)]]
    if hidden:
        watch.warn(
            f"{len(hidden)} clips of the test halves show no face or could not be extracted, and count as wrong: {some(hidden)}"
        )


def _facts(cache: Cache, ready: Prepared, config: TrainConfig, *, threads: int, processes: int) -> dict[str, Any]:
    """Return what run.json holds."""
    several = len(config.seeds) > 1
    folds = ready.plan.folds
    return {
        "heading": heading(config),
        "model": config.model.name,
        "cache": describe_cache(cache, ready.data.table),
        "frame_rate": _frame_rate(ready),
        "reads": {fold: reads.plain for fold, reads in ready.shelf.reads.items() if isinstance(reads, Arrays)},
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
        "precision": ready.precision,
        "threads": threads,
        "processes": processes,
        "environment": current_environment(["torch"]),
        **({"finetune": {"source": ready.source, **ready.start.to_json()}} if ready.start is not None else {}),
        **({"leaks": [leak.to_json() for leak in ready.leaks]} if ready.leaks else {}),
    }


def _frame_rate(ready: Prepared) -> float:
    """Return the median frame rate of the clips that are learnt from, 0 when none is known."""
    learnt = np.unique(np.concatenate([ready.data.learnt(fold.train) for fold in ready.plan.folds]))
    rates = ready.data.clips.fps[ready.data.place[learnt]]
    return float(np.median(rates[rates > 0])) if (rates > 0).any() else 0.0


def _expect_resumable(run: Run, config: TrainConfig | None) -> None:
    """Refuse a run that is complete, and settings that are not its own."""
    if run.complete:
        raise UsageError(f"{run.path} is complete.", remedy=f"est evaluate {run.path}, or est train without --resume")
    changed = differences(run.config, config) if config is not None else []
    if changed:
        raise UsageError(
            f"{run.path} was begun with other settings: {'; '.join(changed)}.",
            remedy="resume without them, or begin a run of its own",
        )
