"""The same video in two halves of a fold: clips that are tested, or chosen by, and learnt from under another id.

Clips that show the same frames and the same face are leaks, as if the features had seen them: the score would be of clips that were
learnt from. Other frames or other faces of one video in both halves are warned about, not refused. Nothing is claimed of clips whose
source has no digest; they are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ...cache import Cache
from ...cache.reading.duplicates import ClipList, of_one_face, overlapping
from ...errors import counted, some
from .annotations import Annotations
from .fold import Fold
from .leaks import Half, Leak

LEARNT = "clips that are learnt from"
CHOSEN = "clips that are learnt from or chosen by"
BEFORE = "clips that the run has learnt from"


def find_duplicates(cache: Cache, folds: Iterable[Fold], table: Annotations) -> tuple[Leak, ...]:
    """Return the clips of each fold's test and validation halves that are learnt from, or chosen by, under other ids."""
    clips = ClipList.of([cache])
    halves: list[tuple[Fold, Half, str, np.ndarray, np.ndarray]] = []
    for fold in folds:
        train, val, test = (table.place[rows] for rows in (fold.train, fold.val, fold.test))  # in the cache
        learnt = np.concatenate([train, val])
        halves.append((fold, "test", CHOSEN if len(val) else LEARNT, test, learnt))
        halves.append((fold, "val", LEARNT, val, train))
    pairs = overlapping(clips)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    crossing = [both[_has(clips, rows)[both[:, 0]] & _has(clips, learnt)[both[:, 1]]] for *_, rows, learnt in halves]
    distinct = np.unique(np.sort(np.concatenate([np.empty((0, 2), np.int64), *crossing]), axis=1), axis=0)
    same = {(one, other) for one, other in distinct[of_one_face(clips, distinct)].tolist()}
    found = []
    for (fold, half, what, rows, _), pairs in zip(halves, crossing, strict=True):
        copy = {a: b for a, b in sorted(pairs.tolist(), reverse=True) if (min(a, b), max(a, b)) in same}
        found += [_leak(clips, copy, fold=fold.name, half=half, what=what, total=len(rows))] if copy else []
    return tuple(found)


def find_duplicates_elsewhere(cache: Cache, rows: np.ndarray, own: Cache, learnt: Iterable[str]) -> tuple[Leak, ...]:
    """Return the clips to be scored in another cache, by rows, that are clips of `own`, by ids, which a run has learnt from."""
    clips = ClipList.of([own, cache])
    known = set(learnt)
    old = np.array([name in known for name in own.ids] + [False] * len(cache), bool)
    new = _has(clips, rows[rows < len(cache)] + len(own))
    pairs = overlapping(clips)
    pairs = pairs[old[pairs[:, 0]] & new[pairs[:, 1]]]
    copy = {b: a for a, b in reversed(pairs[of_one_face(clips, pairs)].tolist())}
    return (_leak(clips, copy, fold="", half="scored", what=BEFORE, total=len(rows)),) if copy else ()


def notes_on_content(table: Annotations, folds: Sequence[Fold], leaks: Iterable[Leak]) -> tuple[str, ...]:
    """Return which videos are in both halves under several names, though in no clip that is refused; and what cannot be told."""
    refused = {clip for leak in leaks if leak.by == "duplicate" for clip in leak.clips}
    told: dict[str, str] = {}
    for fold in folds:
        learnt = np.concatenate([fold.train, fold.val])
        shared = np.setdiff1d(np.intersect1d(table.digest[learnt], table.digest[fold.test]), [""])
        for content in shared.tolist():
            one, other = (rows[table.digest[rows] == content] for rows in (learnt, fold.test))
            named_alike = set(table.path[one].tolist()) & set(table.path[other].tolist()) - {
                ""
            }  # fold.py says it of these
            if not named_alike and not refused & set(table.ids[other].tolist()):
                told.setdefault(content, f"{table.ids[one[0]]} and {table.ids[other[0]]}")
    notes = []
    if told:
        notes.append(
            f"{counted(len(told), 'video', 'have')} clips in both halves under several names, of other frames or other faces: "
            f"{some(told.values(), joint='; ')}."
        )
    rows = np.unique(np.concatenate([half for fold in folds for half in (fold.train, fold.val, fold.test)]))
    rows = rows[~table.missing[rows]]
    if unknown := int((table.digest[rows] == "").sum()):
        notes.append(
            f"{unknown} of {len(rows)} clips have no digest of their source: the same video under two names would not be seen."
        )
    return tuple(notes)


def _has(clips: ClipList, rows: np.ndarray) -> np.ndarray:
    """Return which clips are among rows; failures, which are −1 or behind the clips, are none."""
    mask = np.zeros(len(clips), bool)
    mask[rows[(rows >= 0) & (rows < len(clips))]] = True
    return mask


def _leak(clips: ClipList, copy: dict[int, int], *, fold: str, half: Half, what: str, total: int) -> Leak:
    """Say that clips are there twice: row → a row that is learnt from."""
    rows = sorted(copy)
    return Leak(
        what=what,
        fold=fold,
        half=half,
        by="duplicate",
        clips=tuple(clips.id(row) for row in rows),
        total=total,
        same_as=tuple(clips.id(copy[row]) for row in rows),
    )
