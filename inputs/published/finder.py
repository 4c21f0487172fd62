"""`find_dataset`: a data set by name, below a root → the inputs of an extraction, and the check of what was found.

Every clip that the lists name is looked for, once. What is not there, or holds nothing, becomes a failure with its label, subject, split
and fold: it stays in the denominator of later scores.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...cache.clip import Failure
from ...cache.schema import MOMENTS
from ...errors import UsageError, counted, some
from ..folders import file_problem
from ..input import FoundInputs, Input, arrange, failure_at, unicode_text
from .base import Dataset, Entry, Finding, Media, Reading, Request
from .check import Check, count_rows, differing
from .clip_folder import num_images

LFS = b"version https://git-lfs"
LFS_BYTES = 1024  # a pointer is smaller
MANY = 0.1  # a larger part of the clips missing looks like an unfinished copy
MISSING = "is not there"


def find_dataset(
    dataset: Dataset,
    root: Path,
    *,
    media: Media | None = None,
    lists: Sequence[Path] = (),
    label_names: Sequence[str] = (),
    limit: int | None = None,
    shard: tuple[int, int] | None = None,
) -> FoundInputs:
    """Find the clips of a data set, with its official labels, folds and splits."""
    _expect_options(dataset, media, lists, label_names)
    root = Path(os.path.abspath(root))
    absolute = tuple(Path(os.path.abspath(path)) for path in lists)
    reading = dataset.read(Request(root=root, media=media, lists=absolute, label_names=tuple(label_names)))
    entries, findings = _distinct(reading.entries, dataset)
    reading = replace(reading, entries=tuple(entries))
    present: list[Entry] = []
    failures: list[Failure] = []
    missing: list[str] = []
    counts: list[str] = []
    for entry in reading.entries:
        if problem := _problem(entry, root, counts):
            failures.append(_failure(entry, problem))
            missing += [unicode_text(entry.id)] if problem.endswith(MISSING) else []
        else:
            present.append(entry)
    if not present:
        raise _nothing_there(dataset, reading, root, failures)
    findings = [*reading.findings, *findings, *_told(reading, failures, missing, counts)]
    rows = count_rows(reading, present, dataset.published)
    check = Check(
        dataset=dataset,
        root=root,
        layout=reading.layout,
        rows=rows,
        findings=(*differing(rows), *findings),
    )
    found = arrange([_input(entry) for entry in present], failures, limit=limit, shard=shard)
    ignored = {"clips on no list": len(reading.others)} if reading.others else {}
    return replace(found, ignored=ignored, labels=reading.labels, are_crops=reading.are_crops, check=check)


def _expect_options(dataset: Dataset, media: Media | None, lists: Sequence[Path], label_names: Sequence[str]) -> None:
    if media is not None and media not in dataset.media:
        only = " and ".join(dataset.media) or "what the list names"
        raise UsageError(f"{dataset.title} is published as {only}; it has no {media}.", remedy=f"leave out --{media}")
    if lists and not dataset.is_generic:
        raise UsageError(
            f"--dataset {dataset.name} finds its own lists below --root; found INPUT {some([str(path) for path in lists], 5)} too.",
            remedy="leave out INPUT, or --dataset path-label for lists of your own",
        )
    if label_names and not dataset.takes_label_names:
        raise UsageError(
            f"{dataset.title} has its own label names: {', '.join(dataset.labels)}.", remedy="leave out --label-names"
        )


def _distinct(entries: Sequence[Entry], dataset: Dataset) -> tuple[list[Entry], list[Finding]]:
    """Return every clip once; one that is listed twice in two ways is refused."""
    found: dict[str, Entry] = {}
    twice: list[str] = []
    for entry in entries:
        known = found.setdefault(entry.id, entry)
        if known is entry:
            continue
        for what in ("label", "split", "fold", "subject", *MOMENTS):
            if getattr(known, what) != getattr(entry, what):
                raise UsageError(
                    f"{dataset.title}: the clip {entry.id} is in {known.where or known.path} with the {what} "
                    f"{getattr(known, what)!r}, and in {entry.where or entry.path} with {getattr(entry, what)!r}.",
                    remedy="use the lists of one release, in which each clip has one value",
                )
        twice.append(entry.id)
    if not twice:
        return list(found.values()), []
    text = f"{counted(len(twice), 'clip', 'are')} listed more than once, and each counts once"
    return list(found.values()), [Finding(kind="duplicates", text=text, count=len(twice), examples=tuple(twice))]


def _problem(entry: Entry, root: Path, counts: list[str]) -> str:
    """Return why an entry gives no clip, by looking; a number of frames that is not the list's is noted."""
    if entry.problem:
        return entry.problem
    path = entry.path
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    if not os.path.lexists(path):
        return f"{entry.where or 'the data set'} names it, and {unicode_text(shown)} {MISSING}"
    if unicode_text(str(path)) != str(path) or unicode_text(entry.id) != entry.id:
        return "its name is not UTF-8 and cannot be stored; rename it"
    if entry.kind == "video":
        return file_problem(path) or _stub_problem(path)
    try:
        count = num_images(path, at_most=None if entry.frames is not None else 1)
    except OSError as error:
        return f"the folder cannot be read ({error.strerror})"
    if not count:
        return "the folder holds no pictures"
    if entry.frames not in (None, count):
        counts.append(f"{entry.id}: {entry.frames} on the list, {count} on the disk")
    return ""


def _stub_problem(path: Path) -> str:
    """Say that a file was never downloaded."""
    size = path.stat().st_size
    if size == 0:
        return "the file is empty: copy or download it again"
    if size < LFS_BYTES:
        with open(path, "rb") as file:
            if file.read(len(LFS)) == LFS:
                return "a Git LFS pointer, not the video: git lfs pull downloads it"
    return ""


def _told(reading: Reading, failures: list[Failure], missing: list[str], counts: list[str]) -> list[Finding]:
    findings = []
    if missing:
        text = (
            f"{len(missing)} of {len(reading.entries)} listed clips are not on the disk; they are kept as "
            f"failures and count as wrong"
        )
        if len(missing) > MANY * len(reading.entries):
            text += " (so many look like an unfinished copy, or lists of another release)"
        findings.append(Finding(kind="missing", text=text, count=len(missing), examples=tuple(missing)))
    gone = set(missing)
    others = tuple(f"{failure.id} ({failure.error})" for failure in failures if failure.id not in gone)
    if others:
        text = f"{counted(len(others), 'clip')} cannot be read: kept as failures, which count as wrong"
        findings.append(Finding(kind="unreadable", text=text, count=len(others), examples=others))
    if counts:
        text = (
            f"{counted(len(counts), 'clip', 'have')} another number of frames than their list says; the disk is taken"
        )
        findings.append(Finding(kind="frames", text=text, count=len(counts), examples=tuple(counts)))
    if reading.others:
        text = f"{counted(len(reading.others), 'clip')} on the disk {'is' if len(reading.others) == 1 else 'are'} on no list"
        text += f" ({reading.others_are})" if reading.others_are else ""
        findings.append(
            Finding(
                kind="unlisted",
                text=text,
                count=len(reading.others),
                examples=tuple(unicode_text(path.name) for path in reading.others),
                is_expected=bool(reading.others_are),
            )
        )
    return findings


def _nothing_there(dataset: Dataset, reading: Reading, root: Path, failures: Sequence[Failure]) -> UsageError:
    if not reading.entries:
        return UsageError(
            f"{dataset.title}: no clip below {root}; looked for {'; '.join(dataset.layouts)}.",
            remedy="docs/datasets.md shows the tree",
        )
    return UsageError(
        f"{dataset.title}: none of {counted(len(failures), 'clip')} is there ({reading.layout}); {failures[0].id}: "
        f"{failures[0].error}.",
        remedy="--root is the folder above the lists and the clips; docs/datasets.md shows the tree",
    )


def _failure(entry: Entry, problem: str) -> Failure:
    return failure_at(
        entry.path,
        entry.id,
        unicode_text(problem),
        label=entry.label,
        subject=unicode_text(entry.subject),
        split=entry.split,
        fold=entry.fold,
        extra=_extra(entry),
    )


def _extra(entry: Entry) -> dict[str, str]:
    """Return the cells of extra columns."""
    return {"database": entry.database} if entry.database else {}


def _input(entry: Entry) -> Input:
    return Input(
        id=entry.id,
        path=entry.path,
        kind=entry.kind,
        label=entry.label,
        subject=entry.subject,
        split=entry.split,
        fold=entry.fold,
        start=entry.start,
        end=entry.end,
        onset=entry.onset,
        apex=entry.apex,
        offset=entry.offset,
        extra=_extra(entry),
    )
