"""From a cache, from some of its clips, or from labelled images → a file of weights that `est extract --weights` takes.

Whatever it learns from is a `TuningTask`, and one loop learns it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..cache import Cache, open_cache
from ..encoders.device import parse_device
from ..encoders.weights import Weights
from ..errors import UsageError, counted, some
from ..inputs.stills.stills import Stills
from ..train.config.protocol import ProtocolConfig
from ..train.folds.annotations import Annotations
from ..train.folds.fold import Fold
from ..train.folds.leaks import describe_leaks, learnt_from, notes_on_datasets
from ..train.loop.watch import Part, TrainingWatch
from .clips import clip_samples, expect_labels
from .config import TuneConfig
from .division import (
    NOBODY,
    expect_no_leaks,
    expect_two_classes,
    find_start_leaks,
    fold_of,
    warn_of_missing,
    whole,
    with_inner_part,
)
from .encoder_training import TuningTask, expect_place, expect_precision, learn
from .samples import Samples
from .start import start_of_cache, start_of_images
from .stills import split_of, still_samples, table_of

HOW = "est tune"


def tune_cache(
    cache: Cache | Path | str,
    out: Path | str,
    config: TuneConfig | None = None,
    *,
    protocol: ProtocolConfig | None = None,
    split: str | None = None,
    watch: TrainingWatch | None = None,
) -> Path:
    """Let the frame encoder of a cache learn from single frames of its labelled clips; return the file of the weights.

    It learns from the training half of a protocol's one fold (`protocol.only` names it), from a `split`, or from all clips that have a
    label. The file is what `ExtractConfig(weights=…)` takes, and knows which clips it has learnt from.

    >>> how = est.TuneConfig(epochs=1, batch=8, frames_per_clip=2, together=1, select="last")
    >>> est.tune_cache("cache.zarr", "tuned.safetensors", how).name
    'tuned.safetensors'
    """
    cache = cache if isinstance(cache, Cache) else open_cache(cache)
    config, watch = config or TuneConfig(), watch or TrainingWatch()
    table = Annotations.from_cache(cache)
    warn_of_missing(table, watch)
    if protocol is not None and split is not None:
        raise UsageError("Expected a fold or a split, found both.", remedy="--fold or --split, not both")
    if protocol is not None:
        fold, notes = fold_of(table, protocol, config)
        for note in notes:
            watch.warn(note)
        return _tune(cache, table, fold, Path(out), config, folds=(fold.name,), watch=watch)
    return _tune(cache, table, whole(table, split, config), Path(out), config, watch=watch)


def tune_clips(
    cache: Cache,
    train: Sequence[int] | np.ndarray,
    val: Sequence[int] | np.ndarray,
    out: Path,
    config: TuneConfig,
    *,
    start: Weights | None = None,
    folds: Sequence[str] = (),
    watch: TrainingWatch | None = None,
    part: Part | None = None,
) -> Path:
    """Learn from some rows of `Annotations.from_cache(cache)`; others choose the epoch, without any the last one is kept.

    `folds` are those whose training half the clips are, for the record; `part` is what the watch is told.
    """
    table = Annotations.from_cache(cache)
    fold = Fold(
        name=", ".join(folds), train=np.unique(train).astype(np.int64), val=np.unique(val).astype(np.int64), test=NOBODY
    )
    if len(both := np.intersect1d(fold.train, fold.val)):
        raise UsageError(f"{counted(len(both), 'clip', 'are')} learnt from and chosen by: {some(table.ids[both])}.")
    return _tune(cache, table, fold, out, config, start=start, folds=folds, watch=watch or TrainingWatch(), part=part)


def tune_stills(
    stills: Stills, out: Path | str, config: TuneConfig | None = None, *, watch: TrainingWatch | None = None
) -> Path:
    """Let a frame encoder learn from labelled images, as `find_stills` finds them; return the file of the weights.

    The images' own validation split chooses the epoch, else an inner part of the others.
    """
    config, watch, out = config or TuneConfig(), watch or TrainingWatch(), Path(out)
    expect_place(out)
    for line in stills.lines():
        watch.say(line)
    table = table_of(stills)
    fold = split_of(stills)
    if not len(fold.val) and config.select == "val":
        if config.by == "subject" and (table.subject[fold.train] == "").all():
            watch.warn("The people on the images are not known: the part that chooses the epoch is drawn by image.")
            config = replace(config, by="clip")
        fold = with_inner_part(table, fold, config)
    elif config.select == "last":
        fold = replace(fold, train=np.sort(np.concatenate([fold.train, fold.val])), val=NOBODY)
    expect_two_classes(table, fold.train, "images")
    start = start_of_images(config)
    _say_start(start, watch)
    device = parse_device(config.device)
    expect_precision(Path(out), config, device)
    rows = np.sort(np.concatenate([fold.train, fold.val]))
    samples = still_samples(stills, rows, config, device)
    unit_of = np.full(len(table), -1)
    unit_of[rows] = np.arange(len(rows))
    task = _task(samples, unit_of, table, fold, start, config, watch, folds=())
    return learn(task, out, watch)


def _tune(
    cache: Cache,
    table: Annotations,
    fold: Fold,
    out: Path,
    config: TuneConfig,
    *,
    start: Weights | None = None,
    folds: Sequence[str] = (),
    watch: TrainingWatch,
    part: Part | None = None,
) -> Path:
    expect_place(out)
    rows = np.sort(np.concatenate([fold.train, fold.val]))
    expect_labels(table, rows)
    expect_two_classes(table, fold.train, "clips")
    device = parse_device(config.device)
    expect_precision(out, config, device)
    samples, unit_of = clip_samples(cache, table, rows, config, device)
    if start is None:
        start = start_of_cache(cache, config)
    _say_start(start, watch)
    watch.say(samples.pictures.line)
    hidden = rows[unit_of[rows] < 0]
    if len(hidden):
        watch.say(f"no face is shown in {counted(len(hidden), 'clip')}; left out: {some(table.ids[hidden])}")
    return learn(_task(samples, unit_of, table, fold, start, config, watch, folds=folds), out, watch, part)


def _task(
    samples: Samples,
    unit_of: np.ndarray,
    table: Annotations,
    fold: Fold,
    start: Weights,
    config: TuneConfig,
    watch: TrainingWatch,
    *,
    folds: Sequence[str],
) -> TuningTask:
    """Return what is to be learnt; refuse what cannot be, and a start that has seen what it must not."""
    start.backbone.shape_of("gap", samples.side)  # refuses pictures of a size that the encoder cannot see
    leaks = find_start_leaks(start, fold, table)
    expect_no_leaks(leaks, config)
    seen = [] if start.trained_on is None else [(start.trained_on, f"the start {start.name}")]
    for line in (*describe_leaks(leaks), *notes_on_datasets(seen, samples.facts["datasets"])):
        watch.warn(line)
    train, val = (unit_of[rows][unit_of[rows] >= 0] for rows in (fold.train, fold.val))
    expect_two_classes(table, fold.train[unit_of[fold.train] >= 0], f"{samples.noun} with a face")
    if len(fold.val) and not len(val):
        raise UsageError(f"None of {len(fold.val)} {samples.noun} to choose by shows a face.", remedy="--select last")
    record = learnt_from(table, np.concatenate([fold.train, fold.val]), folds=folds, how=HOW)
    if start.trained_on is not None:
        record = record.merged(start.trained_on)
    people = {
        half: len(np.unique(table.subject[rows][table.subject[rows] != ""]))
        for half, rows in (("train", fold.train), ("val", fold.val))
    }
    chosen = f", {len(val)} choose the epoch" if len(val) else "; the last epoch is kept"
    watch.say(f"{len(train)} {samples.noun} of {len(samples.labels)} classes are learnt from{chosen}")
    return TuningTask(
        config=config,
        samples=samples,
        train=train,
        val=val,
        people=people,
        start=start,
        record=record,
        leaks=leaks,
        device=parse_device(config.device),
    )


def _say_start(start: Weights, watch: TrainingWatch) -> None:
    watch.say(start.report())
    if start.licence:
        watch.say(f"licence of the weights: {start.licence}")
