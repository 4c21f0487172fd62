"""Official lists of several folds, brought together: every clip once, with the fold in which it is tested.

It is tested in one fold at most and learnt from in all others: that is what a cache can say of a clip, and what all published folds are.
Lists that contradict it come from different releases, and are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ...errors import UsageError, counted, some
from ..folders import Key
from .base import Entry, Finding
from .clip_folder import ClipFolder
from .listed import Listed, duplicates

REMEDY = "take all fold lists from one release"


@dataclass(frozen=True, kw_only=True)
class FoldLists:
    """The lists of one fold; a release may leave out the half that is learnt from."""

    test: Sequence[Listed]
    train: Sequence[Listed] = ()


def fold_entries(
    clips: Sequence[Listed], folder: ClipFolder, kind: Literal["frames", "video"], id_of: Callable[[str], str]
) -> tuple[Entry, ...]:
    """Return what `merge_folds` gave as entries, each where it lies."""
    return tuple(
        Entry(
            id=id_of(clip.name),
            path=folder.place(clip.name),
            kind=kind,
            where=clip.where,
            label=clip.label,
            fold=clip.fold,
        )
        for clip in clips
    )


def merge_folds(folds: Mapping[int, FoldLists], dataset: str) -> tuple[list[Listed], list[Finding]]:
    """Return every clip once, tested ones with their fold, and what is to be said about the folds."""
    findings: list[Finding] = []
    clips: dict[Key, Listed] = {}
    twice: dict[str, None] = {}
    for number, lists in folds.items():
        tested = _distinct(lists.test, twice)
        learnt = _distinct(lists.train, twice)
        if shared := tested.keys() & learnt.keys():
            names = [clip.name for clip in lists.test if clip.key in shared]
            raise UsageError(
                f"{dataset}: fold {number} tests {counted(len(shared), 'clip')} that it also learns from "
                f"({some(names, 5)}): its two lists overlap.",
                remedy=REMEDY,
            )
        for key, clip in {**learnt, **tested}.items():
            known = clips.get(key)
            if known is not None:
                _expect_same_label(known, clip, dataset)
            if key in tested:
                if known is not None and known.fold >= 0:
                    raise _tested_twice(folds, known.fold, number, dataset)
                clips[key] = replace(clip, fold=number)
            elif known is None:
                clips[key] = clip
    _expect_same_clips(folds, clips, dataset)
    untested = [clip.name for clip in clips.values() if clip.fold < 0]
    if untested:
        findings.append(
            Finding(
                kind="untested",
                text=f"{counted(len(untested), 'clip', 'are')} tested in no fold, and learnt from in all",
                count=len(untested),
                examples=tuple(untested),
            )
        )
    else:
        text = f"each of {counted(len(clips), 'clip')} is tested in exactly one of {len(folds)} folds"
        findings.append(Finding(kind="folds", text=text, count=len(clips), is_expected=True))
    if twice:
        findings.append(duplicates(list(twice)))
    return list(clips.values()), findings


def _distinct(listed: Sequence[Listed], twice: dict[str, None]) -> dict[Key, Listed]:
    found: dict[Key, Listed] = {}
    for clip in listed:
        if clip.key in found:
            twice[clip.name] = None
            _expect_same_label(found[clip.key], clip, "The data set")
        found.setdefault(clip.key, clip)
    return found


def _expect_same_label(one: Listed, two: Listed, dataset: str) -> None:
    if one.label != two.label:
        raise UsageError(
            f"{dataset}: the clip {two.name} is {one.label} in {one.where}, and {two.label} in {two.where}: lists of different releases.",
            remedy=REMEDY,
        )


def _tested_twice(folds: Mapping[int, FoldLists], one: int, two: int, dataset: str) -> UsageError:
    first = {clip.key for clip in folds[one].test}
    names = [clip.name for clip in folds[two].test if clip.key in first]
    return UsageError(
        f"{dataset}: folds {one} and {two} both test {counted(len(names), 'clip')} ({some(names, 5)}), and each clip is tested once: "
        "one of the two is a fold list of another release.",
        remedy=REMEDY,
    )


def _expect_same_clips(folds: Mapping[int, FoldLists], clips: Mapping[Key, Listed], dataset: str) -> None:
    for number, lists in folds.items():
        if not lists.train:
            continue
        there = {clip.key for clip in (*lists.test, *lists.train)}
        lacking = [clip for key, clip in clips.items() if key not in there]
        if lacking:
            raise UsageError(
                f"{dataset}: the lists of fold {number} name {counted(len(there), 'clip')}, those of all folds {len(clips)}; they lack "
                f"{some([clip.name for clip in lacking], 5)}: lists of another release, or cut short.",
                remedy=REMEDY,
            )
