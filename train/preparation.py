"""What a run needs before its first step: the clips divided into halves, the rows loaded, everything that can be refused refused.

Loading takes longer than a small training, so `prepare` stands by itself: `fit` takes what it returns, as often as is wanted, for every
configuration that reads the same clips in the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..cache import Cache, open_cache
from ..cache.reading.datasets import datasets_of
from ..encoders.device import parse_device
from ..errors import UsageError, differing
from .config.config import TrainConfig
from .data.data import Data, FoldData, FrameSource
from .data.feature_arrays import Arrays, arrays_of, expect_shape
from .data.pixels import choose_source
from .data.sampling import sampler_of
from .folds.annotations import Annotations
from .folds.databases import databases_of, expect_people_of_one, notes_on_databases
from .folds.duplicates import find_duplicates, notes_on_content
from .folds.leaks import Leak, expect_none, find_in_features, notes_on_datasets, seen_by_feature
from .folds.protocols import Plan, plan_folds
from .folds.published import has_megc_table, of_another, of_one_database
from .folds.votes import Votes
from .loop.starts.class_vectors import ClassVectors
from .loop.starts.crops import find_crop_start
from .loop.starts.initial_weights import InitialWeights, Start, find_initial_weights, find_leaks_of_initial_weights
from .loop.starts.last_stage import find_stage_start
from .loop.tensorboard import board_writer
from .loop.trainer import expect_graph
from .loop.world import World, own_device
from .models.contract import CROPS, TOLD, places_of
from .models.registry import model_facts
from .unfinished import missing_clips_named, notes_on_extraction

START = (
    "learns",
    "source",
    "weights",
    "normalize",
    "init",
    "workers",
    "checkpointing",
)  # of fine-tuning: what it begins with


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A cache, ready to be trained on by every configuration that reads it as `config` does."""

    cache: Cache
    config: TrainConfig
    device: torch.device
    plan: Plan
    fold_data: FoldData
    leaks: tuple[Leak, ...]  # that are allowed
    source: FrameSource | None = None  # what a backbone that learns, or a model of crops, looks at
    start: Start | None = None  # where it starts, or a part of one that a model holds
    votes: Votes | None = None  # what people voted for, where that is learnt

    @property
    def data(self) -> Data:
        """Return the data of the first fold, whose clips and labels are those of all."""
        return self.fold_data.of(self.plan.folds[0].name)

    def expect_fitting(self, config: TrainConfig) -> None:
        """Refuse a configuration that reads other rows, or that these clips are too few for."""
        then, now = reading_of(self.config), reading_of(config)
        changed = {name: (then.get(name), now.get(name)) for name in now | then if then.get(name) != now.get(name)}
        if changed:
            raise UsageError(
                differing(f"The data loaded from {self.cache.path}", changed),
                remedy="prepare the cache by these settings, or fit(cache, …), which does",
            )
        expect_graph(config, self.data.clips, self.device)
        with missing_clips_named(self.cache):
            for fold in self.plan.folds:
                self.data.expect_enough(fold, config.loop.batch)


def expect_trainable(config: TrainConfig, world: World) -> None:
    """Refuse what no cache could make possible, before one is read."""
    _expect_shares(config, world)
    if config.tensorboard:
        board_writer()
    sampler_of(config.sampling, config.model.shown)
    assert set(config.model.told) <= set(TOLD), f"a model is told {TOLD}, found {config.model.told}"
    model_facts(config.model, config.seeds)  # refuses what cannot be drawn


def prepare(cache: Cache | Path | str, config: TrainConfig | None = None, *, only: Collection[str] = ()) -> Prepared:
    """Divide the clips of a cache as a configuration says, and load the rows; with `only`, as if there were no other clips."""
    cache = cache if isinstance(cache, Cache) else open_cache(cache)
    config = config or TrainConfig()
    device = own_device(parse_device(config.device))
    table = Annotations.from_cache(cache)
    table = table.only(only) if only else table
    plan = plan_of(cache, table, config)
    if not only:  # a resumed run has reported it before
        plan = replace(plan, notes=(*plan.notes, *notes_on_extraction(cache)))
    names = [fold.name for fold in plan.folds]
    source: FrameSource | None = None
    start: Start | None = None
    leaks: tuple[Leak, ...] = ()
    plain: dict[str, str] = {}  # fold → the array that it reads
    if config.looks_at_frames:
        learns = config.finetune.learns if config.finetune.on else "all"
        mirrored, augments = config.data.mirrored, config.finetune.augments
        source = choose_source(cache, config.finetune.source, learns, mirrored=mirrored, augments=augments)
        if config.finetune.on:
            start = find_initial_weights(cache, config, source, plan)
            leaks = find_leaks_of_initial_weights(start, plan, table)
        else:
            start = find_crop_start(config, cache.recipes.frames.size)
        reads: Mapping[str, Arrays | FrameSource] = dict.fromkeys(names, source)
    else:
        reads = {name: arrays_of(cache, config, name) for name in names}
        plain = {name: found.plain for name, found in reads.items()}
        leaks = find_in_features(cache, plain, plan, table)
        if config.model.last_stage:
            expect_shape(cache, plain[names[0]], maps=True)
            start = find_stage_start(cache, config, plain.values())
    if config.model.class_file is not None:
        start = ClassVectors.read(config.model.class_file)
    leaks = (*leaks, *find_duplicates(cache, plan.folds, table))
    expect_none(leaks, allow=config.allow_leak, cache=cache.path)
    known = start.seen() if isinstance(start, InitialWeights) else []
    for feature in dict.fromkeys(plain.values()):
        known += seen_by_feature(cache, feature)
    told = notes_on_datasets(known, datasets_of(cache))
    plan = replace(plan, notes=(*plan.notes, *notes_on_content(table, plan.folds, leaks), *told))
    shape = () if start is None else start.shape
    votes = Votes.read(Path(config.data.votes), table) if config.data.votes else None

    def load(which: Arrays | FrameSource) -> Data:
        return Data.load(cache, table, plan.folds, config, device, which, shape=shape, votes=votes)

    ready = Prepared(
        cache=cache,
        config=config,
        device=device,
        plan=plan,
        fold_data=FoldData(reads, load),
        leaks=leaks,
        source=source,
        start=start,
        votes=votes,
    )
    if isinstance(start, ClassVectors):
        ready = replace(ready, start=start.of_run(ready.data.labels, ready.data.clips.width))
    elif start is not None:
        start.expect_labels(ready.data.labels)
    return ready


def plan_of(cache: Cache, table: Annotations, config: TrainConfig) -> Plan:
    """Divide the clips, and note a protocol that belongs to another data set."""
    recorded = cache.environment.get("dataset", {}).get("name", "")
    protocol = of_one_database(config.protocol, recorded)
    with missing_clips_named(cache):
        plan = plan_folds(table, protocol, seed=config.seeds[0], validation=config.select == "val")
    notes = [other] if (other := of_another(config.protocol.kind, recorded)) else []
    if has_megc_table(config.protocol):
        databases = databases_of(cache, table)
        expect_people_of_one(databases, table)
        notes += notes_on_databases(databases)
    return replace(plan, notes=(*notes, *plan.notes)) if notes else plan


def reading_of(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that decide what is loaded."""
    finetune = config.finetune
    found = {f"protocol.{name}": value for name, value in asdict(config.protocol).items()}
    found |= {f"data.{name}": getattr(config.data, name) for name in ("residency", "mirrored", "views", "votes")}
    found |= {f"finetune.{name}": getattr(finetune, name) for name in START}
    if finetune.init:
        found |= {f"model.{name}": value for name, value in asdict(config.model).items()} | {"seeds": config.seeds}
    return found | {
        "data.feature": config.feature,
        "sampling.no_face": config.sampling.no_face,
        "maps": bool(config.model.reads),
        "crops": config.model.reads == CROPS,
        "class vectors": config.model.class_file,
        "a last stage": config.model.name if config.model.last_stage else "",
        "told of frames": config.model.told,
        "kinds of windows": places_of(config.model.shown)[0] if config.model.of_windows else 0,
        "augmented pictures": finetune.augments,
        "the first seed": config.seeds[0],
        "a validation part": config.select == "val",
        "control": config.control,
        "device": config.device,
        "allow_leak": config.allow_leak,
    }


def _expect_shares(config: TrainConfig, world: World) -> None:
    """Refuse a batch that cannot be divided between the processes."""
    if config.data.mixup and config.loop.batch // (world.size * config.loop.accumulate) < 2:
        raise UsageError(
            f"data.mixup mixes clips that are learnt from together, and {world.size} processes take one each of {config.loop.batch}.",
            remedy="a larger --batch, or --set data.mixup=0",
        )
    if config.undivided and world.size > 1:
        raise UsageError(
            f"{config.undivided} the clips of a batch, which cannot be divided between processes.",
            remedy="one process alone",
        )
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
