"""What has seen the clips that a run is scored on again: the features, the weights that its backbone began with, or the run itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..cache import Cache
from ..cache.reading.datasets import datasets_of
from ..cache.trained import TrainedOn
from ..errors import EstError
from .folds.annotations import Annotations
from .folds.duplicates import find_duplicates, find_duplicates_elsewhere
from .folds.fold import Fold
from .folds.leaks import (
    BY_SUBJECT,
    Half,
    Leak,
    Seen,
    describe_leaks,
    find_in_halves,
    leaks_of,
    notes_on_datasets,
    seen_by_feature,
)
from .loop.watch import TrainingWatch
from .provenance import own_cache
from .runs.run import Run


def own_leaks(
    run: Run, cache: Cache, table: Annotations, tested: Mapping[str, np.ndarray], reads: Mapping[str, str]
) -> tuple[Leak, ...]:
    """Return what leaks into the run's own test halves: what it was allowed, and what the features have seen by now."""
    fold = {part["name"]: part["fold"] for part in run.facts["parts"]}
    by_subject = run.facts["protocol"]["independence"] == BY_SUBJECT
    found = list(leaks_of(run.facts))
    for name, rows in tested.items():
        halves: dict[tuple[str, Half], np.ndarray] = {(fold[name], "test"): rows}
        found += find_in_halves(_seen(run, cache, reads.get(name)), halves, table, by_subject=by_subject)
    rows_of = {name: row for row, name in enumerate(table.ids.tolist())}
    folds, halves_of = {}, run.halves()
    for name, rows in tested.items():
        ids = halves_of[fold[name]]
        train, val = (np.array([rows_of[one] for one in ids[half] if one in rows_of], int) for half in ("train", "val"))
        folds[fold[name]] = Fold(name=fold[name], train=train, val=val, test=rows)
    found += [leak for leak in find_duplicates(cache, folds.values(), table) if leak.half == "test"]
    return tuple(dict.fromkeys(found))


def leaks_elsewhere(
    run: Run, cache: Cache, table: Annotations, rows: np.ndarray, reads: Mapping[str, str], watch: TrainingWatch
) -> tuple[Leak, ...]:
    """Return which clips of another cache features or run have learnt from; warn of people: the names may be other people's."""
    arrays = dict.fromkeys(reads.values()) or [None]
    seen = [one for array in arrays for one in _seen(run, cache, array)]
    found = find_in_halves(seen, {("", "scored"): rows}, table, by_subject=True)
    for line in describe_leaks(leak for leak in found if leak.by == "subject"):
        watch.warn(f"If subjects of one name are the same people, scores are not independent of the person: {line}")
    return (*(leak for leak in found if leak.by != "subject"), *_learnt_elsewhere(run, cache, table, rows, watch))


def _learnt_elsewhere(
    run: Run, cache: Cache, table: Annotations, rows: np.ndarray, watch: TrainingWatch
) -> tuple[Leak, ...]:
    """Return which clips are the same as clips that the run has learnt from, by the content of both caches, as far as it is known."""
    unknown = int((table.digest[rows[~table.missing[rows]]] == "").sum())
    if unknown:
        watch.say(
            f"{unknown} of {len(rows)} clips have no digest of their source: whether the run has learnt from them is not known"
        )
    if unknown == len(rows):
        return ()
    try:
        own = own_cache(run)
    except EstError as error:
        watch.say(f"whether the run has learnt from these clips under other ids is not known: {error.message}")
        return ()
    learnt = {name for half in run.halves().values() for name in (*half["train"], *half["val"])}
    return find_duplicates_elsewhere(cache, rows, own, learnt)


def warn_of_datasets(run: Run, cache: Cache, reads: Mapping[str, str], watch: TrainingWatch) -> None:
    """Say so where features or weights at the start know the data set that is scored."""
    arrays = dict.fromkeys(reads.values()) or [None]
    for line in notes_on_datasets([one for array in arrays for one in _seen(run, cache, array)], datasets_of(cache)):
        watch.warn(line)


def _seen(run: Run, cache: Cache, feature: str | None) -> list[Seen]:
    if feature is not None:
        return seen_by_feature(cache, feature)
    facts = run.facts["finetune"]
    if facts["trained_on"] is None:
        return []
    return [(TrainedOn.from_json(facts["trained_on"]), f"the weights {facts['weights']}")]


def warn_of_learnt(run: Run, table: Annotations, rows: np.ndarray, watch: TrainingWatch) -> None:
    """Say so when clips to be scored are named like clips that the run has learnt from."""
    halves = run.halves().values()
    learnt = {name for half in halves for name in (*half["train"], *half["val"])}
    same = sorted(learnt & set(table.ids[rows].tolist()))
    if same:
        watch.warn(
            f"{len(same)} of {len(rows)} clips have the ids of clips that the run has learnt from, {same[0]!r} for one: "
            "if they are the same clips, their scores say nothing."
        )
