"""`sweep_cache`: settings searched for each outer fold inside its training half, and what they reach.

    OUT/settings.json      what is searched: the cache, the base configuration, the space, how
    OUT/studies.journal    every trial, as Optuna keeps it (not with --storage)
    OUT/best/<fold>.toml   the configuration that a fold's study chose
    OUT/kept/<fold>/       checkpoints of the best trials
    OUT/trials.csv  sweep.json  sweep.md  sweep.html  pictures
    OUT/retrained/<fold>/  with retraining: a run each, with the chosen configuration

With k outer folds every clip is an inner validation clip of some fold, so that one configuration for all of them would be chosen on test
clips. There is a study for each fold, hence k configurations; the control is searched in the same way, with as many trials.

The same call resumes a sweep that was stopped.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ...cache import Cache, open_cache
from ...encoders.device import parse_device
from ...encoders.precision import resolve_precision
from ...errors import EstError, UsageError, expect_range, some
from ...train.config.config import TrainConfig
from ...train.config.configfile import preset_settings
from ...train.loop.trainer import reproducible
from ...train.loop.world import own_device
from ...train.runs.files import write_json
from ...train.runs.place import read_place
from ..found.record import Sweep
from ..space.built_in import built_in, expect_searched
from ..space.space import Space
from .begun import Begun, room_for
from .control import DEFAULT, control_space
from .ground import Ground, smallest_half
from .identity import SETTINGS, expect_same, identity, of_machine
from .keeping import expect_room
from .retraining import read_retrained, retrain
from .settings import SweepConfig
from .storage import JOURNAL_LOCK, LOCK, KernelLock, open_storage, optuna
from .study import Study, searching
from .watching import SweepWatch

RETRAIN_LOCK = "retrained.lock"


def sweep_cache(
    cache: Cache | Path | str,
    out: Path | str,
    base: TrainConfig | None = None,
    space: Space | None = None,
    config: SweepConfig | None = None,
    *,
    models: Sequence[str] = (),
    storage: str = "",
    workers: int = 0,
    retrain_seeds: int = 0,
    watch: SweepWatch | None = None,
) -> Sweep:
    """Search settings on a cache, for each fold inside its training half, into a folder; the same call resumes.

    With so many `retrain_seeds` each fold's choice is trained on its whole training half and scored once. `models` are those of the
    built-in space, where `space` is None. `workers` processes search at once: 0 takes one a core on a CPU. Ctrl-C raises
    KeyboardInterrupt; trials under way are then tried again.

    >>> folds = {"protocol.kind": "kfold", "protocol.folds": 2}
    >>> base = est.train_config("small", {"model.name": "gru", "loop.epochs": 1, **folds})
    >>> found = est.sweep_cache("cache.zarr", "sweeps/first", base, config=est.SweepConfig(trials=1, inner=1), workers=1)
    >>> sorted(found.to_pandas()["study"])  # a row for each trial
    ['fold1', 'fold1/control', 'fold2', 'fold2/control']
    """
    watch = watch or SweepWatch()
    optuna()  # without it nothing needs to be loaded
    out, config = Path(out), config or SweepConfig()
    base = own_base(base or TrainConfig())
    _expect_searched(base)
    cache = cache if isinstance(cache, Cache) else open_cache(cache)
    base, workers, told = on_this_machine(base, workers)
    with reproducible(torch.device(base.device), base.loop.threads), searching() as worker:
        begun = begin(cache, out, base, space, config, worker, models=models, storage=storage)
        begun.announce(watch, told)
        with begun.working(workers) as crew:
            begun.search(watch, crew)
        found = begun.write(watch)
        found = replace(found, retrained=read_retrained(out, found))
        if retrain_seeds:
            first = base.seeds[0]  # by which folds are made where the cache has none: the same as in the studies
            seeds = tuple(range(first, first + retrain_seeds))
            with KernelLock(out / RETRAIN_LOCK).held():  # of several processes that are called alike, one trains
                found = replace(found, retrained=retrain(begun.ground, out, found, seeds, watch))
        begun.write_pages(found)
    return found


def expect_possible(
    cache: Cache | Path | str,
    out: Path | str,
    base: TrainConfig,
    space: Space | None,
    config: SweepConfig,
    *,
    models: Sequence[str] = (),
    storage: str = "",
) -> None:
    """Refuse what a sweep refuses before its first trial, where other machines will search, and write nothing.

    No device is looked for, and no features are read: of the cache its tables are enough.
    """
    _expect_searched(base)
    cache = cache if isinstance(cache, Cache) else open_cache(cache)
    planned = plan(cache, Path(out), base, space, config, models=models, storage=storage, elsewhere=True)
    expect_room(Path(out), room_for(planned.ground, planned.space, planned.config))


def on_this_machine(base: TrainConfig, workers: int = 0) -> tuple[TrainConfig, int, str]:
    """Return a configuration with this machine's device, threads and precision, how many processes search, and both in words."""
    device = own_device(parse_device(base.device))
    workers = _workers(workers, device)
    threads = base.loop.threads or (1 if device.type == "cpu" else torch.get_num_threads())
    precision, why = resolve_precision(base.loop.precision, device)
    base = replace(base, device=str(device), loop=replace(base.loop, threads=threads, precision=precision))
    return base, workers, f"{device}, {precision} ({why}), {workers} × {threads} threads"


def num_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _workers(asked: int, device: torch.device) -> int:
    """Return how many processes search."""
    cores = num_cores()
    expect_range("--workers", asked, 0, 1_000_000, default=cores)
    if device.type == "cpu" and asked > cores:
        raise UsageError(
            f"{asked} processes would wait for each other: this process may use {cores} of the processor's cores.",
            remedy=f"--workers {cores}",
        )
    return asked or (cores if device.type == "cpu" else 1)


def own_base(base: TrainConfig) -> TrainConfig:
    """Return the configuration over which a space is laid: chosen by inner validation, with one seed, scored on no test half."""
    own = {"select": "val", "eval_every": 0, "keep_epochs": False, "tensorboard": False, "control": True}
    return replace(base, **own, seeds=base.seeds[:1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What a sweep will do, of which nothing is written yet."""

    ground: Ground
    space: Space
    config: SweepConfig
    settings: dict[str, Any]  # that settings.json will hold


def plan(
    cache: Cache,
    out: Path,
    base: TrainConfig,
    space: Space | None,
    config: SweepConfig,
    *,
    models: Sequence[str] = (),
    storage: str = "",
    elsewhere: bool = False,
) -> Plan:
    """Divide the clips and complete the space; refuse what cannot be searched, and a folder that holds another sweep.

    `elsewhere`: other machines will search, which choose what computes; here no features are loaded.
    """
    looked_at = base
    if elsewhere:
        looked_at = replace(base, device="cpu", data=replace(base.data, residency="stream"), control=False)
    clips, given = smallest_half(cache, looked_at)
    if given and config.inner > 1:
        raise UsageError(
            f"The cache has a validation split, by which settings are chosen; found --inner {config.inner}.",
            remedy="leave out --inner, or --protocol kfold",
        )
    inner = 1 if given else config.num_inner(clips)
    ground = Ground.prepare(cache, looked_at, inner)
    space = space or built_in(tuple(models) or (base.model.name,), base, clips)
    config = replace(config, inner=inner)
    if config.sampler == "grid":
        config = replace(config, trials=min(space.size(), config.trials or space.size()))
    own = replace(base, protocol=ground.base.protocol)
    settings = identity(cache, ground.table, own, space, config, storage)
    settings["study"] = expect_same(out, settings, ignored=of_machine(own) if elsewhere else ())
    return Plan(ground=ground, space=space, config=config, settings=settings)


def begin(
    cache: Cache,
    out: Path,
    base: TrainConfig,
    space: Space | None,
    config: SweepConfig,
    worker: str,
    *,
    models: Sequence[str] = (),
    storage: str = "",
) -> Begun:
    """Load the cache, and open the studies of a sweep, or those that are there."""
    planned = plan(cache, out, base, space, config, models=models, storage=storage)
    ground, space, config, known = planned.ground, planned.space, planned.config, planned.settings
    is_new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EstError(f"{out} cannot be made: {error.strerror}.", remedy="--out another folder") from error
    first = first_point(space, ground.base)
    facts = {"space": space.to_json(), "never read": {f: len(ground.outer(f).test) for f in ground.folds}}
    studies, recovered = [], 0
    notes = []
    with KernelLock(out / LOCK).held():  # of two that begin at once, one finds what the other has made
        known["study"] = expect_same(out, known)
        try:
            opened = open_storage(out, storage)
        except EstError:
            if is_new:  # nothing is kept in it
                with suppress(OSError):  # what forbids to write may forbid to remove: the first reason counts
                    for name in (JOURNAL_LOCK, LOCK):
                        (out / name).unlink(missing_ok=True)
                    out.rmdir()
            raise
        write_json(out / SETTINGS, known)
        for fold in ground.folds:
            for control in (True, False) if config.control else (False,):
                study = Study.open(
                    opened,
                    known["study"],
                    f"{fold}/control" if control else fold,
                    config=config,
                    facts=facts,
                    fold=fold,
                    control=control,
                    space=control_space() if control else space,
                    worker=worker,
                    shared=bool(storage),
                )
                recovered += study.recover()
                if control:
                    study.enqueue(DEFAULT)
                elif first is not None:
                    study.enqueue(space.point_of(first))
                studies.append(study)
    if first is not ground.base:
        notes.append(
            f"The settings given are not a point of the space ({some(space.outside(ground.base), joint='; ')}); "
            f"the first trial {'has the values of the preset small' if first is not None else 'is drawn'}."
        )
    return Begun(
        ground=ground,
        out=out,
        space=space,
        config=config,
        studies=studies,
        device=ground.ready.device,
        precision=base.loop.precision,  # ty: ignore[invalid-argument-type]
        storage=storage,
        recovered=recovered,
        notes=tuple(notes),
    )


def first_point(space: Space, base: TrainConfig) -> TrainConfig | None:
    """Return what is tried first: the base, or else the preset small over it; None where neither is in the space."""
    if not space.outside(base):
        return base
    try:
        small = space.configure(base, preset_settings("small", base.model.name))
    except UsageError:  # of other sizes of the base
        return None
    small = replace(small, protocol=base.protocol, seeds=base.seeds, select=base.select, eval_every=base.eval_every)
    return None if space.outside(small) else small


def _expect_searched(base: TrainConfig) -> None:
    """Refuse settings that cannot be searched."""
    if read_place() is not None:
        raise UsageError(
            "A sweep starts its own processes, and torchrun has started several.", remedy="est sweep without torchrun"
        )
    expect_searched(base.model)
    if base.finetune.on:
        raise UsageError(
            "A sweep trains on cached features, and --finetune trains the backbone.",
            remedy="est sweep without --finetune; est train --finetune with the settings that it finds",
        )
