"""What a division into halves shows: whether it can be trained and tested on, what it lacks, how independent its halves are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...errors import UsageError, counted, some
from ...inputs.splits import SPLIT_OF
from .annotations import Annotations


@dataclass(frozen=True, kw_only=True, eq=False)
class Fold:
    """One division. Arrays hold rows of the annotations, sorted; `train` and `val` never hold missing ones."""

    name: str
    train: np.ndarray
    test: np.ndarray
    val: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


def splits_of(table: Annotations, rows: np.ndarray) -> np.ndarray:
    """Return each row's split as train, val or test; others as they are written."""
    return np.array([SPLIT_OF.get(name.strip().casefold(), name) for name in table.split[rows].tolist()], str)


def expect_subjects(
    table: Annotations, rows: np.ndarray, *, remedy: str = "", what: str = "Dividing by subject"
) -> None:
    """Refuse clips whose subject is unknown."""
    lacking = rows[table.subject[rows] == ""]
    if len(lacking):
        raise UsageError(
            f"{what} needs every clip's subject; {len(lacking)} of {len(rows)} have none: {some(table.ids[lacking])}.",
            remedy=remedy or f"--by clip, whose result is not independent of the person, or {relabel('subject')}",
        )


def expect_halves(table: Annotations, fold: Fold) -> None:
    """Refuse a division with nothing to learn from, to choose by, or to test on."""
    if not len(fold.train):
        raise UsageError(
            f"{fold.name}: no clip is left to learn from; {len(fold.test)} are tested.", remedy="--folds 5"
        )
    if not len(fold.test):
        raise UsageError(
            f"{fold.name}: no clip is left to test on; {len(fold.train)} are learnt from.", remedy="--folds 5"
        )
    classes = np.unique(table.label[fold.train])
    if len(classes) == 1:
        raise UsageError(
            f"{fold.name}: all {len(fold.train)} clips to learn from are {table.labels[classes[0]]!r}; it takes two classes.",
            remedy="--folds with another number, or --by clip",
        )


def notes_on_clips(table: Annotations, rows: np.ndarray) -> list[str]:
    """Return how many clips are left out, and how many inputs have failed."""
    unlabelled = table.label < 0
    notes = []
    if number := int((unlabelled & ~table.missing).sum()):
        notes.append(f"{number} of {len(table)} clips have no label and are left out.")
    if number := int(table.missing[rows].sum()):
        notes.append(f"{counted(number, 'labelled input')} gave no frames: counted as wrong in a test half.")
    if number := int((unlabelled & table.missing).sum()):
        notes.append(f"{counted(number, 'input')} gave no frames and had no label: counted nowhere.")
    return notes


def notes_on_classes(table: Annotations, folds: Sequence[Fold]) -> list[str]:
    """Return which classes are absent from training or inner validation halves, and from the truth."""
    classes = {code: table.labels[code] for code in np.unique(table.label[table.label >= 0]).tolist()}
    notes = []
    for half, does in (("train", "learnt from"), ("val", "chosen by")):
        held = {fold.name: set(table.label[getattr(fold, half)].tolist()) for fold in folds}
        for code, name in classes.items():
            # a half that is not there lacks nothing
            if lacking := [fold for fold, codes in held.items() if codes and code not in codes]:
                notes.append(f"No clip of {name!r} is {does} in {some(lacking)}.")
    tested = [set(table.label[fold.test].tolist()) for fold in folds]
    if absent := [repr(name) for code, name in classes.items() if code not in set().union(*tested)]:
        notes.append(f"No clip of {', '.join(absent)} is tested: UAR and UF1 average over the classes that are.")
    fewer = sum(len(codes) < len(classes) - len(absent) for codes in tested)
    if fewer:
        notes.append(f"The test halves of {fewer} of {len(folds)} folds lack classes: their own UAR covers the others.")
    return notes


def independence(table: Annotations, folds: Sequence[Fold]) -> tuple[str, list[str]]:
    """Name what training and test halves do not share, as far as the annotations show it, and say what they share."""
    people, sources, contents, inner = set[str](), set[str](), set[str](), set[str]()
    known, traced = True, True
    for fold in folds:
        learnt = np.concatenate([fold.train, fold.val])
        people |= _shared(table.subject, learnt, fold.test)
        sources |= _shared(table.path, learnt, fold.test)
        contents |= _shared(table.digest, learnt, fold.test)
        inner |= _shared(table.subject, fold.train, fold.val)
        seen = np.concatenate([learnt, fold.test])
        known &= bool((table.subject[seen] != "").all())
        traced &= bool((table.path[seen] != "").all())
    notes = []
    if people:
        notes.append(f"{counted(len(people), 'subject', 'are')} in both halves: {some(sorted(people))}.")
    if sources:
        notes.append(f"{counted(len(sources), 'source file', 'have')} clips in both halves: {some(sorted(sources))}.")
    if inner:
        notes.append(
            f"{counted(len(inner), 'subject', 'are')} learnt from and in the validation half: {some(sorted(inner))}."
        )
    if people:
        return f"subjects shared ({len(people)})", notes
    if known:
        return "by subject", notes
    return "by source" if traced and not sources and not contents else "unknown", notes


def relabel(column: str) -> str:
    """Return the command that gives a cache what its annotations lack."""
    return f"est cache relabel CACHE LIST, with a column `{column}` on the list"


def without_labels(table: Annotations) -> UsageError:
    """Return the refusal of clips of which none has a label."""
    again = (
        "est extract … --labels folders, the command of the extraction again: labels are updated, nothing is extracted"
    )
    return UsageError(f"None of {len(table)} clips has a label.", remedy=f"{again}; or {relabel('label')}")


def _shared(values: np.ndarray, one: np.ndarray, other: np.ndarray) -> set[str]:
    return set(np.intersect1d(values[one], values[other]).tolist()) - {""}
