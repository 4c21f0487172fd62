"""The same run by the conventions of the field, beside ours: numbers in papers are made in at least three ways.

They are different numbers, and only like ones compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .predictions import Predictions


@dataclass(frozen=True, kw_only=True)
class Convention:
    """One way to make a run's number: its WAR and UAR, and in what it differs."""

    name: str
    title: str
    war: float
    uar: float
    what: str

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        return asdict(self)


def conventions(
    found: Predictions, parts: Sequence[Mapping[str, Any]], histories: Mapping[str, Sequence[Mapping[str, Any]]]
) -> tuple[Convention, ...]:
    """Score a run by every convention; by the oracle where its epochs were scored on the test half."""
    scores, folds = found.over_seeds, found.over_folds
    rows = [
        Convention(
            name="pooled",
            title="pooled over folds (this project; MEGC 2019)",
            war=scores["war"].mean,
            uar=scores["uar"].mean,
            what="Confusion matrices of the folds are added before anything is divided, so every clip counts once.",
        ),
        Convention(
            name="mean_of_folds",
            title="mean over folds (many papers)",
            war=folds["war"].mean,
            uar=folds["uar"].mean,
            what="Each fold is scored by itself and counts the same however many clips it has; a class that a fold lacks is not in "
            "its UAR.",
        ),
    ]
    best = [one for part in parts if (one := _best_epoch(part, histories)) is not None]
    if len(best) == len(parts):
        rows.append(
            Convention(
                name="oracle",
                title="best epoch on the test half, mean over folds (most published numbers)",
                war=float(np.mean([war for war, _ in best])),
                uar=float(np.mean([uar for _, uar in best])),
                what="Each fold's epoch is chosen by the WAR of the clips that it is then scored on, so it is too high: no result, "
                "but what most published numbers are.",
            )
        )
    return tuple(rows)


def _best_epoch(
    part: Mapping[str, Any], histories: Mapping[str, Sequence[Mapping[str, Any]]]
) -> tuple[float, float] | None:
    """Return WAR and UAR of the epoch of a part that is best on its test half."""
    oracle = part.get("oracle")
    if oracle is None:
        return None
    record = next((one for one in histories.get(part["part"], ()) if one["epoch"] == oracle["epoch"]), None)
    return None if record is None else (oracle["right"] / oracle["total"], record["test_uar"])
