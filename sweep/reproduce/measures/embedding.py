"""What classifiers read, drawn as points, and how often a clip's nearest neighbour is of the same class."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ....report.plots import class_legend, scatter
from ....report.projection import MOST, spread_sample, squared_distances, tsne
from ....train.models.contract import EMBEDDING
from ....train.results.details import Details
from ....train.results.predictions import Predictions
from ..cells import named, share
from ..runs import Runs
from ..sheet import Line
from ..table import Row, Table
from .measured import Measured

AMONG = 2000  # clips of a part among which neighbours are looked for


def measure(table: Table, rows: Sequence[Row], runs: Runs) -> Measured:
    """Train the rows, draw the first part, and count neighbours in all."""
    lines: list[Line] = []
    pictures = {}
    labels: tuple[str, ...] = ()
    for row in rows:
        run, details = runs.run(row), runs.details(row)
        labels, clips = run.labels, Predictions.of_run(run)
        truth = dict(zip(clips.ids.tolist(), clips.truth.tolist(), strict=True))
        learnt, pooled = [], []
        for seed in run.config.seeds:
            parts = [details[name] for name in run.parts_of(seed) if name in details]
            learnt.append(_same([(one.arrays[EMBEDDING], _codes(one, truth)) for one in parts]))
            pooled.append(_same([(one.pooled, _codes(one, truth)) for one in parts]))
        lines.append(
            {
                "row": named(row.label),
                "same class, what the classifier reads": share("same_class", learnt),
                "same class, mean of the features": share("same_class_pooled", pooled),
                "WAR": share("war", [one.war for one in clips.by_seed]),
            }
        )
        first = details[run.parts[0]]
        chosen = spread_sample(len(first.ids), MOST)
        points, codes = first.arrays[EMBEDDING][chosen], _codes(first, truth)[chosen]
        title = f"{table.number}: {row.label}, {run.parts[0]}"
        told = f"{len(codes)} tested clips of {len(labels)} classes as points in two dimensions."
        word = re.sub(r"[^a-z0-9]+", "-", row.label.lower()).strip("-")
        pictures[f"-{word}.svg"] = scatter(tsne(points.reshape(len(points), -1)), codes, title=title, told=told)
    pictures["-classes.svg"] = class_legend(labels)
    note = (
        "Same class: clips whose nearest neighbour among the tested clips of the fold is of the same class, by cosine."
    )
    return Measured(lines=lines, notes=(note,), pictures=pictures)


def _codes(one: Details, truth: dict[str, int]) -> np.ndarray:
    return np.array([truth[name] for name in one.ids.tolist()], int)


def _same(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the share of clips whose nearest neighbour in their part is of the same class."""
    right = total = 0
    for points, codes in parts:
        chosen = spread_sample(len(points), AMONG)
        kept = points[chosen].reshape(len(chosen), -1).astype(float)
        if len(kept) < 2:
            continue
        kept /= np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-12)
        distances = squared_distances(kept)
        np.fill_diagonal(distances, np.inf)
        right += int((codes[chosen][distances.argmin(axis=1)] == codes[chosen]).sum())
        total += len(kept)
    return right / total if total else float("nan")
