"""The clips of a recipe: found below a root, put into the folds of its protocol, and a part of them where only so many are asked for."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..cache.clip import Failure
from ..cache.sources import source_of
from ..errors import UsageError, counted
from ..inputs.folders import natural_key
from ..inputs.input import ANNOTATIONS, FoundInputs, Input, find_inputs
from ..inputs.published import Finding, dataset_named, find_dataset
from ..inputs.published.finder import MISSING
from .recipe import DatasetRecipe

POINTER = "a Git LFS pointer"  # how the error of a clip begins that was not downloaded


@dataclass(frozen=True, kw_only=True)
class RecipeClips:
    """What a recipe works on."""

    found: FoundInputs
    labels: tuple[str, ...]
    listed: int  # labelled clips of the protocol that the lists or the disk name
    missing: int  # of them, without files
    findings: tuple[Finding, ...] = ()
    partial: str = ""  # why a score on these clips is no result of the data set; empty where it is one
    dealt: str = (
        ""  # how folds differ from those of the whole data set, because people are missing; empty where they do not
    )

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Return the clips that can be extracted."""
        return self.found.inputs

    @property
    def everything(self) -> tuple[Input | Failure, ...]:
        """Return all clips that count, with files or without."""
        return (*self.found.inputs, *self.found.problems)

    @property
    def subjects(self) -> int:
        """Count the people, as far as they are known."""
        return len({one.subject for one in self.everything if one.subject})

    @property
    def per_class(self) -> dict[str, int]:
        """Count the clips of each class, in the data set's own order."""
        counts = Counter(one.label for one in self.everything)
        return {label: counts[label] for label in self.labels}

    @cached_property
    def stamps(self) -> dict[str, tuple[int, int] | None]:
        """Return size and time of what each clip is read from, looked at once; None where it cannot be."""
        return {one.id: _stamp(one.path) for one in self.inputs}

    @cached_property
    def digest(self) -> str:
        """Name the files that are read, by size and time, and their annotations, once: whether an extraction is up to date."""
        rows = [[one.id, one.annotations, self.stamps[one.id]] for one in self.inputs]
        rows += [[one.id, {name: getattr(one, name) for name in ANNOTATIONS}, one.error] for one in self.found.problems]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]


def find_clips(recipe: DatasetRecipe, root: Path, limit: int | None = None) -> RecipeClips:
    """Find the clips of a recipe below a root, with the fold in which each is tested."""
    _expect_limit(limit)
    found = find_dataset(dataset_named(recipe.name), root) if recipe.rendering is None else find_inputs([root])
    return choose_clips(recipe, found, root, limit)


def choose_clips(recipe: DatasetRecipe, found: FoundInputs, root: Path, limit: int | None) -> RecipeClips:
    """Take the clips of the protocol from what was found, or so many of them."""
    labels = found.labels or tuple(sorted({one.label for one in found.inputs if one.label is not None}))
    inputs: Sequence[Input] = [one for one in found.inputs if _belongs(recipe, one)]
    problems: Sequence[Failure] = [one for one in found.problems if _belongs(recipe, one)]
    if not inputs:
        raise UsageError(
            f"{recipe.title}: {counted(len(found.inputs), 'clip')} below {root}, and none of {recipe.what}.",
            remedy="docs/datasets.md shows the tree",
        )
    dealt = ""
    if recipe.folds != "given":
        dealt = why_other_folds(recipe, len({one.subject for one in (*inputs, *problems)}))
        folds = deal_folds(recipe, {one.subject for one in (*inputs, *problems)})
        inputs = [replace(one, fold=folds[one.subject]) for one in inputs]
        problems = [replace(one, fold=folds[one.subject]) for one in problems]
    listed = len(inputs) + len(problems)
    missing = sum(one.error.endswith(MISSING) or one.error.startswith(POINTER) for one in problems)
    partial = why_partial(recipe, listed, missing)
    if limit is not None and limit < listed:
        inputs, problems = spread_clips(inputs, limit), []
        partial = f"{len(inputs):,} of {max((*recipe.clips, listed)):,} clips"
    return RecipeClips(
        found=replace(found, inputs=tuple(inputs), problems=tuple(problems), labels=labels),
        labels=labels,
        listed=listed,
        missing=missing,
        findings=found.check.findings if found.check else (),
        partial=partial,
        dealt=dealt,
    )


def why_partial(recipe: DatasetRecipe, listed: int, missing: int) -> str:
    """Return why a score on these clips is no result of the data set; nothing where it is one."""
    if recipe.clips and listed not in recipe.clips:
        known = " or ".join(f"{number:,}" for number in recipe.clips)
        return (
            f"{listed:,} of {known} clips"
            if listed < max(recipe.clips)
            else f"{listed:,} clip{'s' * (listed != 1)}, {known} expected"
        )
    return f"{listed - missing:,} of {listed:,} clips: the files of {missing:,} are not there" if missing else ""


def why_other_folds(recipe: DatasetRecipe, subjects: int) -> str:
    """Say that folds are assigned to other people than those of the whole data set; nothing where they are not."""
    if subjects == recipe.subjects or not recipe.subjects:
        return ""
    return (
        f"{recipe.num_folds} folds of the {subjects} people that are there, others than those of all {recipe.subjects}"
    )


def deal_folds(recipe: DatasetRecipe, subjects: set[str]) -> dict[str, int]:
    """Return the fold, from 1, in which each subject is tested: the same for everybody who has the same subjects."""
    names = sorted(subjects, key=natural_key)
    number = recipe.num_folds
    if "" in subjects or len(names) < number:
        raise UsageError(
            f"{recipe.protocol} has {number} folds by subject, and the clips show {counted(len(names), 'subject')}"
            f"{' (some without a name)' if '' in subjects else ''}: {', '.join(names[:8])}.",
            remedy="a root with the whole data set",
        )
    if recipe.folds == "blocks":
        return {name: place * number // len(names) + 1 for place, name in enumerate(names)}
    return {name: place % number + 1 for place, name in enumerate(names)}


def spread_clips(inputs: Sequence[Input], number: int) -> list[Input]:
    """Return so many clips, spread over people, classes, folds and halves; more clips hold those of fewer."""
    cells: dict[tuple[Any, ...], list[Input]] = {}
    for one in inputs:
        cells.setdefault((one.subject, one.label, one.fold, one.split), []).append(one)
    taken: tuple[Counter[Any], ...] = tuple(Counter() for _ in range(4))
    chosen: set[str] = set()
    while len(chosen) < number:
        cell = min(cells, key=lambda cell: [counts[value] for counts, value in zip(taken, cell, strict=True)])
        chosen.add(cells[cell].pop(0).id)
        for counts, value in zip(taken, cell, strict=True):
            counts[value] += 1
        if not cells[cell]:
            del cells[cell]
    return [one for one in inputs if one.id in chosen]


def _expect_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise UsageError(f"--limit is a number of clips from 1, found {limit}.", remedy="--limit 60")


def _belongs(recipe: DatasetRecipe, one: Input | Failure) -> bool:
    return one.label is not None and (not recipe.split or one.split == recipe.split)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return size and time of a video, of a folder of frames those of its pictures; a folder's own miss what is written into a file."""
    try:
        found = source_of(path, digest=False)
    except OSError:
        return None
    return found.num_bytes, found.mtime_ns
