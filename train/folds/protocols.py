"""Protocols: which clips are learnt from and which are tested, fold by fold, and how independent the two are.

A cache that carries folds or splits is taken at its word. Otherwise folds are made here, by subject unless the user says by clip; the same
clips and seed give the same folds, whatever the order of clips or labels. Independence is what the annotations show, never what is hoped.
A data set's name is a protocol too: one of these, and what is published beside it (published.py).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from ...errors import UsageError, counted, nearest, some
from ...inputs.splits import SPLITS
from ..config.protocol import PROTOCOLS, By, ProtocolConfig
from .annotations import Annotations
from .assignment import assign_clips, assign_groups, draw_clips, draw_groups
from .fold import (
    Fold,
    expect_halves,
    expect_subjects,
    independence,
    notes_on_classes,
    notes_on_clips,
    relabel,
    splits_of,
    without_labels,
)
from .published import departures

Kind = Literal["split", "folds", "kfold", "loso", "holdout"]

DEALING, VALIDATION = 0, 1  # streams of random numbers under one seed


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """The folds to run, and what the user is told about them."""

    folds: tuple[Fold, ...]
    kind: Kind  # what the request resolves to
    independence: str  # "by subject", "by source", "unknown" or "subjects shared (N)"
    notes: tuple[str, ...]


def plan_folds(table: Annotations, config: ProtocolConfig, *, seed: int, validation: bool) -> Plan:
    """Divide the labelled clips of a cache; with `validation` a part of each training half is set apart."""
    rows = _labelled(table)
    kind = _kind(table, rows, config)
    notes = notes_on_clips(table, rows)
    match kind:
        case "folds":
            folds = _given_folds(table, rows, notes)
        case "split":
            folds = [_given_split(table, rows, notes, validation=validation)]
        case "loso":
            folds = _one_subject_out(table, rows)
        case "kfold":
            folds = _assigned_folds(table, rows, config, seed)
        case _:
            folds = [_held_out(table, rows, config, seed)]
    if config.kind in PROTOCOLS:
        notes += departures(config.kind, table, rows, folds)
    chosen = _choose(folds, config.only)
    if len(chosen) < len(folds):
        notes.append(f"{len(chosen)} of {len(folds)} folds run: {', '.join(folds[i].name for i in chosen)}.")
    run = []
    for number in chosen:
        fold = replace(folds[number], train=folds[number].train[~table.missing[folds[number].train]])
        expect_halves(table, fold)
        if validation and len(fold.val) and config.val_part:
            raise UsageError(
                "protocol.val_part divides the training half, and the validation split "
                f"({counted(len(fold.val), 'clip')}) chooses already.",
                remedy="leave protocol.val_part out, or --protocol kfold",
            )
        if validation and not len(fold.val):
            fold = _with_validation(table, fold, config, np.random.default_rng([seed, VALIDATION, number]))
        run.append(fold)
    shown, shared = independence(table, run)
    assert config.by == "clip" or kind in ("folds", "split") or shown == "by subject", shown
    notes += notes_on_classes(table, run) + shared
    return Plan(folds=tuple(run), kind=kind, independence=shown, notes=tuple(notes))


def has_validation_split(table: Annotations) -> bool:
    """Return whether the splits of a cache name clips to choose by: a validation split beside a test split."""
    rows = np.flatnonzero((table.label >= 0) & ~table.missing)
    splits = splits_of(table, rows)
    return "test" in splits and "val" in splits


def _labelled(table: Annotations) -> np.ndarray:
    """Return the rows with a label, in the order of their ids."""
    rows = np.flatnonzero(table.label >= 0)
    if not len(rows):
        raise without_labels(table)
    classes = np.unique(table.label[rows])
    if len(classes) == 1:
        all_of = f"All {len(rows)} labelled clips are" if len(rows) > 1 else "The one labelled clip is"
        raise UsageError(
            f"{all_of} {table.labels[classes[0]]!r}; training needs two classes.",
            remedy=f"{relabel('label')}, corrects labels; est extract adds clips of other classes",
        )
    return rows[np.argsort(table.ids[rows], kind="stable")]


def _kind(table: Annotations, rows: np.ndarray, config: ProtocolConfig) -> Kind:
    """Return the kind asked for, or the one that the annotations carry."""
    if config.kind in PROTOCOLS:
        return PROTOCOLS[config.kind].kind
    if config.kind in get_args(Kind):
        return config.kind  # ty: ignore[invalid-explicit-return]
    if (table.fold[rows] >= 0).any():
        return "folds"
    splits = splits_of(table, rows)
    if "train" in splits and ("test" in splits or "val" in splits):
        return "split"
    if config.kind == "official":
        found = np.unique(table.split[rows][table.split[rows] != ""])
        raise UsageError(
            f"The clips carry neither folds nor the splits train and test (or val); their splits: {some(found) or 'none'}.",
            remedy=f"{relabel('fold')} (or `split`); or --folds 5, which are no official folds",
        )
    if config.by == "clip" or (table.subject[rows] != "").all():
        return "kfold"
    lacking = int((table.subject[rows] == "").sum())
    raise UsageError(
        f"The clips carry neither folds nor train and test splits, and {lacking} of {len(rows)} have no subject.",
        remedy=f"--folds 5 --by clip, whose result is not independent of the person, or {relabel('subject')}",
    )


def _given_folds(table: Annotations, rows: np.ndarray, notes: list[str]) -> list[Fold]:
    fold = table.fold[rows]
    numbers = np.unique(fold[fold >= 0]).tolist()
    if not numbers:
        raise UsageError("No clip says in which fold it is tested.", remedy=f"--folds 5, or {relabel('fold')}")
    gone = table.missing[rows]
    if number := int(((fold < 0) & ~gone).sum()):
        notes.append(f"{counted(number, 'clip', 'are')} in no fold: learnt from in all, tested in none.")
    if number := int(((fold < 0) & gone).sum()):
        notes.append(f"{counted(number, 'input')} gave no frames and had no fold: counted nowhere.")
    return [Fold(name=f"fold{n}", train=np.sort(rows[fold != n]), test=np.sort(rows[fold == n])) for n in numbers]


def _given_split(table: Annotations, rows: np.ndarray, notes: list[str], *, validation: bool) -> Fold:
    splits = splits_of(table, rows)
    part = {name: np.sort(rows[splits == name]) for name in SPLITS}
    if not len(part["train"]) or not len(part["test"]) + len(part["val"]):
        found = np.unique(table.split[rows][table.split[rows] != ""])
        raise UsageError(
            f"Expected the splits train and test (or val), found {some(found) or 'none'}.",
            remedy=f"--folds 5, or {relabel('split')}",
        )
    if (others := ~np.isin(splits, list(SPLITS))).any():
        found = [name or "none" for name in np.unique(table.split[rows][others])]
        notes.append(f"{counted(int(others.sum()), 'clip', 'are')} in neither half; their splits: {some(found)}.")
    if not len(part["test"]):
        notes.append("There is no test split: the validation split is tested on.")
        return Fold(name="split", train=part["train"], test=part["val"])
    val = part["val"][~table.missing[part["val"]]]
    if len(val) and not validation:
        notes.append(
            f"The validation split ({counted(len(val), 'clip')}) is neither learnt from nor tested on; --select val uses it."
        )
        val = val[:0]
    return Fold(name="split", train=part["train"], test=part["test"], val=val)


def _one_subject_out(table: Annotations, rows: np.ndarray) -> list[Fold]:
    expect_subjects(table, rows, remedy=f"--folds 5 --by clip, or {relabel('subject')}")
    subjects = table.subject[rows]
    names = np.unique(subjects).tolist()
    if len(names) < 2:
        raise UsageError(
            f"Leave-one-subject-out needs two subjects, found only {names[0]!r}.", remedy="--by clip --folds 5"
        )
    return [
        Fold(name=folder, train=np.sort(rows[subjects != name]), test=np.sort(rows[subjects == name]))
        for name, folder in zip(names, _folder_names(names), strict=True)
    ]


def _assigned_folds(table: Annotations, rows: np.ndarray, config: ProtocolConfig, seed: int) -> list[Fold]:
    rng, classes = np.random.default_rng([seed, DEALING]), _ranks(table, rows)
    number = config.num_folds
    if config.by == "clip":
        _expect_enough(len(rows), number, "clips")
        assigned = assign_clips(classes, number, rng)
    else:
        leave = f"--folds {number} --by clip, whose result is not independent of the person"
        expect_subjects(table, rows, remedy=f"{leave}, or {relabel('subject')}")
        _expect_enough(len(np.unique(table.subject[rows])), number, "subjects")
        assigned = assign_groups(table.subject[rows], classes, number, rng)
    return [
        Fold(name=f"fold{n + 1}", train=np.sort(rows[assigned != n]), test=np.sort(rows[assigned == n]))
        for n in range(number)
    ]


def _held_out(table: Annotations, rows: np.ndarray, config: ProtocolConfig, seed: int) -> Fold:
    drawn = _draw(table, rows, config.test_share, config.by, np.random.default_rng([seed, DEALING]), "A hold-out half")
    return Fold(name="holdout", train=np.sort(rows[~drawn]), test=np.sort(rows[drawn]))


def _with_validation(table: Annotations, fold: Fold, config: ProtocolConfig, rng: np.random.Generator) -> Fold:
    rows = fold.train[np.argsort(table.ids[fold.train], kind="stable")]
    what = f"{fold.name}: an inner validation half"
    number, of = config.inner_fold
    if of:
        drawn = _inner_folds(table, rows, config.by, of, rng, what) == number - 1
    else:
        drawn = _draw(table, rows, config.val_share, config.by, rng, what)
    inner = replace(fold, train=np.sort(rows[~drawn]), val=np.sort(rows[drawn]))
    expect_halves(table, inner)
    return inner


def _inner_folds(
    table: Annotations, rows: np.ndarray, by: By, number: int, rng: np.random.Generator, what: str
) -> np.ndarray:
    """Return the inner fold of each row: by subject, or by clip; the same for whichever of them is asked for."""
    classes = _ranks(table, rows)
    if by == "clip":
        _expect_enough(len(rows), number, "clips", f"{len(rows)} inner folds at most")
        return assign_clips(classes, number, rng)
    expect_subjects(table, rows, what=what)
    people = len(np.unique(table.subject[rows]))
    _expect_enough(
        people, number, "subjects", f"{people} inner folds at most (--inner of est sweep, protocol.val_part)"
    )
    return assign_groups(table.subject[rows], classes, number, rng)


def _draw(
    table: Annotations, rows: np.ndarray, share: float, by: By, rng: np.random.Generator, what: str
) -> np.ndarray:
    """Return which rows are drawn: a share of the subjects, or of the clips."""
    classes = _ranks(table, rows)
    if by == "clip":
        return draw_clips(classes, share, rng)
    expect_subjects(table, rows, what=what)
    names = np.unique(table.subject[rows]).tolist()
    if len(names) < 2:
        raise UsageError(
            f"{what} by subject needs two subjects, and all {len(rows)} clips are of {names[0]!r}.", remedy="--by clip"
        )
    return draw_groups(table.subject[rows], classes, share, rng)


def _choose(folds: list[Fold], only: Iterable[str]) -> list[int]:
    """Return the numbers of the folds to run."""
    names = [fold.name for fold in folds]
    only = [fold_named(name, names) for name in only]
    for name in only:
        if name not in names:
            near = nearest(name, names, cutoff=0.4)
            shown = ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:10])} … {names[-1]} ({len(names)})"
            raise UsageError(f"There is no fold {name!r}; there are {shown}.", remedy=f"--fold {near or names[0]}")
    wanted = set(only) or set(names)
    return [number for number, name in enumerate(names) if name in wanted]


def fold_named(name: str, names: list[str]) -> str:
    """Return the one fold whose name ends in a number that was given for it: fold1 for 1."""
    ending = [one for one in names if re.fullmatch(rf"\D*{re.escape(name)}", one)] if name.isdecimal() else []
    return ending[0] if len(ending) == 1 and name not in names else name


def _ranks(table: Annotations, rows: np.ndarray) -> np.ndarray:
    """Return each row's class as the place of its name in the alphabet, so that the order of labels never matters."""
    return np.argsort(np.argsort(np.array(table.labels, str)))[table.label[rows]]


def _expect_enough(found: int, folds: int, what: str, remedy: str = "") -> None:
    if found >= folds:
        return
    remedy = remedy or f"--folds {found}"
    if found < 2:
        by_clip = f"--by clip, whose result is not independent of the person, or {relabel('subject')}"
        remedy = by_clip if what == "subjects" else "extract more clips"
    raise UsageError(f"{folds} folds need {folds} {what}, and there are {found}.", remedy=remedy)


def _folder_names(names: list[str]) -> list[str]:
    """Return names that can be folders anywhere, different also where case does not count."""
    plain = [re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFKC", name)).strip("._-")[:60] for name in names]
    return distinct([name or "subject" for name in plain], "-")


def distinct(names: Iterable[str], joint: str) -> list[str]:
    """Return names that differ also where case does not count: those that are taken get a number."""
    taken: set[str] = set()
    made = []
    for name in names:
        number, unique = 1, name
        while unique.casefold() in taken:
            number += 1
            unique = f"{name}{joint}{number}"
        taken.add(unique.casefold())
        made.append(unique)
    return made
