"""What a run's models predicted of the clips that it tested: each clip once, under each seed.

A clip is tested in one fold. Several seeds predict it several times, which makes it no more than one clip: scores are means over seeds,
and their spread over seeds says how far the variation between trainings moves them.

Legend: N clips, S seeds, C classes.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ...cache.dataframe import expect_pandas
from ...errors import EstError, counted
from ..runs.run import PREDICTIONS, Run
from .intervals import score_intervals
from .metrics import Scores, Spread, mean_scores, plain, score, spread

if TYPE_CHECKING:
    import pandas

SCORES = ("war", "uar", "uf1")


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """The clips that were tested, and what was predicted of them; −1 is no prediction."""

    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    ids: np.ndarray  # (N,)
    subjects: np.ndarray  # (N,) empty where unknown
    folds: np.ndarray  # (N,) names
    truth: np.ndarray  # (N,) places in `labels`
    predicted: np.ndarray  # (S, N) the same
    control: np.ndarray | None = None  # (N,) what the control said, which has no seed; of a run that has one

    @classmethod
    def of_run(cls, run: Run) -> Self:
        """Read those of a complete run."""
        return cls.of_rows(run, [{"part": name, **row} for name in run.parts for row in read_predictions(run, name)])

    @classmethod
    def of_rows(cls, run: Run, rows: Sequence[Mapping[str, str]]) -> Self:
        """Put the rows of all parts together, as predictions.csv of a run has them."""
        try:
            return cls._of_rows(run, rows)
        except (KeyError, ValueError, IndexError) as error:
            raise EstError(
                f"The predictions of {run.path} are damaged: {error} is none of its parts, columns or classes.",
                remedy="restore them, or train again",
            ) from error

    @classmethod
    def _of_rows(cls, run: Run, rows: Sequence[Mapping[str, str]]) -> Self:
        part = {one["name"]: one for one in run.facts["parts"]}
        seeds = run.config.seeds
        by_seed = {seed: [row for row in rows if part[row["part"]]["seed"] == seed] for seed in seeds}
        first = by_seed[seeds[0]]
        place = {(part[row["part"]]["fold"], row["id"]): number for number, row in enumerate(first)}
        code = {label: number for number, label in enumerate(run.labels)} | {"": -1}
        predicted = np.full((len(seeds), len(first)), -1)
        for number, seed in enumerate(seeds):
            if {(part[row["part"]]["fold"], row["id"]) for row in by_seed[seed]} != place.keys():
                raise EstError(
                    f"The seeds {seeds[0]} and {seed} of {run.path} have not tested the same clips.",
                    remedy="restore its predictions.csv, or train again",
                )
            for row in by_seed[seed]:
                predicted[number, place[part[row["part"]]["fold"], row["id"]]] = code[row["prediction"]]
        return cls(
            labels=run.labels,
            seeds=seeds,
            ids=np.array([row["id"] for row in first], str),
            subjects=np.array([row["subject"] for row in first], str),
            folds=np.array([part[row["part"]]["fold"] for row in first], str),
            truth=np.array([run.labels.index(row["truth"]) for row in first], int),
            predicted=predicted,
            control=np.array([code[row["control"]] for row in first]) if any(row["control"] for row in first) else None,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def right(self) -> np.ndarray:
        """Return which clips were recognised under which seed (S, N)."""
        return self.predicted == self.truth

    @property
    def by_subject(self) -> bool:
        """Return whether people are known; a clip of which they are not is a unit by itself."""
        return bool((self.subjects != "").any())

    @property
    def units(self) -> str:
        """Name what intervals are over: subjects, or clips where none is known."""
        return "subjects" if self.by_subject else "clips"

    @property
    def groups(self) -> np.ndarray:
        """Name the unit that each clip belongs to (N,)."""
        return unit_names(self.subjects, self.ids)

    @property
    def num_units(self) -> int:
        """Count the units."""
        return len(np.unique(self.groups))

    def describe_units(self) -> str:
        """Count them in words."""
        unknown = int((self.subjects == "").sum())
        if self.by_subject and unknown:
            return f"{counted(self.num_units - unknown, 'subject')} and {counted(unknown, 'clip')} of unknown people"
        return counted(self.num_units, self.units[:-1])

    @cached_property
    def by_seed(self) -> tuple[Scores, ...]:
        """Score each seed, pooled over its folds."""
        return tuple(score(self.truth, one, self.labels) for one in self.predicted)

    @property
    def scores(self) -> Scores:
        """Return the mean over seeds."""
        return mean_scores(self.by_seed)

    def to_json(self) -> dict[str, Any]:
        """Return the scores as metrics.json holds them; UF1 too is the mean over seeds, not that of the mean counts."""
        found = self.scores.to_json()
        mean = self.over_seeds["uf1"].mean
        found["uf1"]["value"] = plain(mean)
        return found

    @property
    def over_seeds(self) -> dict[str, Spread]:
        """Return mean and deviation over seeds."""
        return {name: spread([getattr(one, name) for one in self.by_seed]) for name in SCORES}

    @property
    def over_folds(self) -> dict[str, Spread]:
        """Return mean and deviation over folds, each the mean of its seeds: folds differ in their clips and people."""
        means = [self.where(self.folds == fold).over_seeds for fold in dict.fromkeys(self.folds.tolist())]
        return {name: spread([one[name].mean for one in means]) for name in SCORES}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the 95 % interval of each score over units; none with fewer than five."""
        return score_intervals(self.truth, self.predicted, self.groups, self.labels)

    def where(self, chosen: np.ndarray) -> Self:
        """Return some of the clips."""
        names = ("ids", "subjects", "folds", "truth")
        return replace(
            self,
            predicted=self.predicted[:, chosen],
            control=None if self.control is None else self.control[chosen],
            **{name: getattr(self, name)[chosen] for name in names},
        )


def unit_names(subjects: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Name the unit of each clip (N,): its person, or itself where the person is unknown."""
    alone = np.array([f"clip {name}\n" for name in ids.tolist()], str)  # no person has a name with a line break
    return np.where(subjects != "", subjects, alone)


def predictions_frame(run: Run) -> pandas.DataFrame:
    """Return the predictions of a run's parts as a data frame, a row for each clip under each seed; needs pandas.

    The columns are those of predictions.csv and of each part's fold and seed. What was not predicted has no name and no probabilities.
    """
    part = {one["name"]: {"fold": one["fold"], "seed": one["seed"]} for one in run.facts["parts"]}
    rows = [{"part": name, **row, **part[name]} for name in run.parts for row in read_predictions(run, name)]
    frame = typed_frame(rows)
    return frame.astype({"frames": int, "coverage": float})


def typed_frame(rows: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """Return rows of predictions as a data frame: probabilities as numbers, what is empty as missing."""
    frame = expect_pandas().DataFrame(
        [{name: None if cell == "" else cell for name, cell in row.items()} for row in rows]
    )
    return frame.astype({name: float for name in frame.columns if name.startswith("p_")})


def read_predictions(run: Run, part: str) -> list[dict[str, str]]:
    """Read what a part predicted; refuse a file that does not hold each clip of its test half once."""
    path = run.file_of(part, PREDICTIONS)
    remedy = run.train_again(part)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        names = sorted(row["id"] for row in rows)
        tested = sorted(run.halves()[run.fold_of(part)]["test"])
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise EstError(f"{path} cannot be read.", remedy=remedy) from error
    if names != tested:
        raise EstError(
            f"{path} is damaged: it has {len(names)} rows, and {counted(len(tested), 'clip')} were tested, each once.",
            remedy=remedy,
        )
    return rows
