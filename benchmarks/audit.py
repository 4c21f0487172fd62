"""Whether the numbers of `est audit` are honest: simulated trainings whose true score is known. No model is trained.

    python benchmarks/audit.py            # 2,000 runs a row
    python benchmarks/audit.py --quick    # 200

A simulated run has folds; each fold has a model with a learning curve that rises, levels off and moves from epoch to epoch, people of its
inner validation part and of its test half, and clips of each. Whether a clip is right at an epoch is the sign of a sum: the ability of the
model, what is easy about the person and about the clip, and how the model of this epoch suits both, which is correlated from epoch to
epoch. So the true score of the model of every epoch, on people that nobody has seen, is known in closed form. Each run chooses the epoch of
each fold in three ways and has one interval for each, over the people tested. An honest interval covers the true score of the models chosen
in 95 of 100 runs. Shares have 95 % binomial bands.

The second table is of permutation tests where features tell nothing: five folds over people, the nearest class mean, permutations within
people. p is at most 0.05 in one of 20 runs where it is right. Labels are permuted and p is counted by the audit's own functions, with the
permuted labels of the tested clips; beside it stands p with their true labels, which hides that the scores of folds vary together. A
permutation that reaches the score exactly counts, so p errs towards being too large.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass

import numpy as np
from _machine import machine

from est.sweep.audit.findings import LAST, Tested, _permuted
from est.sweep.audit.permutation import permute_rows
from est.train.folds.annotations import Annotations
from est.train.results.intervals import tallies, tally_limits

RUNS, QUICK = 2000, 200
CHOICES = ("last", "inner validation", "oracle")
SPREAD = {"person": 0.5, "clip": 0.8, "person and epoch": 0.25, "clip and epoch": 0.45}  # standard deviations
WANDER = 0.06  # standard deviation of the ability of the model itself from epoch to epoch
PERMUTED_RUNS, PERMUTATIONS = 3000, 19


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The size of a simulated cache and its trainings."""

    people: int  # tested, over all folds
    folds: int
    val_people: int  # of each fold
    clips: int = 7  # of a person
    epochs: int = 30
    ability: float = 0.45  # where the learning curve levels off
    kept: float = 0.8  # correlation of neighbouring epochs


SETTINGS = (
    Setting(people=20, folds=5, val_people=3),
    Setting(people=40, folds=5, val_people=6),
    Setting(people=100, folds=5, val_people=12),
    Setting(people=40, folds=5, val_people=6, kept=0.98),
    Setting(people=40, folds=1, val_people=8),
)


def correlated(rng: np.random.Generator, shape: tuple[int, ...], epochs: int, kept: float) -> np.ndarray:
    """Return noise of unit variance, each epoch correlated with the one before.  # (*shape, epochs)"""
    noise = rng.standard_normal((*shape, epochs))
    for epoch in range(1, epochs):
        noise[..., epoch] = kept * noise[..., epoch - 1] + math.sqrt(1 - kept**2) * noise[..., epoch]
    return noise


def right(rng: np.random.Generator, ability: np.ndarray, people: int, clips: int, kept: float) -> np.ndarray:
    """Say which clips of new people a fold's models get right.  # ability (E,) → (people, clips, E)"""
    epochs = len(ability)
    latent = (
        ability
        + SPREAD["person"] * rng.standard_normal((people, 1, 1))
        + SPREAD["clip"] * rng.standard_normal((people, clips, 1))
        + SPREAD["person and epoch"] * correlated(rng, (people, 1), epochs, kept)
        + SPREAD["clip and epoch"] * correlated(rng, (people, clips), epochs, kept)
    )
    return latent > 0


def true_score(ability: np.ndarray) -> np.ndarray:
    """Return the share of clips of all people that are right: the normal distribution of the sum above."""
    scale = math.sqrt(2 * sum(one**2 for one in SPREAD.values()))
    return np.array([0.5 * (1 + math.erf(one / scale)) for one in ability.tolist()])


def simulate(rng: np.random.Generator, setting: Setting) -> tuple[dict[str, tuple[float, float, np.ndarray]], float]:
    """Return by choice the true score, the estimate and what its interval is made of; and the share of clips that change in an epoch."""
    tested: dict[str, list[np.ndarray]] = {name: [] for name in CHOICES}
    truth: dict[str, list[float]] = {name: [] for name in CHOICES}
    changes = []
    for _ in range(setting.folds):
        wander = WANDER * correlated(rng, (1,), setting.epochs, setting.kept)[0]
        ability = setting.ability * (1 - np.exp(-np.arange(1, setting.epochs + 1) / 5)) + wander
        score = true_score(ability)
        test = right(rng, ability, setting.people // setting.folds, setting.clips, setting.kept)
        val = right(rng, ability, setting.val_people, setting.clips, setting.kept)
        chosen = {
            "last": -1,
            "inner validation": int(val.mean((0, 1)).argmax()),
            "oracle": int(test.mean((0, 1)).argmax()),
        }
        for name, epoch in chosen.items():
            tested[name].append(test[..., epoch])
            truth[name].append(float(score[epoch]))
        changes.append((test[..., 1:] != test[..., :-1])[..., setting.epochs // 2 :].mean())
    groups = np.repeat([f"P{number:03d}" for number in range(setting.people)], setting.clips)
    found = {}
    for name in CHOICES:
        hits = np.concatenate(tested[name]).ravel()
        tally = tallies(np.zeros(len(hits), int), 1 - hits.astype(int), groups, ("right", "wrong"))
        found[name] = (float(np.mean(truth[name])), float(hits.mean()), tally)
    return found, float(np.mean(changes))


def band(share: float, runs: int) -> str:
    """Write a share with its 95 % band: Wilson's."""
    z = 1.959964
    middle = (share + z**2 / (2 * runs)) / (1 + z**2 / runs)
    half = z / (1 + z**2 / runs) * math.sqrt(share * (1 - share) / runs + z**2 / (4 * runs**2))
    return f"{100 * share:5.1f} % ({100 * (middle - half):.1f} to {100 * (middle + half):.1f})"


def coverage(runs: int) -> None:
    """Print how often intervals cover the true score of the models chosen."""
    sizes = "people, folds, validation people; clips that change in an epoch"
    print(f"| {sizes} | chosen by | estimate − true, points | 95 % interval covers | lies wholly above |")
    print("|---|---|---|---|---|")
    for number, setting in enumerate(SETTINGS):
        rng = np.random.default_rng([29, number])
        found = [simulate(rng, setting) for _ in range(runs)]
        changed = float(np.mean([changes for _, changes in found]))
        for name in CHOICES:
            true, estimate, tally = (np.array([one[name][part] for one, _ in found]) for part in range(3))
            low, high = (ends[:, 0] for ends in tally_limits(tally))  # of WAR, for all runs at once
            covered = float(((low <= true) & (true <= high)).mean())
            above = float((low > true).mean())
            size = (
                f"{setting.people}, {setting.folds}, {setting.val_people}; {changed:.0%}" if name == CHOICES[0] else ""
            )
            bias = f"{100 * float((estimate - true).mean()):+.1f}"
            print(f"| {size} | {name} | {bias} | {band(covered, runs)} | {band(above, runs)} |", flush=True)
    print(f"\n{runs} runs a row. Changes are counted in the second half of a training.")


def permutation_tests(runs: int) -> None:
    """Print how often p is at most 0.05 where features tell nothing of the labels; permutations and p are the audit's own."""
    rng = np.random.default_rng(30)
    people, clips, classes, width, folds = 20, 6, "abc", 10, 5
    number = people * clips
    ids = np.array([f"c{place:03d}" for place in range(number)])
    subject = np.array([f"P{place // clips:02d}" for place in range(number)])
    fold = np.arange(number) // clips % folds

    def trained(features: np.ndarray, taught: np.ndarray, truth: np.ndarray) -> Tested:
        """Learn from labels, and return what is predicted of the clips of each fold, which have their true ones."""
        predicted = np.empty(number, int)
        for part in range(folds):
            learnt, test = fold != part, fold == part
            means = np.stack([features[learnt & (taught == code)].mean(axis=0) for code in range(len(classes))])
            predicted[test] = ((features[test][:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
        last = {LAST: predicted[None]}
        return Tested(labels=tuple(classes), ids=ids, subject=subject, truth=truth, predicted=last, seconds=0.0)

    small = np.zeros(2)
    scores: list[list[float]] = [[], [], []]
    rows = np.arange(number)
    for run in range(runs):
        drawn = rng.permuted(np.tile(list(classes), (people, clips // len(classes))), axis=1).ravel().tolist()
        table = Annotations.from_columns(ids=ids.tolist(), label=drawn, subject=subject.tolist())
        features = rng.standard_normal((number, width))
        tested = trained(features, table.label, table.label)
        taught = [table.label[permute_rows(table, rows, seed=run, number=one + 1)] for one in range(PERMUTATIONS)]
        permuted = [trained(features, labels, table.label) for labels in taught]
        names = [{name: classes[code] for name, code in zip(tested.ids.tolist(), one, strict=True)} for one in taught]
        found = _permuted(tested, LAST, permuted, names, [1.0] * PERMUTATIONS)
        score = tested.scores(LAST)[0].war
        reached = found.reached[LAST]["war"]
        small += found.p["war"] <= 0.05, (1 + sum(one >= score for one in reached)) / (1 + PERMUTATIONS) <= 0.05
        for kept, more in zip(scores, ([score], found.own["war"], reached), strict=True):
            kept += more
    sd = [100 * float(np.std(one)) for one in scores]
    print(
        "\n| tested clips have | p ≤ 0.05 | sd of the permuted WAR, points (of the score itself: " + f"{sd[0]:.1f}) |"
    )
    print("|---|---|---|")
    print(f"| their permuted labels | {band(small[0] / runs, runs)} | {sd[1]:.1f} |")
    print(f"| their true labels | {band(small[1] / runs, runs)} | {sd[2]:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} runs instead of {RUNS}")
    quick = parser.parse_args().quick
    begun = time.monotonic()
    print(machine("numpy"), end="\n\n")
    coverage(QUICK if quick else RUNS)
    permutation_tests(QUICK if quick else PERMUTED_RUNS)
    print(f"\n{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
