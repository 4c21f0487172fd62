"""Two models on the same clips: by how much one is better, and whether that could be chance.

Units are subjects, as in `intervals`: each person's clips under A are compared with the same clips under B. The variance of the difference
has up to three parts, which are added:

- other people: the jackknife over units, plus one extra discordant clip in each direction, because so few clips may
  differ that the spread over people is small by chance; as many degrees of freedom as people of equal weight, 1 / Σ weight², less one;
- the training of A and that of B: the variance of each model's score over its seeds, less what of it the first part holds already (what
  a seed does to one person and not to another, estimated as in a crossed design of seeds and people).

Degrees of freedom of the sum are Satterthwaite's (1946), and the interval is Student's t. Where no unit differs from another, nothing is
known of their spread: a share 1 − 0.025^(1/units) of all people may be different, and the interval is that wide on both sides.

With one seed of a model the variation between trainings cannot be estimated: `seeds_counted` is False, and a difference that another
seed would not repeat may count as real. benchmarks/coverage.py measures how often.

The interval decides. p, from flipping the signs of the units' differences, is shown with it and may say otherwise where units are few.

Legend: N clips, U units, S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .distributions import beta_cdf, t_cdf, t_quantile
from .intervals import MIN_UNITS, TAIL, number_units

POWER = 0.8
EXACT_UNITS = 14  # up to 2^14 flips are enumerated
FLIPS = 20_000  # drawn where there are more


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much more of the same clips A is right on than B; shares, not points."""

    value: float
    low: float | None  # 95 %; None below `MIN_UNITS` units
    high: float | None
    p: float  # two-sided
    units: int
    unit: str  # people or clips
    detectable: float | None  # the smallest true difference that would have been detected with 80 % power
    seeds: tuple[int, int]
    fixed: bool = False  # training B is no matter of luck, as of the control
    alike: bool = False  # both are right on exactly the same clips, under every seed

    @property
    def seeds_counted(self) -> bool:
        """Return whether the interval includes the variation between trainings: every model with random training has several seeds."""
        return self.seeds[0] > 1 and (self.fixed or self.seeds[1] > 1)

    @property
    def better(self) -> int:
        """Return 1 where A is better, −1 where B is, 0 where the interval holds 0 or there is none."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json and `est compare --json` hold."""
        return {**asdict(self), "seeds": list(self.seeds), "better": self.better, "seeds_counted": self.seeds_counted}

    def sentence(self, a: str, b: str) -> str:
        """Say in one line whether a model is better, given the names of A and B."""
        head = f"{a} − {b} = {_points(self.value, '+')} points"
        count = f"{self.units} {ONE.get(self.unit, self.unit) if self.units == 1 else self.unit}"
        if self.low is None or self.high is None or self.detectable is None:
            return f"{head} ({count}: too few for an interval): cannot tell"
        if self.alike:
            return f"{head}: right on exactly the same clips ({count})"
        head = f"{head} (95 % {_points(self.low)} to {_points(self.high)}; {count})"
        if self.better:
            return f"{head}: {a if self.better > 0 else b} is better"
        would = math.ceil(round(100 * self.detectable, 6))
        shown = (
            f"a difference of {would} or more would have been detected"
            if would <= 100
            else "no difference would have been detected"
        )
        return f"{head}: cannot tell them apart; {shown}"


ONE = {"people": "person", "clips": "clip"}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A difference and its standard error, or arrays of many; degrees of freedom beside each error."""

    value: np.ndarray
    error: np.ndarray
    df: np.ndarray
    training: np.ndarray  # the part of the error that is the variation between trainings; 0 with one seed each
    training_df: np.ndarray

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the 95 % interval."""
        half = t_quantile(1 - TAIL, self.df) * self.error
        return np.maximum(self.value - half, -1), np.minimum(self.value + half, 1)

    @property
    def detectable(self) -> np.ndarray:
        """Return the true difference that is told from 0 with 80 % power."""
        return (t_quantile(1 - TAIL, self.df) + t_quantile(POWER, self.df)) * self.error


def compare_paired(
    right_a: np.ndarray,
    right_b: np.ndarray,
    groups: np.ndarray | Sequence[str] | None,
    *,
    weights: np.ndarray | None = None,
    unit: str = "people",
    fixed: bool = False,
    seed: int = 0,
) -> Difference:
    """Compare two models where they are right on the same clips: (S_a, N) and (S_b, N), or (N,) for a single seed.

    `groups` (N,) names each clip's subject, as for `score_intervals`. `weights` (N,) say what each clip counts: all the same for WAR, which
    is the default, `uar_weights` for UAR. `fixed` says that training B is not random; `seed` is that of random flips.
    """
    a, b = np.atleast_2d(np.asarray(right_a, float)), np.atleast_2d(np.asarray(right_b, float))
    alike = bool((a == a[:1]).all() and (b == a[:1]).all())
    num_clips = a.shape[1]
    assert b.shape[1] == num_clips > 0
    weight = np.ones(num_clips) if weights is None else np.asarray(weights, float)
    weight = weight / weight.sum()
    unit_of = number_units(groups, num_clips)
    a, b, shares = (
        np.stack([np.bincount(unit_of, weights=row) for row in np.atleast_2d(rows)])
        for rows in (a * weight, b * weight, weight)
    )
    gains = a.mean(axis=0) - b.mean(axis=0)
    found: dict[str, float | None] = dict.fromkeys(("low", "high", "detectable"))
    if len(gains) < MIN_UNITS:
        p = sign_flip(gains, seed=seed)
    else:
        one = estimate(a, b, shares[0], clip=float((weight**2).mean()))
        low, high = one.ends
        found = {"low": float(low), "high": float(high), "detectable": float(one.detectable)}
        p = sign_flip(gains, seed=seed, error=float(one.training), df=float(one.training_df))
    return Difference(
        value=float(gains.sum()),
        p=p,
        units=len(gains),
        unit=unit,
        seeds=(len(a), len(b)),
        fixed=fixed,
        alike=alike,
        **found,
    )


def uar_weights(truth: np.ndarray) -> np.ndarray:
    """Return what each clip counts in UAR: 1 / (classes · clips of its class)  # (N,)."""
    classes, place = np.unique(truth, return_inverse=True)
    return 1 / (len(classes) * np.bincount(place)[place])


def estimate(a: np.ndarray, b: np.ndarray, shares: np.ndarray, *, clip: float) -> Estimate:
    """Estimate A − B from what each unit adds to the score of each seed, a (..., S_a, U) and b (..., S_b, U).

    `shares` (U,) add up to 1: the weight of each unit; `clip` is the mean squared weight of a clip.
    """
    units = len(shares)
    gains = a.mean(axis=-2) - b.mean(axis=-2)
    value = gains.sum(axis=-1)
    people_df = max(1 / (shares**2).sum() - 1, 1.0)
    spread = _jackknife(gains, shares)
    people = spread + clip * (1 / a.shape[-2] + 1 / b.shape[-2])
    border = (1 - TAIL ** (1 / units)) / t_quantile(1 - TAIL, people_df)
    people = np.where(spread < 1e-15, np.maximum(people, border**2), people)
    training = training_squared = np.zeros_like(value)
    below = people**2 / people_df
    for model in (a, b):
        num_seeds = model.shape[-2]
        if num_seeds == 1:
            continue
        over_seeds = model.sum(axis=-1).var(axis=-1, ddof=1) / num_seeds
        own = _jackknife(model - model.mean(axis=-2, keepdims=True), shares).mean(axis=-1) / (num_seeds - 1)
        part = np.maximum(over_seeds - own, 0)
        training = training + part
        training_squared = training_squared + part**2 / (num_seeds - 1)
        below = below + np.where(part > 0, over_seeds**2, 0) / (num_seeds - 1)
    return Estimate(
        value=value,
        error=np.sqrt(people + training),
        df=np.maximum((people + training) ** 2 / below, 1),
        training=np.sqrt(training),
        training_df=np.where(training > 0, training**2 / np.where(training > 0, training_squared, 1), 1),
    )


def sign_flip(gains: np.ndarray, *, seed: int, error: float = 0.0, df: float = 1.0) -> float:
    """Return how probable so large a difference is, in either direction, where every unit's gain (U,) might as well be its opposite.

    `error` is what the variation between trainings adds, with `df` degrees of freedom: the sum of flipped gains is blurred by it.
    """
    sizes, times = np.unique(np.round(np.abs(gains[gains != 0]), 12), return_counts=True)
    value = abs(float(gains.sum())) - 1e-9  # sums of the same numbers differ by rounding
    exact = times.sum() <= EXACT_UNITS
    if exact:
        sums = np.zeros(1)
        for size in np.repeat(sizes, times):
            sums = np.concatenate([sums + size, sums - size])
    else:
        flipped = np.random.default_rng(seed).binomial(times, 0.5, size=(FLIPS, len(times)))
        sums = (2 * flipped - times) @ sizes
    if error:
        beyond = t_cdf((sums - value) / error, df) + t_cdf((-sums - value) / error, df)
    else:
        beyond = (np.abs(sums) >= value).astype(float)
    return float(beyond.mean()) if exact else float((1 + beyond.sum()) / (1 + FLIPS))


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> float:
    """Return McNemar's exact p of two models on the same clips (N,), for one seed and unknown subjects.

    It takes clips for independent, and so ignores that those of one person or film are alike: with known subjects use `compare_paired`.
    """
    a, b = np.asarray(right_a, bool), np.asarray(right_b, bool)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    fewer, either = min(only_a, only_b), only_a + only_b
    return min(1.0, 2 * float(beta_cdf(0.5, either - fewer, fewer + 1))) if either else 1.0


def _jackknife(gains: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the variance of the sum of gains (..., U) whose units have such shares of the weight, by leaving out one at a time."""
    units = len(shares)
    left_out = (gains - gains.sum(axis=-1, keepdims=True) * shares) / (1 - shares)
    return (units - 1) / units * (left_out**2).sum(axis=-1)


def _points(share: float, sign: str = "-") -> str:
    """Write a share as points with one decimal and a proper minus."""
    return f"{round(100 * share, 1) + 0.0:{sign}.1f}".replace("-", "−")
