"""The results of a run: its parts' predictions pooled and scored, and written where people and programs look for them.

Pooled means that confusion matrices are added over folds (and seeds) before anything is divided. Each part's own scores, with intervals,
and their mean ± sd stand beside it, and so do three numbers that are no result of the model: the oracle (the best epoch on the test half,
which most published numbers are), chance of further questions, and the control (pooled statistics and a linear classifier).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import EstError
from ..folds.leaks import Leak, leaks_of
from .intervals import score_intervals
from .metrics import COVERAGE_EDGES, LENGTH_EDGES, AnswerScore, Bin, Scores, Spread, by_bins, score, spread
from .run import HISTORY, PREDICTIONS, RESULT, Run, read_history, read_json, write, write_csv, write_json
from .summary import NO_PREDICTION, confusion_picture, summary


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """What a run came to."""

    run: Run
    parts: list[dict[str, Any]]  # result.json of each
    scores: Scores  # pooled over folds and seeds
    intervals: dict[str, tuple[float, float]]  # 95 %, of war, uar and uf1
    part_intervals: dict[str, dict[str, tuple[float, float]]]  # the same of each part, empty below 5 units
    units: str  # what the intervals are over: subjects or clips
    over_parts: dict[str, Spread]  # of war and uar
    over_seeds: dict[str, Spread]  # each seed pooled over its folds; empty with one seed
    answers: tuple[AnswerScore, ...]  # to further questions of the models
    oracle: tuple[int, int] | None  # right, total
    control: Scores | None
    by_length: list[Bin]
    by_coverage: list[Bin]
    unseen: list[str]  # clips that show no face or have no frames: wrong in every number
    seconds: float

    @property
    def leaks(self) -> tuple[Leak, ...]:
        """Return what was learnt from before it was tested on; empty unless the run was allowed to."""
        return leaks_of(self.run.facts)

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        found: dict[str, Any] = {
            "heading": self.run.facts["heading"],
            "protocol": self.run.facts["protocol"],
            "pooled": self.scores.to_json(),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "intervals_over": self.units,
            "part_intervals": {
                part: {name: list(ends) for name, ends in found.items()} for part, found in self.part_intervals.items()
            },
            "over_parts": {name: vars(value) for name, value in self.over_parts.items()},
            "parts": self.parts,
            "by_length": [vars(row) for row in self.by_length],
            "by_coverage": [vars(row) for row in self.by_coverage],
            "unseen": self.unseen,
            "selected_by": self.run.config.select,
            "seconds": self.seconds,
        }
        if self.leaks:
            found["leaks"] = [leak.to_json() for leak in self.leaks]
        if self.over_seeds:
            found["over_seeds"] = {name: vars(value) for name, value in self.over_seeds.items()}
        found |= {one.question: one.to_json() for one in self.answers}
        if self.oracle is not None:
            right, total = self.oracle
            found["oracle"] = {"right": right, "total": total, "war": right / total, "what": ORACLE}
        if self.control is not None:
            found["control"] = self.control.to_json()
        return found


ORACLE = "the best epoch chosen on the test half: no result, but what most published numbers are"


def collect(run: Run) -> Results:
    """Pool the parts of a complete run, write its files, return what it came to."""
    parts = [read_json(run.part(name) / RESULT) for name in run.parts]
    rows = [{"part": name, **row} for name in run.parts for row in read_predictions(run, name)]
    results = pool_parts(run, parts, rows)
    header = list(rows[0])
    write_csv(run.path / "predictions.csv", header, ([row[name] for name in header] for row in rows))
    write_json(run.path / "metrics.json", results.to_json())
    labels = results.scores.labels
    confusion = [[label, *line] for label, line in zip(labels, results.scores.confusion.tolist(), strict=True)]
    write_csv(run.path / "confusion.csv", ["truth \\ prediction", *labels, NO_PREDICTION], confusion)
    _write_history(run)
    write(run.path / "confusion.svg", confusion_picture(results.scores, leaking=bool(results.leaks)))
    write(run.path / "summary.md", summary(results))
    return results


def pool_parts(run: Run, parts: list[dict[str, Any]], rows: list[dict[str, str]]) -> Results:
    """Score the predictions of all parts together."""
    labels = run.labels
    code = {label: number for number, label in enumerate(labels)} | {"": -1}
    truth = np.array([code[row["truth"]] for row in rows])
    predicted = np.array([code[row["prediction"]] for row in rows])
    seeds = {part["part"]: part["seed"] for part in parts}
    seed = np.array([seeds[row["part"]] for row in rows])
    by_subject = all(row["subject"] for row in rows)
    groups = np.array([row["subject"] if by_subject else row["id"] for row in rows])
    part = np.array([row["part"] for row in rows])

    def intervals(chosen: np.ndarray) -> dict[str, tuple[float, float]]:
        return score_intervals(truth[chosen], predicted[chosen], groups[chosen], labels)

    pooled = score(truth, predicted, labels)
    by_seed = [score(truth[seed == one], predicted[seed == one], labels) for one in run.config.seeds]
    oracles = [part["oracle"] for part in parts if "oracle" in part]
    frames = np.array([float(row["frames"]) for row in rows])
    coverage = np.array([100 * float(row["coverage"]) for row in rows])
    first = seed == run.config.seeds[0]
    return Results(
        run=run,
        parts=parts,
        scores=pooled,
        intervals=intervals(np.ones(len(rows), bool)),
        part_intervals={name: intervals(part == name) for name in run.parts},
        units="subjects" if by_subject else "clips",
        over_parts={name: spread([part[name] for part in parts]) for name in ("war", "uar")},
        over_seeds={name: spread([getattr(one, name) for one in by_seed]) for name in ("war", "uar")}
        if len(by_seed) > 1
        else {},
        answers=tuple(
            pool_answers(parts, name) for name in run.config.model.questions if any(name in part for part in parts)
        ),
        oracle=(sum(one["right"] for one in oracles), sum(one["total"] for one in oracles)) if oracles else None,
        control=score(truth[first], np.array([code[row["control"]] for row in rows])[first], labels)
        if all("control" in part for part in parts)
        else None,
        by_length=by_bins(frames, truth == predicted, LENGTH_EDGES, unit=" frames"),
        by_coverage=by_bins(coverage, truth == predicted, COVERAGE_EDGES, unit=" % of frames"),
        unseen=sorted({row["id"] for row in rows if not row["prediction"]}),
        seconds=round(sum(part["seconds"] for part in parts), 2),
    )


def pool_answers(parts: list[dict[str, Any]], question: str) -> AnswerScore:
    """Add up what the models of all parts answered to a further question."""
    told = [part[question] for part in parts if question in part]  # nothing is asked where no clip shows a face
    return AnswerScore(
        question=question,
        right=sum(one["right"] for one in told),
        total=sum(one["total"] for one in told),
        choices=told[0][f"{question}s"],
    )


def read_predictions(run: Run, part: str) -> list[dict[str, str]]:
    """Read what a part predicted."""
    path = run.part(part) / PREDICTIONS
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise EstError(
            f"{path} cannot be read.", remedy=f"remove {run.part(part)}, then est train --resume --out {run.path}"
        ) from error


def _write_history(run: Run) -> None:
    """Put the epochs of all parts into one table."""
    records: list[Mapping[str, Any]] = [
        {"part": name, **record} for name in run.parts for record in read_history(run.part(name) / HISTORY)
    ]
    header = list(dict.fromkeys(key for record in records for key in record))
    write_csv(run.path / "history.csv", header, ([record.get(name, "") for name in header] for record in records))
