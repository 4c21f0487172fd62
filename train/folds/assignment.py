"""Assigning clips to folds, and drawing a share of them, so that classes stay in proportion.

By group (a subject) a group is never divided; by clip the proportions are exact to one clip. Everything follows from the generator and
from the order of the arguments.

Legend: M clips, G groups, C classes.
"""

from __future__ import annotations

import numpy as np

DRAWS = 256  # random subsets of groups, of which the most even one is taken


def assign_groups(groups: np.ndarray, classes: np.ndarray, num_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return each clip's fold: groups, the largest first, go where their classes are rarest so far."""
    table, member = _count(groups, classes)  # (G, C + 1): clips of each class, and all
    weight = 1 / np.maximum(table.sum(axis=0), 1) ** 2
    order = rng.permutation(len(table))
    order = order[np.argsort(-table[order, -1], kind="stable")]
    held = np.zeros((num_folds, table.shape[1]))
    fold = np.empty(len(table), np.int64)
    for group in order:
        # adding a group raises the sum of squared shares by this much, but for what is the same in every fold
        fold[group] = np.argmin(held @ (table[group] * weight))
        held[fold[group]] += table[group]
    return fold[member]


def assign_clips(classes: np.ndarray, num_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return each clip's fold: shuffled, sorted by class, then assigned in turn."""
    fold = np.empty(len(classes), np.int64)
    fold[_shuffled_by_class(classes, rng)] = np.arange(len(classes)) % num_folds
    return fold


def draw_groups(groups: np.ndarray, classes: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return which clips are drawn (M,): those of a share of the groups, at least one and not all of them."""
    table, member = _count(groups, classes)
    number = min(max(round(share * len(table)), 1), len(table) - 1)
    assert number > 0, "a single group cannot be divided"
    drawn = np.zeros((DRAWS, len(table)), bool)
    for row in drawn:
        row[rng.permutation(len(table))[:number]] = True
    total = np.maximum(table.sum(axis=0), 1)
    part = drawn @ table / total  # (DRAWS, C + 1)
    uneven = ((part - share) ** 2).sum(axis=1) + (part == 1).sum(axis=1)  # no class should be drawn whole
    return drawn[np.argmin(uneven)][member]


def draw_clips(classes: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return which clips are drawn (M,): evenly spaced within each class; a class's only clip where there are no others."""
    order = _shuffled_by_class(classes, rng)
    plenty = order[np.bincount(classes)[classes[order]] > 1]
    order = plenty if len(plenty) else order
    number = min(max(round(share * len(order)), 1), len(order) - 1)
    assert number > 0, "a single clip cannot be divided"
    drawn = np.zeros(len(classes), bool)
    steps = np.arange(len(order) + 1) * number // len(order)
    drawn[order[np.diff(steps) > 0]] = True
    return drawn


def _count(groups: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return clips per group and class with their sum behind (G, C + 1), and each clip's group (M,)."""
    names, member = np.unique(groups, return_inverse=True)
    table = np.zeros((len(names), int(classes.max()) + 2))
    np.add.at(table, (member, classes), 1)
    table[:, -1] = table.sum(axis=1)
    return table, member


def _shuffled_by_class(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    order = rng.permutation(len(classes))
    return order[np.argsort(classes[order], kind="stable")]
