"""What an audit finds, from the predictions of its runs: estimates, their differences, seeds, what permuted labels reach.

The three estimates are three epochs of the same trainings: the last one, the one that the inner validation part chose, and the best
one on the test half itself (the oracle). A fold and seed is trained once; all three are scored on the same clips.

Legend: S seeds, N tested clips, P permutations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...cache.arrayfile import UNREADABLE
from ...errors import EstError
from ...train.folds.leaks import Leak, leaks_of
from ...train.results.intervals import score_intervals
from ...train.results.metrics import Scores, Spread, score, spread
from ...train.results.paired import Difference, compare_paired
from ...train.results.predictions import read_predictions, unit_names
from ...train.runs.run import EPOCHS, Run

LAST, INNER, ORACLE, CONTROL = "last", "inner_validation", "oracle", "control"
METRICS = ("war", "uar", "uf1")
CHOSEN = {"last": LAST, "val": INNER}  # which estimate counts as the score, by `select`
POWER, LEVEL = 0.8, 0.05  # of what can be detected; two-sided
DETECTED = 1.959964 + 0.841621  # standard errors that are detected so, by the normal distribution


@dataclass(frozen=True, kw_only=True, eq=False)
class Tested:
    """What the models of a run predicted for all tested clips, fold behind fold."""

    labels: tuple[str, ...]
    ids: np.ndarray  # (N,)
    subject: np.ndarray  # (N,) empty where unknown
    truth: np.ndarray  # (N,)
    predicted: Mapping[str, np.ndarray]  # (S, N) by estimate, −1 without a prediction; of the control (1, N)
    seconds: float

    @classmethod
    def of(cls, run: Run) -> Tested:
        """Read a complete run that kept its epochs."""
        code = {label: place for place, label in enumerate(run.labels)} | {"": -1}
        by_seed: dict[int, list[dict[str, Any]]] = {}
        seconds = 0.0
        for part in run.facts["parts"]:
            rows = read_predictions(run, part["name"])
            result = run.result(part["name"])
            seconds += result["seconds"]
            epochs, predicted = read_epochs(run, part["name"])
            place = {epoch: number for number, epoch in enumerate(epochs)}
            found = {
                LAST: predicted[-1],
                INNER: predicted[place[result["selected"]["epoch"]]],
                ORACLE: predicted[place[result["oracle"]["epoch"]]],
            }
            if "control" in result:
                found[CONTROL] = np.array([code[row["control"]] for row in rows])
            by_seed.setdefault(part["seed"], []).append({"rows": rows, "predicted": found})
        first = next(iter(by_seed.values()))
        rows = [row for part in first for row in part["rows"]]
        names = [name for name in (LAST, INNER, ORACLE, CONTROL) if name in first[0]["predicted"]]
        stacked = {
            name: np.stack([np.concatenate([part["predicted"][name] for part in parts]) for parts in by_seed.values()])
            for name in names
        }
        if CONTROL in stacked:  # it has no seed
            stacked[CONTROL] = stacked[CONTROL][:1]
        return cls(
            labels=run.labels,
            ids=np.array([row["id"] for row in rows]),
            subject=np.array([row["subject"] for row in rows]),
            truth=np.array([code[row["truth"]] for row in rows]),
            predicted=stacked,
            seconds=seconds,
        )

    @property
    def by_subject(self) -> bool:
        """Return whether people are known; a clip of which they are not is a unit by itself."""
        return bool((self.subject != "").any())

    @property
    def groups(self) -> np.ndarray:
        """Name what intervals are over (N,): people, or clips of which they are unknown."""
        return unit_names(self.subject, self.ids)

    def scores(self, name: str, truth: np.ndarray | None = None) -> list[Scores]:
        """Score an estimate, each seed pooled over its folds; against other labels (N,) where they are given."""
        truth = self.truth if truth is None else truth
        return [score(truth, predicted, self.labels) for predicted in self.predicted[name]]

    def right(self, name: str) -> np.ndarray:
        """Return where an estimate is right.  # (S, N)"""
        return self.predicted[name] == self.truth


def read_epochs(run: Run, part: str) -> tuple[list[int], np.ndarray]:
    """Return the tested epochs of a part (E,), and what each predicted for the clips of the test half (E, N)."""
    path = run.file_of(part, EPOCHS)
    try:
        with open(path, "rb") as held, np.load(held, allow_pickle=False) as kept:
            return kept["epoch"].tolist(), kept["predicted"]
    except UNREADABLE as error:
        raise EstError(
            f"{path} cannot be read.", remedy=f"remove {run.part(part)}, then the same command trains that part again"
        ) from error


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One way to choose the epoch, scored: each metric of each seed, pooled over folds, and 95 % intervals of the mean over people."""

    by_seed: Mapping[str, tuple[float, ...]]  # war, uar, uf1
    intervals: Mapping[str, tuple[float, float]]

    def over_seeds(self, metric: str) -> Spread:
        """Return mean and standard deviation over seeds."""
        return spread(self.by_seed[metric])

    def to_json(self) -> dict[str, Any]:
        """Return what audit.json holds of it."""
        return {
            metric: {
                **vars(self.over_seeds(metric)),
                "interval": list(self.intervals[metric]) if metric in self.intervals else None,
                "by_seed": list(self.by_seed[metric]),
            }
            for metric in METRICS
        }


@dataclass(frozen=True, kw_only=True)
class Permuted:
    """What models reach that learn from permuted labels, one value per permutation."""

    reached: Mapping[
        str, Mapping[str, tuple[float, ...]]
    ]  # each estimate's war, uar, uf1 on the true labels of the tested clips
    own: Mapping[str, tuple[float, ...]]  # the score's on the permuted labels of these clips: what p is counted by
    changed: float  # mean share of clips whose label changed
    share: Mapping[str, float]  # of the score that permuted labels reach
    p: Mapping[str, float]

    @property
    def number(self) -> int:
        """Count the permutations."""
        return len(self.own["war"])

    def to_json(self) -> dict[str, Any]:
        """Return what audit.json holds of it."""
        return {
            "permutations": self.number,
            "changed": self.changed,
            "share": dict(self.share),
            "p": dict(self.p),
            "on_permuted_labels": {metric: list(values) for metric, values in self.own.items()},
            "estimates": {
                name: {metric: {**vars(spread(values)), "each": list(values)} for metric, values in found.items()}
                for name, found in self.reached.items()
            },
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """All that an audit found."""

    facts: Mapping[str, Any]  # heading, cache, model, protocol, seeds, epochs, select, …
    estimates: Mapping[str, Estimate]
    differences: Mapping[str, Difference]  # "oracle − last", …
    detectable: Mapping[str, float]  # the smallest true difference in WAR that would mostly be seen
    permuted: Permuted | None
    leaks: Sequence[Leak] = field(default=())

    @property
    def score(self) -> Estimate:
        """Return the estimate that counts, by `select`."""
        return self.estimates[CHOSEN[self.facts["select"]]]

    def to_json(self) -> dict[str, Any]:
        """Return what audit.json holds."""
        return {
            "format": "est-audit",
            "version": 1,
            **self.facts,
            "estimates": {name: one.to_json() for name, one in self.estimates.items()},
            "differences": {name: vars(one) for name, one in self.differences.items()},
            "detectable": {**self.detectable, "power": POWER, "level": LEVEL},
            "permuted": self.permuted.to_json() if self.permuted is not None else None,
            **({"leaks": [leak.to_json() for leak in self.leaks]} if self.leaks else {}),
        }


def find(
    run: Run, select: str, permuted_runs: Sequence[Run], taught: Sequence[Mapping[str, str]], changed: Sequence[float]
) -> Audit:
    """Compute everything from the run on the labels and the runs on permuted ones; `taught` has their label of each clip by its id."""
    tested = Tested.of(run)
    estimates = {name: _estimate(tested, name) for name in tested.predicted}
    chosen = CHOSEN[select]
    unit = "people" if tested.by_subject else "clips"
    differences = {
        f"{one} - {other}": _of_same_trainings(tested, one, other, unit)
        for one, other in ((ORACLE, LAST), (ORACLE, INNER), (LAST, INNER))
    }
    if CONTROL in estimates:
        differences[f"{chosen} - {CONTROL}"] = compare_paired(
            tested.right(chosen), tested.right(CONTROL), tested.groups, unit=unit, fixed=True
        )
    facts = {
        "heading": run.facts["heading"],
        "cache": run.facts["cache"]["path"],
        "model": run.facts["model"],
        "feature": run.config.feature,
        "protocol": {"asked": run.config.protocol.kind, **run.facts["protocol"]},
        "select": select,
        "seeds": list(run.config.seeds),
        "epochs": run.config.loop.epochs,
        "clips": len(tested.truth),
        "people": len(set(tested.subject.tolist()) - {""}) if tested.by_subject else None,
        "intervals_over": unit,
    }
    read = [Tested.of(one) for one in permuted_runs]
    return Audit(
        facts=facts | {"seconds": round(tested.seconds + sum(one.seconds for one in read), 1)},
        estimates=estimates,
        differences=differences,
        detectable=_detectable(tested, chosen, differences),
        permuted=_permuted(tested, chosen, read, taught, changed) if read else None,
        leaks=leaks_of(run.facts),
    )


def _estimate(tested: Tested, name: str) -> Estimate:
    scores = tested.scores(name)
    return Estimate(
        by_seed={metric: tuple(getattr(one, metric) for one in scores) for metric in METRICS},
        intervals=score_intervals(tested.truth, tested.predicted[name], tested.groups, tested.labels),
    )


def _of_same_trainings(tested: Tested, one: str, other: str, unit: str) -> Difference:
    """Compare two epochs of the same trainings: what a seed does to both is no difference, so each seed's gain is what varies.

    Where every prediction is the same, the epochs are mostly the same, and there is nothing to have an interval.
    """
    gain = tested.right(one).astype(float) - tested.right(other)  # (S, N)
    found = compare_paired(gain, np.zeros((1, gain.shape[1])), tested.groups, unit=unit, fixed=True)
    if (tested.predicted[one] == tested.predicted[other]).all():
        return replace(found, low=None, high=None, detectable=None)
    return found


def _detectable(tested: Tested, chosen: str, differences: Mapping[str, Difference]) -> dict[str, float]:
    """Return the smallest differences that would mostly be detected, between models alike and unlike.

    Alike: two models of which each differs from the other no more than two seeds of this one do, each trained with as many seeds. Every
    pair of seeds is such a comparison with one seed each, and the variance over S seeds is 1 / S of it. That variance is at least twice
    that of the score over seeds, the part of it that all people share. Unlike: this model and the control; two models that are trained
    are no easier to tell apart for being unlike, so it is never less.
    """
    right = tested.right(chosen)
    pairs = [
        compare_paired(right[[one]], right[[other]], tested.groups).detectable
        for one, other in itertools.combinations(range(len(right)), 2)
    ]
    known = [one for one in pairs if one is not None]
    found = {}
    if known:
        over_people = sum(one**2 for one in known) / len(known)
        over_seeds = 2 * DETECTED**2 * float(np.var(right.mean(axis=1), ddof=1))
        found["like_two_seeds"] = math.sqrt(max(over_people, over_seeds) / len(right))
    control = differences.get(f"{chosen} - {CONTROL}")
    if control is not None and control.detectable is not None:
        found["like_the_control"] = max(control.detectable, found.get("like_two_seeds", 0.0))
    return found


def _permuted(
    tested: Tested,
    chosen: str,
    read: Sequence[Tested],
    taught: Sequence[Mapping[str, str]],
    changed: Sequence[float],
) -> Permuted:
    """Compare the score with what permuted labels reach.

    The models of a permutation are trained with the first seed: p compares them with the score of that seed. For p they are scored on the
    permuted labels of the tested clips, as a permutation test wants it: what is learnt from in one fold is tested in another, so scores
    of folds vary together, which true labels of the tested clips would not show. With them p would be too small.
    """
    code = {label: place for place, label in enumerate(tested.labels)}
    own = []
    for one, labels in zip(read, taught, strict=True):
        permuted_truth = np.array([code[labels[name]] for name in one.ids.tolist()])
        own.append(one.scores(chosen, permuted_truth)[0])
    reached = {
        name: {metric: tuple(getattr(one.scores(name)[0], metric) for one in read) for metric in METRICS}
        for name in tested.predicted
    }
    observed = tested.scores(chosen)
    mean = {metric: float(np.mean([getattr(one, metric) for one in observed])) for metric in METRICS}
    return Permuted(
        reached=reached,
        own={metric: tuple(getattr(one, metric) for one in own) for metric in METRICS},
        changed=float(np.mean(changed)),
        share={metric: float(np.mean(reached[chosen][metric])) / max(mean[metric], 1e-12) for metric in METRICS},
        p={
            metric: (1 + sum(getattr(one, metric) >= getattr(observed[0], metric) for one in own)) / (1 + len(own))
            for metric in METRICS
        },
    )
