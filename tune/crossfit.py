"""Features tuned for a protocol: each fold has an encoder of its own, and rows of clips that were learnt from come from others still.

The encoder of a fold learns from its training half and makes the rows of all other clips. Its rows of the training half itself would be
better than any of a clip that it has not seen, and a temporal model that learns from them would trust them too much. So the half is divided
into parts, by subject, and the rows of a part come from an encoder that has learnt from the other parts alone.

What is done stays done: encoders that are there are not tuned again, and the cache resumes from its last commit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..cache import Cache, open_cache
from ..cache.trained import TrainedOn
from ..encoders.device import parse_device
from ..encoders.precision import resolve_precision
from ..encoders.weights import Weights, load_weights
from ..errors import EstError, UsageError, some
from ..extract.arrayplan import ArrayPlan
from ..extract.config import ExtractConfig
from ..extract.recaching import expect_arrays, expect_recachable, expect_source, recache
from ..extract.report import Report
from ..train.config.protocol import ProtocolConfig
from ..train.folds.annotations import Annotations
from ..train.folds.assignment import assign_clips, assign_groups
from ..train.folds.fold import Fold, expect_subjects
from ..train.folds.protocols import Plan, distinct, plan_folds
from ..train.loop.watch import Part, TrainingWatch
from .config import TuneConfig
from .division import expect_no_leaks, find_start_leaks, warn_of_missing, with_inner_part
from .encoder import tune_clips
from .start import start_of_cache

PARTS = 5
PART = 0x9A27  # of the random numbers that divide a half into parts
WHOLE = "encoder.safetensors"  # of a fold's training half


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldEncoders:
    """What is to be tuned for a fold."""

    fold: Fold
    slug: str  # of its arrays and its folder
    parts: Sequence[np.ndarray]  # rows of the table, of which one encoder each learns nothing


def recache_tuned(
    cache: Cache | Path | str,
    out: Path | str,
    tune: TuneConfig | None = None,
    extract: ExtractConfig | None = None,
    *,
    protocol: ProtocolConfig | None = None,
    parts: int = PARTS,
    views: int = 0,
    encoders: Path | str | None = None,
    watch: TrainingWatch | None = None,
) -> Report:
    """Tune the frame encoder for each fold of a protocol, and make a cache of the rows that these encoders make of a cache's crops.

    `tune` says how encoders learn, `extract` how rows are made; `encoders` is the folder of the weights, by default beside the cache. The
    rows of a fold's training half come from `parts` encoders, none of which has learnt from the clips whose rows it makes; with 0 they
    come from the fold's one encoder. `views` adds features of changed crops.

    >>> how = est.TuneConfig(epochs=1, batch=8, frames_per_clip=2, together=1, select="last")
    >>> folds = est.ProtocolConfig(kind="kfold", folds=2)
    >>> report = est.recache_tuned("cache.zarr", "tuned.zarr", how, protocol=folds, parts=0)
    >>> est.open_cache("tuned.zarr").features
    ['gap_fold1', 'gap_fold2']
    """
    cache = cache if isinstance(cache, Cache) else open_cache(cache)
    extract, out = extract or ExtractConfig(), Path(out)
    encoders = None if encoders is None else Path(encoders)
    expect_recachable(cache, out, extract, views=views, crops=extract.crops)  # refused before encoders are tuned
    arrays = tune_folds(
        cache,
        out,
        tune or TuneConfig(),
        protocol=protocol,
        parts=parts,
        taps=extract.features,
        crops=extract.crops,
        encoders=encoders,
        watch=watch,
    )
    return recache(cache, out, arrays, extract, views=views, crops=extract.crops, watch=watch)


def tune_folds(
    cache: Cache,
    out: Path,
    config: TuneConfig,
    *,
    protocol: ProtocolConfig | None = None,
    parts: int = PARTS,
    taps: Sequence[str] = ("gap",),
    crops: bool = False,
    encoders: Path | None = None,
    watch: TrainingWatch | None = None,
) -> list[ArrayPlan]:
    """Tune the encoders of each fold, and return the arrays that `recache` makes with them, one a fold and tap."""
    watch = watch or TrainingWatch()
    folder = encoders or out.with_name(f"{out.stem}-encoders")
    if not folder.exists():
        resolve_precision(config.precision, parse_device(config.device))  # refused before the first of many encoders
    table = Annotations.from_cache(cache)
    warn_of_missing(table, watch)
    plan = plan_folds(table, replace(protocol or ProtocolConfig(), by=config.by), seed=config.seed, validation=False)
    for note in plan.notes:
        watch.warn(note)
    start = start_of_cache(cache, config)
    folds = [plan_fold(table, fold, slug, parts, config) for fold, slug in zip(plan.folds, slugs(plan), strict=True)]
    expect_source(cache, out, crops=crops)
    expect_arrays(cache, [ArrayPlan(name=tap, tap=tap, weights=start) for tap in taps])
    for tap in taps:
        start.backbone.shape_of(tap, cache.recipes.frames.size)  # refuses what the encoder has not
    expect_unseen(start, folds, table, config)
    total = sum(1 + len(wanted.parts) for wanted in folds)
    watch.say(f"{total} encoders, {1 + len(folds[0].parts)} a fold, are tuned into {folder}")
    arrays: list[ArrayPlan] = []
    done = 0
    for wanted in folds:
        whole, *others = tune_fold(
            cache, table, wanted, folder / wanted.slug, config, start, watch, done=done, total=total
        )
        done += 1 + len(others)
        ids = [frozenset(table.ids[rows].tolist()) for rows in wanted.parts]
        arrays += [
            ArrayPlan(
                name=f"{tap}_{wanted.slug}",
                tap=tap,
                weights=whole,
                fold=wanted.fold.name,
                parts=list(zip(others, ids, strict=True)),
            )
            for tap in taps
        ]
    return arrays


def plan_fold(table: Annotations, fold: Fold, slug: str, parts: int, config: TuneConfig) -> FoldEncoders:
    """Divide a fold's training half into parts, so that classes stay in proportion and, by subject, no person is in two."""
    if parts == 0:
        return FoldEncoders(fold=fold, slug=slug, parts=())
    if parts < 2:
        raise UsageError(
            f"Cross-fitting takes two parts or more, found {parts}.", remedy="--cross-fit 5, or 0 for none"
        )
    rows = fold.train[np.argsort(table.ids[fold.train], kind="stable")]
    classes = np.unique(np.array(table.labels, str)[table.label[rows]], return_inverse=True)[1]
    rng = np.random.default_rng([config.seed, PART])
    if config.by == "clip":
        units, found = "clips", len(rows)
        assigned = assign_clips(classes, parts, rng)
    else:
        expect_subjects(table, rows, what="Cross-fitting by subject")
        units, found = "subjects", len(np.unique(table.subject[rows]))
        assigned = assign_groups(table.subject[rows], classes, parts, rng)
    if found < parts:
        raise UsageError(
            f"{fold.name}: {parts} parts need {parts} {units} to learn from, and there are {found}.",
            remedy=f"--cross-fit {found}" if found > 1 else "--cross-fit 0",
        )
    return FoldEncoders(fold=fold, slug=slug, parts=[np.sort(rows[assigned == number]) for number in range(parts)])


def tune_fold(
    cache: Cache,
    table: Annotations,
    wanted: FoldEncoders,
    folder: Path,
    config: TuneConfig,
    start: Weights,
    watch: TrainingWatch,
    *,
    done: int,
    total: int,
) -> list[Weights]:
    """Tune the encoder of a fold, and those of its parts; return them."""
    name = wanted.fold.name
    jobs: Mapping[str, np.ndarray] = {
        WHOLE: wanted.fold.train,
        **{
            f"part{number}.safetensors": np.setdiff1d(wanted.fold.train, rows)
            for number, rows in enumerate(wanted.parts, start=1)
        },
    }
    found = []
    for number, (file, rows) in enumerate(jobs.items()):
        inner = with_inner_part(table, Fold(name=name, train=rows, test=wanted.fold.test), config)
        what = name if file == WHOLE else f"{name}, without part {number}"
        folder.mkdir(parents=True, exist_ok=True)
        path = tune_clips(
            cache,
            inner.train.tolist(),
            inner.val.tolist(),
            folder / file,
            config,
            start=start,
            folds=(name,),
            watch=watch,
            part=Part(name=what, fold=name, seed=config.seed, index=done + number, total=total),
        )
        found.append(load_weights(str(path)))
    return found


def slugs(plan: Plan) -> list[str]:
    """Return names that arrays can have, a different one for each fold."""
    plain = [re.sub(r"[^0-9A-Za-z]+", "_", fold.name).strip("_") for fold in plan.folds]
    return distinct([name or "fold" for name in plain], "_")


def expect_unseen(start: Weights, folds: Sequence[FoldEncoders], table: Annotations, config: TuneConfig) -> None:
    """Refuse a start that has seen what a fold tests, or whose rows are to come from encoders that have not seen them."""
    if start.trained_on is None:
        return
    for wanted in folds:
        expect_no_leaks(find_start_leaks(start, wanted.fold, table), config)
    for wanted in folds:
        if wanted.parts and len(seen := _seen(start.trained_on, table, wanted.fold.train)):
            raise EstError(
                f"The weights {start.name} have learnt from {len(seen)} clips of {wanted.fold.name}'s training half: {some(seen)}. "
                "Encoders that start from them cannot make rows of clips that they have not seen.",
                remedy="--weights imagenet, or --cross-fit 0",
            )


def _seen(record: TrainedOn, table: Annotations, rows: np.ndarray) -> np.ndarray:
    by_id, by_content = record.seen(table.ids.tolist(), table.digest.tolist(), table.span)
    return table.ids[rows[(by_id | by_content)[rows]]]
