"""How often intervals hold the truth, and how often two runs of one model are called different.

    OMP_NUM_THREADS=1 python benchmarks/coverage.py            # some minutes on one core
    OMP_NUM_THREADS=1 python benchmarks/coverage.py --quick    # few draws of few points

Everything is simulated, 2,000 draws a point. A person's chance to be recognised is drawn from a beta distribution with the mean `accuracy`
and the correlation of two clips of a person `correlation`; the truth that an interval should hold is `accuracy`, that of all people.

1. WAR: coverage and mean width beside those of the percentile bootstrap over people, which est used before. Goal: at least 93 % everywhere.
2. UAR and UF1 of six classes, balanced and long-tailed. Goal: the same.
3. Two runs of one model: people and clips differ in difficulty, and a run adds noise to each clip, to each test fold and, where the row
   says so, to all clips alike. How often one run is called better. Goal: at most 5 %, plus three standard errors of the simulation, where
   the noise of different people is independent or models have three seeds.
4. A better model: how often that shows where the true difference is what `detectable` says. Goal: near 80 %.

The exit status is 1 where a goal of 1, 2 or 3 is missed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from _machine import machine

from est.train.results.intervals import tally_limits
from est.train.results.paired import Estimate, estimate

DRAWS = 2000
GOAL = 0.93
FALSE_ALARMS = 0.05
PEOPLE = (5, 6, 8, 12, 24)
ACCURACY = (0.5, 0.7, 0.85, 0.95)
CORRELATION = (0.0, 0.1, 0.3)
DESIGNS = ("6–10 clips", "2–24 clips", "two of 100, others 3")
TAILED = np.array([0.35, 0.25, 0.15, 0.12, 0.08, 0.05])  # shares of six classes
SPREAD = {"people": 0.6, "clips": 0.7, "noise": 0.7}  # sd of a clip's latent score; it is recognised above 0
MOST_GAIN = 4.0  # of the latent score: nearly everything is recognised then


def clips_of(people: int, design: str) -> np.ndarray:
    """Return how many clips each person has."""
    if design == DESIGNS[2]:
        return np.array([100, 100, *[3] * (people - 2)])
    counts = (6, 9, 7, 10, 8) if design == DESIGNS[0] else (2, 4, 6, 10, 24)
    return np.resize(counts, people)


def chances(rng: np.random.Generator, draws: int, people: int, accuracy: float, correlation: float) -> np.ndarray:
    """Draw each person's chance to be recognised.  # (draws, people)"""
    if not correlation:
        return np.full((draws, people), accuracy)
    total = (1 - correlation) / correlation
    return rng.beta(accuracy * total, (1 - accuracy) * total, (draws, people))


def percentile_bootstrap(rng: np.random.Generator, right: np.ndarray, clips: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return what est printed before: the percentiles of WAR (draws,) over people drawn with replacement."""
    taken = rng.multinomial(len(clips), np.full(len(clips), 1 / len(clips)), size=1000)
    low, high = np.percentile((right @ taken.T) / (taken @ clips), (2.5, 97.5), axis=1)
    return low, high


def held(low: np.ndarray, high: np.ndarray, truth: np.ndarray | float) -> tuple[float, float]:
    """Return coverage and mean width."""
    return float(((low <= truth) & (truth <= high)).mean()), float((high - low).mean())


def war(rng: np.random.Generator, draws: int, grid: list[tuple]) -> float:
    """Print coverage and width of WAR, return the lowest coverage."""
    print("\n## WAR: coverage, and mean width in points; in brackets those of the percentile bootstrap\n")
    print(f"| clips a person | people | accuracy | {' | '.join(f'correlation {one:g}' for one in CORRELATION)} |")
    print("|---|---|---|---|---|---|")
    found, lowest = {}, []
    for design, people, accuracy in grid:
        clips, cells = clips_of(people, design), []
        for correlation in CORRELATION:
            right = rng.binomial(clips, chances(rng, draws, people, accuracy, correlation))
            counts = np.broadcast_to(clips, right.shape)
            low, high = tally_limits(np.stack([right, counts, counts], axis=-1)[:, :, None, :, None])
            new = held(low[:, 0], high[:, 0], accuracy)
            old = held(*percentile_bootstrap(rng, right, clips), accuracy)
            found.setdefault(people, []).append((*new, *old))
            cells.append(f"{100 * new[0]:.1f} %, {100 * new[1]:.0f} ({100 * old[0]:.1f} %, {100 * old[1]:.0f})")
            lowest.append((new[0], f"{people} people, {design}, accuracy {accuracy:g}, correlation {correlation:g}"))
        print(f"| {design} | {people} | {accuracy:g} | {' | '.join(cells)} |", flush=True)
    print("\n| people | lowest coverage | median | mean width | bootstrap: lowest | median | mean width |")
    print("|---|---|---|---|---|---|---|")
    for people, rows in found.items():
        cells = []
        for cover, width in (np.array(rows)[:, :2].T, np.array(rows)[:, 2:].T):
            cells.append(f"{100 * cover.min():.1f} % | {100 * np.median(cover):.1f} % | {100 * width.mean():.0f}")
        print(f"| {people} | {' | '.join(cells)} |")
    worst, where = min(lowest)
    print(f"\nLowest coverage: {100 * worst:.1f} % ({where}). Goal: {100 * GOAL:g} %.", flush=True)
    return worst


def class_tallies(
    rng: np.random.Generator, draws: int, people: int, tailed: bool, accuracy: float, correlation: float
) -> np.ndarray:
    """Draw tallies of six classes, errors falling on the other five alike.  # (draws, people, 1, 3, 6)"""
    shares = TAILED if tailed else np.full(6, 1 / 6)
    shape = (draws, people)
    if tailed:
        actual = rng.multinomial(np.broadcast_to(clips_of(people, DESIGNS[0]), shape), shares)
    else:
        actual = np.full((*shape, 6), 2)
    hits = rng.binomial(actual, chances(rng, *shape, accuracy, correlation)[:, :, None])
    guessed = hits.copy()
    for label in range(6):
        others = np.arange(6) != label
        guessed[..., others] += rng.multinomial(actual[..., label] - hits[..., label], np.full(5, 1 / 5))
    return np.stack([hits, actual, guessed], axis=-2)[:, :, None]


def uar_and_uf1(rng: np.random.Generator, draws: int, grid: list[tuple]) -> float:
    """Print coverage and width of UAR and UF1, return the lowest coverage."""
    print("\n## UAR and UF1 of six classes: coverage, and mean width in points\n")
    print("| classes | people | accuracy | correlation | UAR | UF1 |\n|---|---|---|---|---|---|")
    lowest = 1.0
    for tailed, people, accuracy, correlation in grid:
        tally = class_tallies(rng, draws, people, tailed, accuracy, correlation)
        shares = TAILED if tailed else np.full(6, 1 / 6)
        guessed = shares * accuracy + (1 - shares) * (1 - accuracy) / 5
        f1 = 2 * shares * accuracy / (shares + guessed)
        present = tally[:, :, 0, 1].sum(axis=1) > 0  # a class without a clip is in no score
        low, high = tally_limits(tally)
        cells = []
        for at, truth in ((1, accuracy), (2, (present * f1).sum(axis=1) / present.sum(axis=1))):
            cover, width = held(low[:, at], high[:, at], truth)
            lowest = min(lowest, cover)
            cells.append(f"{100 * cover:.1f} %, {100 * width:.0f}")
        kind = "35 to 5 % of 6–10 clips" if tailed else "two clips of each"
        print(f"| {kind} | {people} | {accuracy:g} | {correlation:g} | {' | '.join(cells)} |", flush=True)
    print(f"\nLowest coverage: {100 * lowest:.1f} %. Goal: {100 * GOAL:g} %.", flush=True)
    return lowest


def two_models(
    rng: np.random.Generator,
    draws: int,
    clips: np.ndarray,
    accuracy: float,
    *,
    seeds: int,
    fold: float = 0.3,
    folds: int | None = None,
    common: float = 0.0,
    gain: float = 0.0,
) -> Estimate:
    """Compare models on clips of the same difficulty, A better by `gain` on the latent scale.

    A run adds noise to each clip, noise of sd `fold` to each of `folds` test folds (None: a person each) and of sd `common` to all clips.
    """
    people, total = len(clips), clips.sum()
    of, tested = np.repeat(np.arange(people), clips), np.arange(people) % (folds or people)
    sd = np.sqrt(sum(one**2 for one in (*SPREAD.values(), fold, common)))
    difficulty = rng.normal(0, SPREAD["people"], (draws, 1, people))[..., of]
    difficulty = difficulty + rng.normal(NormalDist().inv_cdf(accuracy) * sd, SPREAD["clips"], (draws, 1, total))
    added = []
    for better in (gain, 0.0):
        latent = difficulty + better + rng.normal(0, SPREAD["noise"], (draws, seeds, total))
        latent += rng.normal(0, fold, (draws, seeds, tested.max() + 1))[..., tested[of]]
        latent += rng.normal(0, common, (draws, seeds, 1))
        begins = np.concatenate([[0], np.cumsum(clips)[:-1]])
        added.append(np.add.reduceat(latent > 0, begins, axis=-1, dtype=np.int64) / total)
    return estimate(*added, clips / total, clip=1 / total**2)


def different(found: Estimate) -> float:
    """Return how often the interval leaves 0 out."""
    low, high = found.ends
    return float(((low > 0) | (high < 0)).mean())


def same_model(rng: np.random.Generator, draws: int, people: tuple[int, ...]) -> float:
    """Print how often two runs of one model are called different; return the highest share where that has to be low."""
    kinds = {
        "independent": {},
        "moves each of 5 folds by 3 points": {"folds": 5, "fold": 0.1},
        "moves each of 5 folds by 10 points": {"folds": 5, "fold": 0.3},
        "moves all clips by 2 points": {"common": 0.05},
        "moves all clips by 3 points": {"common": 0.1},
        "moves all clips by 7 points": {"common": 0.2},
    }  # sd, at an accuracy of 50 %
    print("\n## Two runs of one model: how often one is called better; mean (highest) over accuracies and designs\n")
    print(f"| variation between seeds | seeds | {' | '.join(f'{one} people' for one in people)} |")
    print(f"|---|---|{'---|' * len(people)}")
    highest = 0.0
    for (kind, noise), seeds in itertools.product(kinds.items(), (1, 3)):
        cells = []
        for number in people:
            shares = [
                different(two_models(rng, draws, clips_of(number, design), accuracy, seeds=seeds, **noise))
                for design, accuracy in itertools.product(DESIGNS, ACCURACY)
            ]
            if seeds > 1 or not noise:
                highest = max(highest, *shares)
            cells.append(f"{100 * np.mean(shares):.1f} % ({100 * max(shares):.1f} %)")
        print(f"| {kind} | {seeds} | {' | '.join(cells)} |", flush=True)
    print(
        f"\nHighest share with independent noise or with three seeds: {100 * highest:.1f} %. Goal: {100 * FALSE_ALARMS:g} % and three "
        f"standard errors, {100 * allowed(draws):.1f} %.",
        flush=True,
    )
    return highest


def allowed(draws: int) -> float:
    """Return the goal of false alarms with three standard errors of the simulation."""
    return FALSE_ALARMS + 3 * float(np.sqrt(FALSE_ALARMS * (1 - FALSE_ALARMS) / draws))


def power(rng: np.random.Generator, draws: int, people: tuple[int, ...]) -> None:
    """Print how often a difference shows that is as large as `detectable` says, and how often its interval holds it."""
    print("\n## A better model, by the difference that `detectable` names: how often it showed (goal near 80 %)\n")
    print("| people | seeds | accuracy of B | difference, points | shown | coverage |\n|---|---|---|---|---|---|")
    for number, seeds, accuracy in itertools.product(people, (1, 3), (0.5, 0.7)):
        clips = clips_of(number, DESIGNS[0])
        options = {"seeds": seeds, "common": 0.2 if seeds > 1 else 0.0}
        low, high = 0.0, MOST_GAIN
        for _ in range(8):
            gain = (low + high) / 2
            found = two_models(rng, draws, clips, accuracy, gain=gain, **options)
            enough = found.value.mean() >= found.detectable.mean()
            low, high = (low, gain) if enough else (gain, high)
        if high == MOST_GAIN:
            print(f"| {number} | {seeds} | {accuracy:g} | more than B leaves | – | – |")
            continue
        truth = float(two_models(rng, 5 * draws, clips, accuracy, gain=gain, **options).value.mean())
        cover, _ = held(*found.ends, truth)
        print(
            f"| {number} | {seeds} | {accuracy:g} | {100 * truth:.1f} | {100 * different(found):.0f} % | {100 * cover:.1f} % |",
            flush=True,
        )


def points(quick: bool) -> Iterator[list[tuple]]:
    """Return the points of WAR and those of UAR and UF1."""
    people = (5, 12) if quick else PEOPLE
    yield list(itertools.product(DESIGNS, people, (0.5, 0.95) if quick else ACCURACY))
    yield list(itertools.product((False, True), (5, 12) if quick else (5, 8, 12, 24), (0.5, 0.7, 0.95), (0.0, 0.3)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 draws of few points: whether it runs")
    quick = parser.parse_args().quick
    draws, people = (200, (5, 12)) if quick else (DRAWS, PEOPLE)
    print(f"{machine('numpy')}, {draws} draws a point")
    began = time.perf_counter()
    rng = np.random.default_rng(2026)
    of_war, of_classes = points(quick)
    lowest = min(war(rng, draws, of_war), uar_and_uf1(rng, draws, of_classes))
    highest = same_model(rng, draws, people)
    power(rng, draws, people)
    print(f"\n{time.perf_counter() - began:.0f} s")
    if lowest < GOAL or highest > allowed(draws):
        sys.exit(1)


if __name__ == "__main__":
    main()
