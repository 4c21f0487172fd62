"""Which clips or images are learnt from and which choose the epoch, and whether the start has seen them before.

Of a fold only the training half is touched: an inner part of it, by subject, chooses. Weights that have learnt from clips to be tested or
to be chosen by are refused, unless the user allows it; then the card says so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..encoders.weights import Weights
from ..errors import UsageError, counted, some
from ..train.config.protocol import ProtocolConfig
from ..train.folds.annotations import Annotations
from ..train.folds.assignment import draw_clips, draw_groups
from ..train.folds.fold import Fold, expect_subjects, relabel, splits_of, without_labels
from ..train.folds.leaks import Half, Leak, expect_none, find_in_halves
from ..train.folds.protocols import VALIDATION, plan_folds
from ..train.loop.watch import TrainingWatch
from .config import TuneConfig

NOBODY = np.empty(0, np.int64)
OTHER_START = "--weights imagenet, or weights that have learnt from the training half of this fold alone"


def fold_of(table: Annotations, protocol: ProtocolConfig, config: TuneConfig) -> tuple[Fold, list[str]]:
    """Return the one fold that is asked for, with an inner part of its training half, and what is to be said of it."""
    protocol = replace(protocol, by=config.by, val_share=config.val_share)
    plan = plan_folds(table, protocol, seed=config.seed, validation=config.select == "val")
    if len(plan.folds) > 1:
        names = [fold.name for fold in plan.folds]
        raise UsageError(
            f"An encoder learns from the training half of one fold, and the protocol has {len(names)}: {some(names, 10)}.",
            remedy=f"--fold {names[0]}; est recache --tune makes one for each",
        )
    return plan.folds[0], list(plan.notes)


def warn_of_missing(table: Annotations, watch: TrainingWatch) -> None:
    """Name the labelled clips that gave no frames: nothing is learnt from them."""
    if len(gone := table.ids[table.missing & (table.label >= 0)]):
        watch.warn(
            f"{counted(len(gone), 'labelled clip')} gave no frames, and nothing is learnt from them: {some(gone)}."
        )


def whole(table: Annotations, split: str | None, config: TuneConfig) -> Fold:
    """Return all labelled clips, or those of a split, with an inner part of them."""
    rows = np.flatnonzero((table.label >= 0) & ~table.missing)
    if not len(rows):
        raise without_labels(table)
    if split is not None:
        splits = splits_of(table, rows)
        wanted = splits_of(replace(table, split=np.array([split] * len(table), str)), rows)[0]
        if not (splits == wanted).any():
            found = np.unique(splits[splits != ""]).tolist()
            raise UsageError(
                f"No labelled clip is in the split {split!r}; there are {some(found) or 'no splits'}.",
                remedy=f"--split {found[0]}" if found else relabel("split"),
            )
        rows = rows[splits == wanted]
    return with_inner_part(table, Fold(name="", train=rows, test=NOBODY), config)


def with_inner_part(table: Annotations, fold: Fold, config: TuneConfig) -> Fold:
    """Set a part of the training half apart that chooses the epoch, where one is wanted."""
    if config.select == "last":
        return fold
    rows = fold.train[np.argsort(table.ids[fold.train], kind="stable")]
    names, classes = np.unique(np.array(table.labels, str)[table.label[rows]], return_inverse=True)
    if len(names) < 2:
        return fold  # which is refused for that
    rng = np.random.default_rng([config.seed, VALIDATION])
    if config.by == "clip":
        drawn = draw_clips(classes, config.val_share, rng)
    else:
        expect_subjects(table, rows, what="An inner part by subject")
        people = np.unique(table.subject[rows])
        if len(people) < 2:
            raise UsageError(
                f"An inner part by subject needs two subjects, and all {len(rows)} are of {str(people[0])!r}.",
                remedy="--by clip, whose scores are not independent of the person; or --select last",
            )
        drawn = draw_groups(table.subject[rows], classes, config.val_share, rng)
    return replace(fold, train=np.sort(rows[~drawn]), val=np.sort(rows[drawn]))


def expect_two_classes(table: Annotations, rows: np.ndarray, noun: str) -> None:
    """Refuse a training half from which nothing can be learnt."""
    if not len(rows):
        raise UsageError(f"There are no {noun} to learn from.", remedy="another --fold, or --folds with another number")
    classes = np.unique(table.label[rows])
    if len(classes) == 1:
        raise UsageError(
            f"All {len(rows)} {noun} to learn from are {table.labels[classes[0]]!r}; it takes two classes.",
            remedy="other labels, or another --fold or --split",
        )


def find_start_leaks(start: Weights, fold: Fold, table: Annotations) -> tuple[Leak, ...]:
    """Return what of a fold's test and validation halves the weights at the start have learnt from."""
    if start.trained_on is None:
        return ()
    seen = [(start.trained_on, f"the weights {start.name}")]
    halves: dict[Half, tuple[np.ndarray, np.ndarray]] = {
        "test": (np.concatenate([fold.train, fold.val]), fold.test),
        "val": (fold.train, fold.val),
    }
    found: list[Leak] = []
    for half, (learnt, rows) in halves.items():
        found += find_in_halves(
            seen, {(fold.name, half): rows}, table, by_subject=are_other_people(table, learnt, rows)
        )
    return tuple(found)


def expect_no_leaks(leaks: tuple[Leak, ...], config: TuneConfig) -> None:
    """Refuse leaks that are not allowed."""
    expect_none(leaks, allow=config.allow_leak, remedy=OTHER_START)


def are_other_people(table: Annotations, one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two halves are known to share no subject."""
    known = (table.subject[one] != "").all() and (table.subject[other] != "").all()
    return bool(known) and not len(np.intersect1d(table.subject[one], table.subject[other]))
