"""Whether a cache is large enough to be audited, and from which size on it would be."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ...errors import EstError, UsageError, counted
from ...train.config.config import TrainConfig
from ...train.folds.annotations import Annotations
from ...train.folds.protocols import Fold, Plan, plan_folds

PEOPLE = 5  # tested over all folds, or clips where people are unknown: below that there are no intervals
VAL_CLIPS, VAL_PEOPLE = 20, 3  # of each inner validation part: below that it chooses no epoch, it draws one
SHARES = (0.2, 0.25, 0.3, 0.4, 0.5)  # of the training half, that a user could choose by


def expect_people(table: Annotations) -> None:
    """Refuse a cache of too few people before its clips are divided."""
    labelled = table.label >= 0
    people = _people(table, np.flatnonzero(labelled))
    unit, found = ("people", people) if people is not None else ("clips", int(labelled.sum()))
    if 0 < found < PEOPLE:
        raise UsageError(
            f"An audit needs at least {PEOPLE} {unit} with labels, for intervals over them; this cache has {found}.",
            remedy=f"add clips of {PEOPLE - found} more {unit}" if people is not None else f"from {PEOPLE} clips on",
        )


def expect_validation(table: Annotations, plan: Plan, config: TrainConfig) -> None:
    """Refuse inner validation parts that are too small to choose an epoch by."""
    short = [fold for fold in plan.folds if not _enough(table, fold)]
    if not short:
        return
    fold = min(short, key=lambda one: len(one.val))
    people = _people(table, fold.val)
    has = f"{counted(len(fold.val), 'clip')}" + (f" of {people} people" if people is not None else "")
    wants = f"{VAL_CLIPS} clips" + (f" of {VAL_PEOPLE} people" if people is not None else "")
    used = np.unique(np.concatenate([rows for one in plan.folds for rows in (one.train, one.val, one.test)]))
    total = _people(table, used)
    size = f"{total} people with {len(used)} clips" if total is not None else f"{len(used)} clips"
    raise UsageError(
        f"{fold.name}: the inner validation part has {has}; an audit needs at least {wants} there. "
        f"This cache has {size}; {_from_size(table, plan, config, used)}.",
        remedy=_remedy(table, config),
    )


def _enough(table: Annotations, fold: Fold) -> bool:
    people = _people(table, fold.val)
    return len(fold.val) >= VAL_CLIPS and (people is None or people >= VAL_PEOPLE)


def _people(table: Annotations, rows: np.ndarray) -> int | None:
    """Count the people of some rows; None where one is unknown."""
    names = np.unique(table.subject[rows])
    return None if len(names) == 0 or "" in names else len(names)


def _from_size(table: Annotations, plan: Plan, config: TrainConfig, used: np.ndarray) -> str:
    """Say from which size on the same division would do."""
    learnt = [np.concatenate([fold.train, fold.val]) for fold in plan.folds]
    if (table.split[used] != "").any() and plan.kind == "split" and len(plan.folds[0].val):
        return f"its validation split needs {VAL_CLIPS} clips"
    share = config.protocol.val_share
    clips = math.ceil(VAL_CLIPS / (share * min(len(rows) for rows in learnt) / len(used)))
    total = _people(table, used)
    if total is None:
        return f"about {clips} clips are enough with protocol.val_share = {share:g}"
    part = min(_people(table, rows) or 0 for rows in learnt) / total
    people = next(number for number in range(1, 100_000) if round(share * math.floor(part * number)) >= VAL_PEOPLE)
    return f"about {max(people, PEOPLE)} people and {clips} clips are enough with protocol.val_share = {share:g}"


def _remedy(table: Annotations, config: TrainConfig) -> str:
    """Return a larger share to choose by that is enough, or what else there is."""
    for share in SHARES:
        if share <= config.protocol.val_share:
            continue
        protocol = replace(config.protocol, val_share=share)
        try:
            plan = plan_folds(table, protocol, seed=config.seeds[0], validation=True)
        except EstError:
            continue
        if all(_enough(table, fold) for fold in plan.folds):
            return f"--set protocol.val_share={share:g}, which chooses by more clips and learns from fewer; or a larger cache"
    return "a larger cache; --folds with a higher number leaves more clips to learn from and to choose by"
