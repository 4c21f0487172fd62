"""Stand-in for train/results/paired.py and `score_intervals`, with their names and signatures; deleted when they are merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..train.results.intervals import HIGH, LOW, METRICS, _members, bootstrap

SAMPLES = 10_000
FEWEST = 5  # units, below which there is no interval
DETECTED = 1.959964 + 0.841621  # standard errors: 80 % power in a two-sided test at 5 %


@dataclass(frozen=True, kw_only=True)
class Difference:
    """By how much more of the clips a is right than b."""

    value: float
    low: float | None
    high: float | None
    p: float
    units: int
    unit: str
    detectable: float | None  # the smallest true difference that 80 % of such comparisons would find
    seeds: tuple[int, int]

    @property
    def seeds_counted(self) -> bool:
        """Say whether both models have several seeds."""
        return min(self.seeds) > 1

    def sentence(self, a: str, b: str) -> str:
        """Say it in words."""
        found = f"{a} − {b}: {100 * self.value:+.1f} points"
        return (
            found
            if self.low is None or self.high is None
            else f"{found} (95 %: {100 * self.low:+.1f} to {100 * self.high:+.1f})"
        )


def compare_paired(
    right_a: np.ndarray,
    right_b: np.ndarray,
    groups: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    unit: str = "people",
    seed: int = 0,
) -> Difference:
    """Compare where two models are right on the same clips, (S_a, N) and (S_b, N), over groups (N,); seeds are averaged."""
    member = _members(np.asarray(groups, str))
    weight = np.ones(len(member)) if weights is None else np.asarray(weights, float)
    gain = np.bincount(member, weights=weight * (right_a.mean(axis=0) - right_b.mean(axis=0)))
    size = np.bincount(member, weights=weight)
    units = len(size)
    value = float(gain.sum() / size.sum())
    low = high = detectable = None
    p = 1.0
    if units >= FEWEST:
        drawn = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=SAMPLES)
        found = (drawn @ gain) / (drawn @ size)
        low, high = (float(end) for end in np.percentile(found, (LOW, HIGH)))
        p = min(1.0, 2 * float((1 + min((found <= 0).sum(), (found >= 0).sum())) / (1 + SAMPLES)))
        error = np.sqrt(units / (units - 1) * np.sum((gain - value * size) ** 2)) / size.sum()
        detectable = float(DETECTED * error)
    return Difference(
        value=value,
        low=low,
        high=high,
        p=p,
        units=units,
        unit=unit,
        detectable=detectable,
        seeds=(len(right_a), len(right_b)),
    )


def score_intervals(
    truth: np.ndarray, predicted: np.ndarray, groups: np.ndarray, labels: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of war, uar and uf1 of predictions (N,) or (S, N) over groups (N,); empty below 5 groups."""
    predicted = np.atleast_2d(predicted)
    if len(np.unique(_members(np.asarray(groups, str)))) < FEWEST:
        return {}
    times = len(predicted)
    named = np.array([name or f"\0{place}" for place, name in enumerate(np.asarray(groups, str).tolist())])
    found = bootstrap(np.tile(truth, times), predicted.ravel(), np.tile(named, times), labels, seed=0)
    return {name: found[name] for name in METRICS}
