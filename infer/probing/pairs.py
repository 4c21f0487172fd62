"""Temporal pairs: two classes that differ only in their course over time, so that a model that ignores order can only guess."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...errors import UsageError
from ...train.results.paired import compare_paired
from ...train.results.predictions import Predictions
from .probe import WithinPairs

THEN = "-then-"  # of the demo's --temporal-pairs: anger-then-happiness and happiness-then-anger


def find_pairs(labels: Sequence[str], asked: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the pairs that are asked for, and those whose names are each other's turned around."""
    found = {tuple(sorted(pair)) for pair in asked}
    for pair in asked:
        for name in pair:
            if name not in labels:
                raise UsageError(
                    f"There is no class {name!r}; the classes are {', '.join(labels)}.", remedy="--pair A=B"
                )
        if pair[0] == pair[1]:
            raise UsageError(f"A pair has two classes, found {pair[0]} twice.", remedy="--pair A=B")
    for label in labels:
        first, then, second = label.partition(THEN)
        if then and f"{second}{THEN}{first}" in labels and first != second:
            found.add(tuple(sorted((label, f"{second}{THEN}{first}"))))
    members = [name for pair in found for name in pair]
    if len(set(members)) < len(members):
        raise UsageError("A class is in one pair, found one in two.", remedy="--pair A=B for each pair once")
    return tuple((pair[0], pair[1]) for pair in sorted(found))


def within_pairs(predictions: Predictions, pairs: tuple[tuple[str, str], ...], unit: str) -> Iterator[WithinPairs]:
    """Say of the model, and of the control where there is one, how often it is right within pairs."""
    partner = np.full(len(predictions.labels) + 1, -2)  # the last is no prediction
    for pair in pairs:
        one, other = (predictions.labels.index(name) for name in pair)
        partner[one], partner[other] = other, one
    chosen = partner[predictions.truth] >= 0
    truth = predictions.truth[chosen]
    said = {"model": predictions.predicted}
    if predictions.control is not None:
        said["control"] = predictions.control[None]
    for name, guesses in said.items():
        guess = guesses[:, chosen]
        right, wrong = guess == truth, guess == partner[truth]
        either = right | wrong
        # one half of every clip that was taken for its pair: the result of guessing on the same clips
        weights = either.mean(0)
        difference = None
        if weights.any():
            usable = weights > 0
            share = right.mean(0)[usable] / weights[usable]
            difference = compare_paired(
                share,
                np.full(int(usable.sum()), 0.5),
                predictions.groups[chosen][usable],
                weights=weights[usable],
                unit=unit,
                fixed=True,
            )
        yield WithinPairs(
            of=name,
            pairs=pairs,
            clips=int(chosen.sum()),
            pair_right=float(weights.sum()),
            right=float(right.mean(0).sum()),
            difference=difference,
        )
