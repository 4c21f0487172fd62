"""The results of a run: its parts' predictions pooled and scored, and written where people and programs look for them.

Pooled means that confusion matrices are added over folds before anything is divided; over seeds a mean is taken, because a clip that was
predicted several times is still one clip. Each part's own scores, with intervals, are shown with it, and so do three numbers that are no
result of the model: the oracle (the best epoch on the test half, which most published numbers are), chance of further questions, and the
control (pooled statistics and a linear classifier).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..folds.leaks import Leak, leaks_of
from ..folds.published import results_of
from ..runs.files import write, write_csv, write_json
from ..runs.run import MEGC, METRICS, SUMMARY, Run
from .compare import UNITS
from .conventions import Convention, conventions
from .intervals import score_intervals
from .megc import MegcTable, table_of_run
from .metrics import COVERAGE_EDGES, LENGTH_EDGES, AnswerScore, Bin, Scores, Spread, by_bins, plain, score
from .pages.pictures import NO_PREDICTION, confusion_picture, curves_picture
from .pages.summary import summary
from .paired import Difference, compare_paired
from .predictions import Predictions, predictions_frame, read_predictions

if TYPE_CHECKING:
    import pandas

FORMAT, VERSION = "est-metrics", 1  # of metrics.json, as docs/scores.md says it
ORACLE = "the best epoch chosen on the test half: no result, but what most published numbers are"


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """The results of a run."""

    run: Run
    parts: list[dict[str, Any]]  # result.json of each
    predictions: Predictions
    part_intervals: dict[str, dict[str, tuple[float, float]]]  # of each part, empty where it has few units
    answers: tuple[AnswerScore, ...]  # to further questions of the models
    oracle: tuple[int, int] | None  # right, total; over all parts
    by_length: list[Bin]
    by_coverage: list[Bin]
    histories: dict[str, list[dict[str, Any]]]  # the epochs of each part
    unseen: list[str]  # clips that show no face or have no frames: wrong in every number
    seconds: float

    @cached_property
    def scores(self) -> Scores:
        """Return the scores of the models: pooled over folds, the mean over seeds."""
        return self.predictions.scores

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the 95 % interval of war, uar and uf1."""
        return self.predictions.intervals

    @property
    def units(self) -> str:
        """Name what the intervals are over: subjects or clips."""
        return self.predictions.units

    @cached_property
    def over_seeds(self) -> dict[str, Spread]:
        """Return the spread of each score over seeds."""
        return self.predictions.over_seeds

    @cached_property
    def over_folds(self) -> dict[str, Spread]:
        """Return the spread of each score over folds; of UF1 only where the protocol has no table that forbids such a mean."""
        found = self.predictions.over_folds
        return found if self.megc is None else {name: one for name, one in found.items() if name != "uf1"}

    @cached_property
    def megc(self) -> MegcTable | None:
        """Return the table of MEGC 2019, of runs whose protocol has it."""
        return table_of_run(self.run, self.predictions)

    @cached_property
    def control(self) -> Scores | None:
        """Return the scores of the control on the same clips; it has no seed."""
        found = self.predictions
        return None if found.control is None else score(found.truth, found.control, found.labels)

    @cached_property
    def gain(self) -> Difference | None:
        """Return how far the model is above the control, in WAR."""
        found = self.predictions
        if found.control is None:
            return None
        control = (found.control == found.truth)[None]
        return compare_paired(found.right, control, found.groups, unit=UNITS[found.units], fixed=True)

    @cached_property
    def conventions(self) -> tuple[Convention, ...]:
        """Return the same run's scores by the conventions of the field, ours first."""
        return conventions(self.predictions, self.parts, self.histories)

    def to_pandas(self) -> pandas.DataFrame:
        """Return what was predicted of each clip under each seed, as predictions.csv has it; needs pandas."""
        return predictions_frame(self.run)

    @property
    def leaks(self) -> tuple[Leak, ...]:
        """Return what was learnt from before it was tested on; empty unless the run was allowed to."""
        return leaks_of(self.run.facts)

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        seeds = self.predictions.seeds
        found: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "heading": self.run.facts["heading"],
            "protocol": self.run.facts["protocol"],
            "clips": len(self.predictions),
            "seeds": list(seeds),
            "pooled": self.predictions.to_json(),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "intervals_over": self.units,
            "over_seeds": {name: vars(value) for name, value in self.over_seeds.items()},
            "over_folds": {name: vars(value) for name, value in self.over_folds.items()},
            "by_seed": {
                str(seed): {name: plain(getattr(one, name)) for name in ("war", "uar", "uf1")}
                for seed, one in zip(seeds, self.predictions.by_seed, strict=True)
            },
            "part_intervals": {
                part: {name: list(ends) for name, ends in found.items()} for part, found in self.part_intervals.items()
            },
            "parts": self.parts,
            "conventions": [one.to_json() for one in self.conventions],
            "by_length": [vars(row) for row in self.by_length],
            "by_coverage": [vars(row) for row in self.by_coverage],
            "unseen": self.unseen,
            "selected_by": self.run.config.select,
            "seconds": self.seconds,
        }
        if published := results_of(self.run.config.protocol.kind):
            found["published"] = [asdict(one) for one in published]
        if self.megc is not None:
            found["megc"] = self.megc.to_json()
        if self.leaks:
            found["leaks"] = [leak.to_json() for leak in self.leaks]
        found |= {one.question: one.to_json() for one in self.answers}
        if self.oracle is not None:
            right, total = self.oracle
            found["oracle"] = {"right": right, "total": total, "war": right / total, "what": ORACLE}
        if self.control is not None and self.gain is not None:
            found["control"] = self.control.to_json()
            found["above_control"] = self.gain.to_json()
        return found


def collect(run: Run) -> Results:
    """Pool the parts of a complete run, write its files, return its results."""
    parts = [run.result(name) for name in run.parts]
    rows = [{"part": name, **row} for name in run.parts for row in read_predictions(run, name)]
    results = pool_parts(run, parts, rows)
    header = list(rows[0])
    write_csv(run.path / "predictions.csv", header, ([row[name] for name in header] for row in rows))
    write_json(run.path / METRICS, results.to_json())
    write_csv(run.path / "confusion.csv", *confusion_table(results.scores))
    write_csv(run.path / "classes.csv", *class_table(results.scores))
    write_csv(run.path / "scores.csv", *score_table(parts, results.part_intervals))
    if results.megc is not None:
        write_csv(run.path / MEGC, *results.megc.csv())
    _write_history(run, results.histories)
    write(run.path / "confusion.svg", confusion_picture(results.scores, leaking=bool(results.leaks)))
    write(run.path / "curves.svg", curves_picture(list(results.histories.values())))
    write(run.path / SUMMARY, summary(results))
    return results


def pool_parts(run: Run, parts: list[dict[str, Any]], rows: list[dict[str, str]]) -> Results:
    """Score the predictions of all parts together."""
    found = Predictions.of_rows(run, rows)
    first = [row for row in rows if row["part"] in set(run.parts_of(found.seeds[0]))]
    share = found.right.mean(axis=0)
    frames = np.array([float(row["frames"]) for row in first])
    coverage = np.array([100 * float(row["coverage"]) for row in first])
    oracles = [part["oracle"] for part in parts if "oracle" in part]
    return Results(
        run=run,
        parts=parts,
        predictions=found,
        part_intervals={part["part"]: _part_intervals(found, part) for part in parts},
        answers=tuple(
            pool_answers(parts, name) for name in run.config.model.questions if any(name in part for part in parts)
        ),
        oracle=(sum(one["right"] for one in oracles), sum(one["total"] for one in oracles)) if oracles else None,
        by_length=by_bins(frames, share, LENGTH_EDGES, unit=" frames"),
        by_coverage=by_bins(coverage, share, COVERAGE_EDGES, unit=" % of frames"),
        histories={name: run.history(name) for name in run.parts},
        unseen=sorted({row["id"] for row in rows if not row["prediction"]}),
        seconds=round(sum(part["seconds"] for part in parts), 2),
    )


def _part_intervals(found: Predictions, part: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the intervals of one fold under one seed."""
    here = found.where(found.folds == part["fold"])
    predicted = here.predicted[found.seeds.index(part["seed"])]
    return score_intervals(here.truth, predicted, here.groups, here.labels)


def pool_answers(parts: list[dict[str, Any]], question: str) -> AnswerScore:
    """Add up what the models of all parts answered to a further question."""
    told = [part[question] for part in parts if question in part]  # nothing is asked where no clip shows a face
    return AnswerScore(
        question=question,
        right=sum(one["right"] for one in told),
        total=sum(one["total"] for one in told),
        choices=told[0][f"{question}s"],
    )


def confusion_table(scores: Scores) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of confusion.csv."""
    rows = scores.to_json()["confusion"]
    header = ["truth \\ prediction", *scores.labels, NO_PREDICTION]
    return header, [[label, *line] for label, line in zip(scores.labels, rows, strict=True)]


def class_table(scores: Scores) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of classes.csv; a cell is empty where there is nothing to divide by."""
    header = ["class", "right", "total", "predicted", "recall", "precision", "f1"]
    rows = [list(one.values()) for one in scores.to_json()["per_class"]]
    return header, [["" if cell is None else cell for cell in row] for row in rows]


SCORE_HEADER = ["part", "fold", "seed", "right", "total", "war", "war_low", "war_high", "uar", "uar_low", "uar_high"]
SCORE_HEADER += ["epoch", "oracle", "control"]  # of scores.csv


def score_table(
    parts: Sequence[Mapping[str, Any]], intervals: Mapping[str, Mapping[str, tuple[float, float]]]
) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of scores.csv from the results of a run's parts, or of evaluated models; what is not known is empty."""
    rows = []
    for part in parts:
        ends = intervals[part["part"]]
        oracle, control = part.get("oracle"), part.get("control")
        values = {name: part.get(name, "") for name in SCORE_HEADER}
        for name in ("war", "uar"):
            values |= dict(zip((f"{name}_low", f"{name}_high"), ends.get(name, ("", "")), strict=True))
        values["epoch"] = part["selected"]["epoch"] if "selected" in part else ""
        values["oracle"] = oracle["right"] / oracle["total"] if oracle else ""
        values["control"] = control["war"] if control else ""
        rows.append([values[name] for name in SCORE_HEADER])
    return SCORE_HEADER, rows


def _write_history(run: Run, histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Put the epochs of all parts into one table."""
    records = [{"part": name, **record} for name, epochs in histories.items() for record in epochs]
    header = list(dict.fromkeys(key for record in records for key in record))
    write_csv(run.path / "history.csv", header, ([record.get(name, "") for name in header] for record in records))
