"""A run, opened for a page: complete, unfinished, or one that this release cannot read, which the page then states. Without torch.

Legend: N clips, S seeds, C classes.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import EstError, UsageError, quoted
from ...train.results.predictions import Predictions, read_predictions
from ...train.results.results import Results, pool_parts
from ...train.runs.run import RESULT, Run

Row = Mapping[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """What a page can say of a run."""

    path: Path
    run: Run | None = None  # none where this release cannot open it
    results: Results | None = None  # none until every part is scored, or where predictions are damaged
    problem: str = ""  # why one of these is missing
    remedy: str = ""
    parts: Sequence[Mapping[str, Any]] = ()  # result.json of those that are scored
    histories: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    probabilities: np.ndarray = field(
        default_factory=lambda: np.zeros((0, 0, 0))
    )  # (S, N, C), NaN of clips without a face
    frames: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (N,) of each clip
    coverage: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (N,) share of them that show a face

    @property
    def name(self) -> str:
        """Return what the page calls it: its folder, with the one above where the folder is only called `run`."""
        path = self.path.resolve()
        return f"{path.parent.name}/{path.name}" if path.name == "run" else path.name


def open_for_page(path: Path | str) -> Opened:
    """Open a run as far as it can be; what is no run at all is an error."""
    path = Path(path)
    try:
        run = Run.open(path)
    except UsageError:
        raise
    except EstError as error:
        return Opened(path=path, problem=error.message, remedy=error.remedy or "")
    parts: list[dict[str, Any]] = []
    try:
        parts = [run.result(name) for name in run.parts if (run.part(name) / RESULT).is_file()]
        histories = {name: run.history(name) for name in run.parts}
    except EstError as error:
        return Opened(path=path, run=run, parts=parts, problem=error.message, remedy=error.remedy or "")
    there = {name: one for name, one in histories.items() if one}
    known = Opened(path=path, run=run, parts=parts, histories=there)
    if not run.complete:
        return replace(known, problem=_unfinished(run, len(parts)), remedy=f"est train --resume --out {quoted(path)}")
    try:
        rows = [{"part": name, **row} for name in run.parts for row in read_predictions(run, name)]
        results = pool_parts(run, parts, rows)
        shares = probabilities_of(run, results.predictions, rows)
        first = {(run.fold_of(row["part"]), row["id"]): row for row in reversed(rows)}
        places = zip(results.predictions.folds.tolist(), results.predictions.ids.tolist(), strict=True)
        own = [first[place] for place in places]
        frames, coverage = (np.array([float(row[name]) for row in own]) for name in ("frames", "coverage"))
    except EstError as error:
        return replace(known, problem=error.message, remedy=error.remedy or "")
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        return replace(known, problem=f"The files of {path} are not as this release writes them: {error!r}.")
    return replace(known, results=results, probabilities=shares, frames=frames, coverage=coverage)


def probabilities_of(run: Run, found: Predictions, rows: Sequence[Row]) -> np.ndarray:
    """Return the probabilities of every clip under every seed (S, N, C), in the order of the predictions."""
    seed_of = {part["name"]: part["seed"] for part in run.facts["parts"]}
    fold_of = {part["name"]: part["fold"] for part in run.facts["parts"]}
    place = {key: number for number, key in enumerate(zip(found.folds.tolist(), found.ids.tolist(), strict=True))}
    shares = np.full((len(found.seeds), len(found), len(found.labels)), np.nan)
    for row in rows:
        if row["prediction"]:
            at = found.seeds.index(seed_of[row["part"]]), place[fold_of[row["part"]], row["id"]]
            shares[at] = [float(row[f"p_{label}"] or "nan") for label in found.labels]
    return shares


def _unfinished(run: Run, scored: int) -> str:
    """Return how far a run is."""
    busy = " It is being trained right now." if run.busy else ""
    return (
        f"This run is not complete: {scored} of {len(run.parts)} parts trained and scored.{busy} "
        "A score over a part of its clips would be another number, so none is given."
    )
