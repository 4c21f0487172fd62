"""Intervals of WAR, UAR and UF1: where a score would lie with other people, or other clips.

What is assumed: the subjects are a random sample of the people that the score is to speak for, and independent of one another. The clips
of a person are alike to an unknown degree, so a subject is one unit however many clips there are. A clip without a subject is a unit by
itself. The models are the ones trained: with several seeds the score is the mean over seeds, the clips of a person under all seeds are one
unit, and the variation between trainings is not part of the interval (`paired` counts it).

The method is that of Korn and Graubard (1998, "Confidence intervals for proportions with small expected number of positive counts
estimated from survey data"), as recalled. The variance v of a score p is estimated by leaving out one unit at a time (the jackknife).
n = p (1 − p) / v independent clips would have the same variance. Since v is known from few units only, n is multiplied by the square of
t(clips − 1) / t(units − 1), the 97.5 % quantiles of Student's t; it is at most the number of clips, and goes into the exact interval of
Clopper and Pearson. Units of very different weight tell less of v than as many equal ones: for t they count as 1 / Σ w² (Kish), w their
shares of what is averaged, and elsewhere as the geometric mean of that and their number. Where everything is right, everything wrong, or
no unit differs from another, v says nothing and n is the number of units, or of clips if those are fewer: of 6 people with all clips
right the lower end is 0.025^(1/6), 54 %, whatever the number of clips.

Two things are added. Near the border few people have errors, v is then often too small, and the interval misses the true score; so v
and p are computed as if a right and a wrong unit, each of weight `PSEUDO`, had been seen as well. And UAR and UF1 are no proportions:
their number of clips is C² / Σ 1/n for C classes of n clips each, because the mean recall varies as a share of so many clips would.

benchmarks/coverage.py measures how often intervals hold the true score. Below `MIN_UNITS` units there is none.

Legend: N clips, U units, S seeds, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .distributions import beta_quantile, t_quantile

METRICS = ("war", "uar", "uf1")
LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
MIN_UNITS = 5
PSEUDO = 0.15  # lowest coverage on the benchmark's grid: 90 % with 0, 94 % with 0.1, 95 % with 0.15


def score_intervals(
    truth: np.ndarray,
    predicted: np.ndarray,
    groups: np.ndarray | Sequence[str] | None,
    labels: Sequence[str],
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each metric; none at all below `MIN_UNITS` units.

    `truth` (N,) and `predicted` (N,) or (S, N), a row for each seed, hold what `score` takes. `groups` (N,) names each clip's subject, an
    empty name a clip on its own; with None every clip is. Neither the order of clips nor that of labels changes the result.
    """
    tally = tallies(truth, predicted, groups, labels)
    if tally.shape[0] < MIN_UNITS:
        return {}
    low, high = tally_limits(tally)
    return {name: (float(low[at]), float(high[at])) for at, name in enumerate(METRICS)}


def tallies(
    truth: np.ndarray, predicted: np.ndarray, groups: np.ndarray | Sequence[str] | None, labels: Sequence[str]
) -> np.ndarray:
    """Count each unit's hits, clips and predictions of each class, in each seed.  # (U, S, 3, C)"""
    rank = np.argsort(np.argsort(np.array(list(labels), str)))  # classes in the order of their names
    truth, predicted = np.asarray(truth, np.int64), np.atleast_2d(np.asarray(predicted, np.int64))
    assert predicted.shape[1:] == truth.shape
    unit = number_units(groups, len(truth))
    num_units, num_seeds = int(unit.max(initial=-1)) + 1, len(predicted)
    found = np.zeros((num_units, num_seeds, 3, len(labels)), np.int64)
    for seed, guess in enumerate(predicted):
        made, right = guess >= 0, guess == truth
        for at, (rows, classes) in enumerate(((right, truth), (slice(None), truth), (made, guess))):
            cells = unit[rows] * len(labels) + rank[classes[rows]]
            found[:, seed, at] = np.bincount(cells, minlength=num_units * len(labels)).reshape(num_units, len(labels))
    return found


def tally_limits(tally: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the intervals of WAR, UAR and UF1 (..., 3) from the tallies of at least two units (..., U, S, 3, C)."""
    whole = tally.sum(axis=-4)
    units = tally.shape[-4]
    clips_of = tally[..., 0, 1, :]  # (..., U, C)
    values = _scores(whole)
    without = np.sort(_scores(whole[..., None, :, :, :] - tally), axis=-2)  # sorted: the order of units changes no bit
    variance = (units - 1) / units * ((without - without.mean(axis=-2, keepdims=True)) ** 2).sum(axis=-2)
    per_class = whole[..., 0, 1, :]
    present = per_class > 0
    balanced = present.sum(axis=-1) ** 2 / np.where(present, 1 / np.maximum(per_class, 1), 0).sum(axis=-1)
    alike = clips_of.sum(axis=-1) / np.maximum(per_class.sum(axis=-1)[..., None], 1)
    by_class = (clips_of / np.maximum(per_class, 1)[..., None, :]).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1)[
        ..., None
    ]
    squares = (np.sort(shares**2, axis=-1).sum(axis=-1) for shares in (alike, by_class, by_class))
    effective = np.stack([1 / one for one in squares], axis=-1)
    return limits(values, variance, np.stack([per_class.sum(axis=-1), balanced, balanced], axis=-1), units, effective)


def limits(
    value: np.ndarray,
    variance: np.ndarray,
    clips: np.ndarray | float,
    units: np.ndarray | float,
    effective: np.ndarray | float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the interval of a share whose variance was estimated from so many units, `effective` by their weights."""
    few = t_quantile(1 - TAIL, np.maximum(np.asarray(effective, float) - 1, 1))
    units = np.sqrt(np.asarray(units, float) * effective)
    value, variance, clips, units = np.broadcast_arrays(value, variance, np.asarray(clips, float), units)
    share = (value * units + PSEUDO) / (units + 2 * PSEUDO)
    spread = variance + PSEUDO * (value**2 + (1 - value) ** 2) / units**2
    size = np.minimum(share * (1 - share) / spread, clips)
    size = np.minimum(size * (t_quantile(1 - TAIL, np.maximum(clips - 1, 1)) / few) ** 2, clips)
    size = np.where(variance < 1e-15, np.minimum(units, clips), size)
    right, wrong = size * value, size * (1 - value)
    low = np.where(right < 1e-12, 0.0, beta_quantile(TAIL, np.maximum(right, 1e-12), wrong + 1))
    high = np.where(wrong < 1e-12, 1.0, beta_quantile(1 - TAIL, right + 1, np.maximum(wrong, 1e-12)))
    return np.minimum(low, value), np.maximum(high, value)


def number_units(groups: np.ndarray | Sequence[str] | None, num_clips: int) -> np.ndarray:
    """Number the subjects of clips (N,) from 0 on, each clip without one by itself."""
    if groups is None:
        return np.arange(num_clips)
    groups = np.asarray(groups, str)
    assert groups.shape == (num_clips,)
    names, unit = np.unique(groups, return_inverse=True)
    alone = groups == ""
    unit[alone] = len(names) + np.arange(alone.sum())
    return np.unique(unit, return_inverse=True)[1]


def _scores(tally: np.ndarray) -> np.ndarray:
    """Return WAR, UAR and UF1 (..., 3), means over seeds, of tallies (..., S, 3, C)."""
    hits, actual, guessed = (tally[..., at, :] for at in range(3))
    present = np.maximum((actual > 0).sum(axis=-1), 1)  # recall and F1 of an absent class are 0 below
    war = hits.sum(axis=-1) / np.maximum(actual.sum(axis=-1), 1)
    uar = (hits / np.maximum(actual, 1)).sum(axis=-1) / present
    uf1 = (2 * hits / np.maximum(actual + guessed, 1)).sum(axis=-1) / present
    return np.stack([war, uar, uf1], axis=-1).mean(axis=-2)
