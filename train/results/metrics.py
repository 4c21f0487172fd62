"""Scores from counts: WAR, UAR, recall, F1, UF1, each with its numerator and denominator.

Everything is computed from one confusion matrix whose last column is "no prediction": clips without frames or without a face stay in the
denominator as wrong. Over folds the matrices are added first (MEGC 2019), and never are recalls or F1 averaged over folds: that is
`spread`, another number. A class without a clip in the truth has no recall: UAR and UF1 average over the classes present, and say how many.

Legend: N clips, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

TINY = 1e-6  # what is left of a whole number in a mean
LENGTH_EDGES = (16, 24, 48, 77, 105)  # frames; where EST's snippets begin to hold 2.5, 3.2, 4.2 and 4.6 different ones
COVERAGE_EDGES = (25, 50, 75, 90, 100)  # percent of a clip's frames that show a face


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What follows from a confusion matrix. Per class NaN stands where there is nothing to divide by."""

    labels: tuple[str, ...]
    confusion: np.ndarray  # (C, C + 1) truth × prediction, the last column no prediction; of several seeds their mean

    @property
    def total(self) -> int:
        """Count the clips."""
        return round(float(self.confusion.sum()))

    @property
    def right(self) -> int | float:
        """Count the clips that were recognised; in the mean over several seeds this is no whole number."""
        return number(self.hits.sum())

    @property
    def unpredicted(self) -> int | float:
        """Count the clips without a prediction."""
        return number(self.confusion[:, -1].sum())

    @cached_property
    def hits(self) -> np.ndarray:
        """Count the clips of each class that were recognised (C,)."""
        return np.diagonal(self.confusion)

    @cached_property
    def truth(self) -> np.ndarray:
        """Count the clips of each class (C,)."""
        return self.confusion.sum(axis=1).round().astype(int)

    @cached_property
    def predicted(self) -> np.ndarray:
        """Count how often each class was predicted (C,)."""
        return self.confusion[:, :-1].sum(axis=0)

    @property
    def present(self) -> np.ndarray:
        """Return which classes the truth has (C,)."""
        return self.truth > 0

    @property
    def recall(self) -> np.ndarray:
        """Return the share of each class that was recognised (C,)."""
        return _ratio(self.hits, self.truth)

    @property
    def precision(self) -> np.ndarray:
        """Return how often a prediction of each class was right (C,)."""
        return _ratio(self.hits, self.predicted)

    @property
    def f1(self) -> np.ndarray:
        """Return 2 TP / (2 TP + FP + FN) of each class (C,)."""
        return _ratio(2 * self.hits, self.truth + self.predicted)

    @property
    def war(self) -> float:
        """Return the accuracy: weighted average recall."""
        return self.right / self.total if self.total else math.nan

    @property
    def uar(self) -> float:
        """Return the unweighted average recall of the classes present."""
        return _mean(self.recall[self.present])

    @property
    def uf1(self) -> float:
        """Return the unweighted average F1 of the classes present."""
        return _mean(self.f1[self.present])

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON takes it; null where there is nothing to divide by."""
        present = int(self.present.sum())
        averaged = {"classes": present, "of_classes": len(self.labels)}
        columns = zip(
            self.labels, self.hits, self.truth, self.predicted, self.recall, self.precision, self.f1, strict=True
        )
        return {
            "war": {"value": plain(self.war), "right": self.right, "total": self.total},
            "uar": {"value": plain(self.uar), **averaged},
            "uf1": {"value": plain(self.uf1), **averaged},
            "unpredicted": self.unpredicted,
            "per_class": [
                {
                    "label": label,
                    "right": number(hits),
                    "total": int(truth),
                    "predicted": number(predicted),
                    "recall": plain(recall),
                    "precision": plain(precision),
                    "f1": plain(f1),
                }
                for label, hits, truth, predicted, recall, precision, f1 in columns
            ],
            "labels": list(self.labels),
            "confusion": [[number(cell) for cell in row] for row in self.confusion],
        }


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric over folds or seeds."""

    mean: float
    sd: float | None  # of the sample, n − 1; None for a single value
    number: int


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One row of a table of WAR over something."""

    text: str
    right: int | float  # in the mean over seeds
    total: int


@dataclass(frozen=True, kw_only=True)
class AnswerScore:
    """How often a further question of a model was answered rightly: EST's `order`, that of shuffled snippets."""

    question: str
    right: int
    total: int
    choices: int  # answers that there are, each as likely

    @property
    def accuracy(self) -> float:
        """Return the share answered right."""
        return self.right / self.total if self.total else math.nan

    @property
    def chance(self) -> float:
        """Return what guessing reaches."""
        return 1 / self.choices

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        counts = {"right": self.right, "total": self.total, f"num_{self.question}s": self.choices}
        return {**counts, "accuracy": self.accuracy, "chance": self.chance}


def score(truth: np.ndarray, predicted: np.ndarray, labels: Sequence[str]) -> Scores:
    """Score predictions (N,) against the truth (N,), both places in `labels`; −1 is no prediction."""
    num_classes = len(labels)
    truth, predicted = np.asarray(truth, np.int64), np.asarray(predicted, np.int64)
    assert truth.shape == predicted.shape
    assert ((truth >= 0) & (truth < num_classes)).all()
    assert ((predicted >= -1) & (predicted < num_classes)).all()
    column = np.where(predicted < 0, num_classes, predicted)
    cells = np.bincount(truth * (num_classes + 1) + column, minlength=num_classes * (num_classes + 1))
    return Scores(labels=tuple(labels), confusion=cells.reshape(num_classes, num_classes + 1))


def mean_scores(seeds: Sequence[Scores]) -> Scores:
    """Return the mean over seeds that were tested on the same clips."""
    if len(seeds) == 1:
        return seeds[0]
    return Scores(labels=seeds[0].labels, confusion=np.mean([one.confusion for one in seeds], axis=0))


def number(count: float) -> int | float:
    """Return a count as an integer where it is one; a mean of counts, rounded."""
    whole = round(float(count))
    return whole if abs(count - whole) < TINY else round(float(count), 4)


def spread(values: Sequence[float]) -> Spread:
    """Return mean and standard deviation over folds or seeds: not the pooled score."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(mean=_mean(np.asarray(values, float)), sd=sd, number=len(values))


def by_bins(values: np.ndarray, hits: np.ndarray, edges: Sequence[float], *, unit: str = "") -> list[Bin]:
    """Count right and all clips (N,) by a value of theirs, in bins that begin at the edges; NaN is a bin of its own.

    `hits` says which are right, or under how many of the seeds, as a share.
    """
    values, hits = np.asarray(values, float), np.asarray(hits, float)
    assert values.shape == hits.shape
    assert list(edges) == sorted(set(edges))
    bounds = [-math.inf, *edges, math.inf]
    rows = []
    for low, high in pairwise(bounds):
        inside = (values >= low) & (values < high)
        rows.append(Bin(text=_range(low, high) + unit, right=number(hits[inside].sum()), total=int(inside.sum())))
    if (unknown := np.isnan(values)).any():
        rows.append(Bin(text="unknown", right=number(hits[unknown].sum()), total=int(unknown.sum())))
    return rows


def _range(low: float, high: float) -> str:
    if math.isinf(low):
        return f"< {high:g}"
    return f"≥ {low:g}" if math.isinf(high) else f"{low:g} to < {high:g}"


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), math.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def plain(value: float) -> float | None:
    """Return a number as JSON takes it; null where there is nothing to divide by."""
    return None if math.isnan(value) else float(value)
