"""Labels permuted within people: what a model reaches that can learn nothing of how classes look.

A model whose labels are permuted can still learn which class is frequent, and, where people are in both halves, who shows which class how
often. Both stay as they are when labels change places within a person, and so the reference is what such models reach, not 1 / classes.

- A person with several classes: the labels of the person's clips change places.
- A person with one class: there is nothing to change within the person. All such people exchange their classes, whole people at a
  time, so that the clips of a person still stand together. Where all of them have the same class it stays.
- A clip without a person: its label changes places with those of the others without one.

One permutation is drawn for the whole cache, and holds in every fold. A fold's training and inner validation clips are taught it, the
control beside the model learns from it too, and the clips that the fold tests keep their true labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ...train.data.data import Data, FoldData
from ...train.folds.annotations import Annotations
from ...train.folds.protocols import Fold
from ...train.preparation import Prepared
from ...train.runs.run import PERMUTED

STREAM = 2  # of random numbers under one seed; 0 and 1 deal folds and draw validation parts


def permute_rows(table: Annotations, rows: np.ndarray, *, seed: int, number: int) -> np.ndarray:
    """Return for each row of the table the row whose label it is taught; permutation `number` of those of a seed.

    Only `rows` change labels; inputs that gave no frames teach nothing and keep theirs.
    """
    rng = np.random.default_rng([seed, STREAM, number])
    rows = rows[~table.missing[rows]]
    rows = rows[np.argsort(table.ids[rows], kind="stable")]
    teacher = np.arange(len(table))
    single = []  # the clips of each person with one class
    for person in np.unique(table.subject[rows]).tolist():
        clips = rows[table.subject[rows] == person]
        if person and len(np.unique(table.label[clips])) == 1:
            single.append(clips)
        else:
            teacher[clips] = rng.permutation(clips)
    for clips, other in zip(single, rng.permutation(len(single)).tolist(), strict=True):
        teacher[clips] = single[other][0]
    return teacher


def changed_share(table: Annotations, rows: np.ndarray, teacher: np.ndarray) -> float:
    """Return the share of clips whose label is another one after the permutation."""
    rows = rows[~table.missing[rows]]
    return float((table.label[teacher[rows]] != table.label[rows]).mean())


class PermutedFoldData(FoldData):
    """The data of each fold, with other labels to learn from than those that are tested."""

    def __init__(self, base: FoldData, teacher: np.ndarray, folds: Iterable[Fold]) -> None:
        self.reads = base.reads
        self._base, self._teacher = base, teacher
        self._tested = {fold.name: fold.test for fold in folds}

    def of(self, fold: str) -> Data:
        """Return what a fold looks at."""
        data = self._base.of(fold)
        truth = data.truth[self._teacher]
        truth[self._tested[fold]] = data.truth[self._tested[fold]]
        target = torch.from_numpy(truth[data.place >= 0]).to(data.target.device)  # clips of the set, in its order
        return replace(data, truth=truth, target=target, votes=self._votes(data, fold))

    def _votes(self, data: Data, fold: str) -> Tensor | None:
        """Return what people voted for, changed as the labels are: else votes would tell the labels."""
        if data.votes is None:
            return None
        shown = data.place >= 0
        own = np.zeros((len(data.place), data.votes.shape[1]), np.float32)
        own[shown] = data.votes.cpu().numpy()
        taught = own[self._teacher]
        taught[self._tested[fold]] = own[self._tested[fold]]
        return torch.from_numpy(taught[shown]).to(data.votes.device)


def permuted(ready: Prepared, teacher: np.ndarray, number: int, seed: int) -> Prepared:
    """Return a prepared cache whose folds learn from the permuted labels, with one seed; rows are loaded once for all."""
    note = f"{PERMUTED} within people (permutation {number} of est audit): a reference, no result."
    return replace(
        ready,
        config=replace(ready.config, seeds=(seed,)),
        plan=replace(ready.plan, notes=(note, *ready.plan.notes)),
        fold_data=PermutedFoldData(ready.fold_data, teacher, ready.plan.folds),
    )
