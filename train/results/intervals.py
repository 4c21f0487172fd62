"""Bootstrap intervals of WAR, UAR and UF1: how far a score would move with other people, or other clips.

The clips of a person stand or fall together, so whole subjects are drawn where they are known. A draw is a number of times that each unit
is taken, and all metrics are linear in the counts of units up to their last division: units alike are drawn together, as one binomial
instead of many, which is the same distribution and takes milliseconds for ten thousand clips. A class that a draw misses is absent from its
averages, as it would be from the truth.

Legend: N clips, U kinds of units, S samples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LOW, HIGH = 2.5, 97.5  # percentiles
METRICS = ("war", "uar", "uf1")


def bootstrap(
    truth: np.ndarray,
    predicted: np.ndarray,
    groups: np.ndarray | Sequence[str] | None,
    labels: Sequence[str],
    *,
    samples: int = 1000,
    seed: int,
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each metric; none at all when there are not two units to draw from.

    `truth` and `predicted` (N,) are those of `score`. `groups` (N,) names each clip's subject, an empty name a clip on its own; None draws
    clips. Neither the order of clips nor that of labels changes the result.
    """
    units = _units(truth, predicted, groups, labels)
    if len(units) < 2:
        return {}
    kinds, times = np.unique(units, axis=0, return_counts=True)  # (U, 3 C)
    drawn = np.random.default_rng(seed).multinomial(len(units), times / len(units), size=samples)  # (S, U)
    hits, actual, guessed = np.split(drawn @ kinds, 3, axis=1)  # (S, C) each
    present = actual > 0
    recall = hits / np.maximum(actual, 1)
    f1 = 2 * hits / np.maximum(actual + guessed, 1)  # 0 where a class is absent, as its recall
    found = (
        hits.sum(axis=1) / actual.sum(axis=1),
        recall.sum(axis=1) / present.sum(axis=1),
        f1.sum(axis=1) / present.sum(axis=1),
    )
    intervals = {}
    for name, values in zip(METRICS, found, strict=True):
        low, high = np.percentile(values, (LOW, HIGH))
        intervals[name] = (float(low), float(high))
    return intervals


def paired_difference(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray | Sequence[str], *, samples: int = 10_000, seed: int
) -> tuple[float, tuple[float, float]]:
    """Return by how much more of the clips the first is right than the second, with its 95 % interval over groups.

    `first` and `second` (N,) say where two models are right on the same clips, `groups` (N,) names each clip's subject, as for `bootstrap`.
    """
    member = _members(np.asarray(groups, str))
    clips = np.bincount(member)
    gain = np.bincount(member, weights=np.asarray(first, float) - np.asarray(second, float))
    drawn = np.random.default_rng(seed).multinomial(len(clips), np.full(len(clips), 1 / len(clips)), size=samples)
    low, high = np.percentile((drawn @ gain) / (drawn @ clips), (LOW, HIGH))
    return float(gain.sum() / clips.sum()), (float(low), float(high))


def _units(
    truth: np.ndarray, predicted: np.ndarray, groups: np.ndarray | Sequence[str] | None, labels: Sequence[str]
) -> np.ndarray:
    """Return what each unit adds to the hits, the truth and the predictions of each class (units, 3 C)."""
    num_classes, num_clips = len(labels), len(truth)
    rank = np.argsort(np.argsort(np.array(list(labels), str)))  # classes in the order of their names
    actual, guess = rank[np.asarray(truth, np.int64)], np.asarray(predicted, np.int64)
    made = guess >= 0
    right = made & (guess == truth)
    member = np.arange(num_clips) if groups is None else _members(np.asarray(groups, str))
    num_units = int(member.max(initial=-1)) + 1

    def tally(clips: np.ndarray, classes: np.ndarray) -> np.ndarray:
        cells = np.bincount(member[clips] * num_classes + classes, minlength=num_units * num_classes)
        return cells.reshape(num_units, num_classes)

    guessed = tally(made, rank[guess[made]])
    return np.concatenate([tally(right, actual[right]), tally(np.ones(num_clips, bool), actual), guessed], axis=1)


def _members(groups: np.ndarray) -> np.ndarray:
    """Number the groups, each clip without one by itself."""
    names, member = np.unique(groups, return_inverse=True)
    alone = groups == ""
    member[alone] = len(names) + np.arange(alone.sum())
    return np.unique(member, return_inverse=True)[1]
