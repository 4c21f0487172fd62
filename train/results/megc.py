"""The table of MEGC 2019: UF1 and UAR of all clips, then of each database's, always from counts that are pooled over folds.

TP, FP and FN are added over all subjects that were left out; then F1_c = 2 TP / (2 TP + FP + FN), UF1 is the mean of F1_c, and UAR that of
TP_c / n_c. F1 of single subjects is never averaged: most have clips of one or two classes. A database's row pools its own clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...inputs.folders import natural_key
from ..folds.published import uf1_results_of
from ..runs.run import Run
from .metrics import Scores, Spread, plain
from .predictions import Predictions

FULL = "Full"
UNKNOWN = "database not known"
USUAL_ORDER = ("SMIC", "CASME II", "SAMM")  # of the rows below the first, as the challenge prints them
SCORES = ("uf1", "uar")
HEADER = ["row", "clips", "subjects", "uf1", "uf1_low", "uf1_high", "uar", "uar_low", "uar_high"]  # of megc.csv


@dataclass(frozen=True, kw_only=True)
class MegcRow:
    """One row: the clips of a database, or all."""

    name: str
    scores: Scores  # the mean over seeds
    over_seeds: Mapping[str, Spread]  # of uf1 and uar
    intervals: Mapping[str, tuple[float, float]]  # over people; empty below five
    people: int
    f1: Mapping[str, float]  # of each class, the mean over seeds; NaN where neither truth nor predictions have it

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        found: dict[str, Any] = {"row": self.name, "clips": self.scores.total, "subjects": self.people}
        for name in SCORES:
            spread = self.over_seeds[name]
            found[name] = {"value": plain(spread.mean), "sd": spread.sd}
            found[name]["interval"] = list(self.intervals[name]) if name in self.intervals else None
        found["classes"] = int(self.scores.present.sum())
        found["of_classes"] = len(self.scores.labels)
        found["f1"] = {label: plain(value) for label, value in self.f1.items()}
        return found

    def line(self) -> list[Any]:
        """Return a line of megc.csv."""
        values: list[Any] = [self.name, self.scores.total, self.people]
        for name in SCORES:
            values += [self.over_seeds[name].mean, *self.intervals.get(name, ("", ""))]
        return [*values, *("" if value != value else value for value in self.f1.values())]


@dataclass(frozen=True, kw_only=True)
class MegcTable:
    """The rows, and what to know when they are read."""

    rows: tuple[MegcRow, ...]
    labels: tuple[str, ...]
    seeds: int
    remarks: tuple[str, ...]
    published: tuple[str, ...]  # lines about other systems; of the whole composite alone

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        found: dict[str, Any] = {"rows": [row.to_json() for row in self.rows], "remarks": list(self.remarks)}
        return found | ({"published": list(self.published)} if self.published else {})

    def csv(self) -> tuple[list[str], list[list[Any]]]:
        """Return header and rows of megc.csv."""
        return [*HEADER, *(f"f1_{label}" for label in self.labels)], [row.line() for row in self.rows]


def table_of_run(run: Run, found: Predictions) -> MegcTable | None:
    """Return the table of a run whose protocol has one."""
    facts = run.facts.get("megc")
    if facts is None:
        return None
    epochs = run.config.loop.epochs
    kept = f"The last of {epochs} epochs" if epochs > 1 else "The only epoch"
    remarks = [f"{kept} is scored, in every fold."]
    if run.config.select != "last":
        remarks = ["The epoch of each fold is chosen on a part of the clips that it learns from."]
    remarks += [facts["apex"]] if facts.get("apex") else []
    published = tuple(one.line() for one in uf1_results_of(facts.get("dataset", ""), len(found)))
    return megc_table(found, facts["databases"], remarks=tuple(remarks), published=published)


def megc_table(
    found: Predictions,
    databases: Mapping[str, str],
    *,
    remarks: tuple[str, ...] = (),
    published: tuple[str, ...] = (),
) -> MegcTable:
    """Score all clips, and those of each database, by id; without databases there is one row."""
    of = np.array([databases.get(one) or UNKNOWN for one in found.ids.tolist()], str)
    names = sorted(set(of.tolist()), key=_order) if databases else []
    rows = [_row(names[0] if len(names) == 1 else FULL, found)]
    if len(names) > 1:
        rows += [_row(name, found.where(of == name)) for name in names]
    return MegcTable(
        rows=tuple(rows), labels=found.labels, seeds=len(found.seeds), remarks=remarks, published=published
    )


def _row(name: str, found: Predictions) -> MegcRow:
    over = found.over_seeds
    f1 = np.array([one.f1 for one in found.by_seed])  # (S, C)
    return MegcRow(
        name=name,
        scores=found.scores,
        over_seeds={score: over[score] for score in SCORES},
        intervals={score: ends for score, ends in found.intervals.items() if score in SCORES},
        people=len(set(found.subjects.tolist()) - {""}),
        f1=dict(zip(found.labels, f1.mean(axis=0).tolist(), strict=True)),
    )


def _order(name: str) -> tuple[int, tuple]:
    """Put the usual databases first, then others by name, then clips of which it is not known."""
    if name in USUAL_ORDER:
        return USUAL_ORDER.index(name), ()
    return len(USUAL_ORDER) + (name == UNKNOWN), natural_key(name)
