"""Leaks: clips of a test or validation half that the features, or the weights at the start, have learnt from before.

Such clips are known by their ids, and under other ids by the content of their sources. Where a plan's halves share no subject, another
clip of a subject that was learnt from is a leak too; and so is a clip that shows what another clip of the training half shows
(duplicates.py). A leak is refused; allowed, it goes into run.json, and every table says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from ...cache import Cache
from ...cache.trained import TrainedOn
from ...errors import EstError, some
from .annotations import Annotations
from .protocols import Plan

Seen = tuple[TrainedOn, str]  # a record, and whose it is: "the features 'gap'"
Half = Literal["test", "val", "scored"]
By = Literal["id", "content", "subject", "duplicate"]

BY_SUBJECT = "by subject"  # the independence of a plan
SAYS = {
    "id": "were learnt from before, by",
    "content": "were learnt from before under other ids, by",
    "subject": "show people who were learnt from before, by",
    "duplicate": "show the same frames of the same video as",
}
ALLOW = "--allow-leak scores them nevertheless, and every table says so"
ALONE = "--fold NAME runs a fold alone whose clips were not learnt from"
LAST = "--select last chooses by no clips"
RENAME = "est cache relabel, where they are other people of the same name"
SPLIT = "--split NAME scores a split alone whose clips were not learnt from"
LOOK = "est cache duplicates {cache} shows them all; est cache drop {cache} ID removes one of each pair"
MEND = "est cache relabel {cache} LIST, where a subject, split or fold is wrong"


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Clips of one half that something has learnt from before."""

    what: str  # that has
    fold: str  # empty where another cache is scored
    half: Half
    by: By
    clips: tuple[str, ...]  # ids, in the order of the table
    total: int  # clips of the half
    same_as: tuple[str, ...] = ()  # of duplicates: the id of one that is learnt from, for each of the clips

    def to_json(self) -> dict[str, Any]:
        """Return what run.json and metrics.json hold."""
        found = {**asdict(self), "clips": list(self.clips), "same_as": list(self.same_as)}
        if not self.same_as:
            del found["same_as"]
        return {**found, "words": describe_leaks([self])[0]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        names = ("what", "fold", "half", "by", "total")
        lists = {name: tuple(data.get(name, ())) for name in ("clips", "same_as")}
        return cls(**{name: data[name] for name in names}, **lists)


def seen_by_feature(cache: Cache, feature: str) -> list[Seen]:
    """Return what the weights behind an array have learnt from."""
    record = cache.trained_on(feature)
    return [] if record is None else [(record, f"the features {feature!r}")]


def notes_on_datasets(seen: Iterable[Seen], tested: Iterable[str]) -> list[str]:
    """Return which data sets that are tested a record names as a whole: single clips are not on record there, so nothing is refused."""
    names = {_plain(name) for name in tested}
    notes = []
    for record, what in seen:
        if told := [entry for entry in record.datasets if _plain(entry.partition(":")[0]) in names]:
            notes.append(
                f"LEAK, possibly: the weights of {what} have seen the data set that is tested: {'; '.join(told)}. "
                "Which clips they have seen is not recorded, so no clip is refused, and scores may be too high."
            )
    return list(dict.fromkeys(notes))


def _plain(dataset: str) -> str:
    """Return a data set's name as compared: case, blanks and hyphens do not count."""
    return re.sub(r"[\s_-]+", "", dataset).casefold()


def learnt_from(table: Annotations, rows: np.ndarray, *, folds: Iterable[str], how: str) -> TrainedOn:
    """Return the record of weights that learn from rows of a table."""
    return TrainedOn(
        clips=tuple(table.ids[rows].tolist()),
        digests=tuple(set(table.digest[rows].tolist()) - {""}),
        subjects=tuple(set(table.subject[rows].tolist()) - {""}),
        folds=tuple(folds),
        how=how,
    )


def find_leaks(seen: Iterable[Seen], plan: Plan, table: Annotations) -> tuple[Leak, ...]:
    """Return the leaks into the test and validation halves of a plan."""
    halves: dict[tuple[str, Half], np.ndarray] = {}
    for fold in plan.folds:
        halves |= {(fold.name, "test"): fold.test, (fold.name, "val"): fold.val}
    return find_in_halves(seen, halves, table, by_subject=plan.independence == BY_SUBJECT)


def find_in_features(cache: Cache, reads: Mapping[str, str], plan: Plan, table: Annotations) -> tuple[Leak, ...]:
    """Return the leaks into each fold's halves of what the array that it reads has learnt from."""
    found: list[Leak] = []
    for feature in dict.fromkeys(reads.values()):
        folds = tuple(fold for fold in plan.folds if reads[fold.name] == feature)
        leaks = find_leaks(seen_by_feature(cache, feature), replace(plan, folds=folds), table)
        recipe = cache.recipes.features[feature]
        # the rows of a fold's own training half, of which the validation half is cut, come from encoders that have not seen the clip
        apart = recipe.cross_fit != ""
        found += [
            leak
            for leak in leaks
            if not (apart and leak.half == "val" and leak.fold == recipe.fold and leak.by in ("id", "subject"))
        ]
    return tuple(found)


def find_in_halves(
    seen: Iterable[Seen], halves: Mapping[tuple[str, Half], np.ndarray], table: Annotations, *, by_subject: bool
) -> tuple[Leak, ...]:
    """Return the leaks into halves, (fold, half) → rows of the table. Inputs without frames cannot leak."""
    found = []
    for record, what in seen:
        by_id, by_content = record.seen(table.ids.tolist(), table.digest.tolist(), table.span)
        people = by_subject & record.knows_subjects(table.subject.tolist())
        masks: dict[By, np.ndarray] = {
            "id": by_id,
            "content": by_content,
            "subject": people & ~by_id & ~by_content,
        }
        for (fold, half), rows in halves.items():
            for by, mask in masks.items():
                leaking = rows[(mask & ~table.missing)[rows]]
                if len(leaking):
                    clips = tuple(table.ids[leaking].tolist())
                    found.append(Leak(what=what, fold=fold, half=half, by=by, clips=clips, total=len(rows)))
    return tuple(found)


def expect_none(leaks: Sequence[Leak], *, allow: bool, remedy: str = ALONE, cache: object = "CACHE") -> None:
    """Refuse leaks, unless they are allowed; `remedy` is what else can be done about a test half that was learnt from before."""
    if not leaks or allow:
        return
    own = [leak for leak in leaks if leak.half != "scored"]
    copies = any(leak.by == "duplicate" for leak in own)
    before = any(leak.half != "val" and leak.by != "duplicate" for leak in own)
    ways = [remedy] if before or len(own) < len(leaks) else [LAST] if all(leak.half == "val" for leak in leaks) else []
    ways += [SPLIT] if any(leak.by == "duplicate" and leak.half == "scored" for leak in leaks) else []
    ways += [RENAME] if any(leak.by == "subject" for leak in leaks) else []
    ways += [way.format(cache=cache) for way in (LOOK, MEND)] if copies else []
    raise EstError("; ".join(describe_leaks(leaks)) + ".", remedy="; ".join([*ways, ALLOW]))


def describe_leaks(leaks: Iterable[Leak]) -> list[str]:
    """Return what leaks, folds together."""
    groups: dict[tuple[str, Half, By], list[Leak]] = {}
    for leak in leaks:
        groups.setdefault((leak.what, leak.half, leak.by), []).append(leak)
    lines = []
    for (what, half, by), group in groups.items():
        clips = [clip for leak in group for clip in leak.clips]
        pairs = [tuple(pair) for leak in group for pair in zip(leak.clips, leak.same_as, strict=False)]
        named: dict[frozenset[str], str] = {}  # once where both are tested in their turn
        for pair in pairs:
            named.setdefault(frozenset(pair), " = ".join(pair))
        folds = [leak.fold for leak in group if leak.fold]
        where = f" of {some(folds)}" if folds else ""
        kind = "clips to be scored" if half == "scored" else f"{half} clips"
        lines.append(
            f"{len(clips)} of {sum(leak.total for leak in group)} {kind}{where} {SAYS[by]} {what}: "
            f"{some(named.values() if by == 'duplicate' else clips)}"
        )
    return lines


def leaks_of(facts: Mapping[str, Any]) -> tuple[Leak, ...]:
    """Return the leaks that a run was allowed."""
    return tuple(Leak.from_json(leak) for leak in facts.get("leaks", ()))


def leaks_of_fold(leaks: Iterable[Leak], fold: str) -> str:
    """Count a fold's leaks, for a cell of a table."""
    counts: dict[Half, set[str]] = {}
    totals = {}
    for leak in leaks:
        if leak.fold == fold:
            counts.setdefault(leak.half, set()).update(leak.clips)
            totals[leak.half] = leak.total
    return ", ".join(f"{len(clips)} of {totals[half]} {half} clips" for half, clips in counts.items()) or "none"
