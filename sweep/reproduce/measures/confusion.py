"""Which classes a model takes for which: the confusion matrix, its counts means over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....report.plots import shaded_matrix
from ....train.results.metrics import number
from ..cells import named, over_seeds, share
from ..runs import Runs
from ..sheet import Cell, Line
from ..table import Row, Table
from .measured import Measured

NO_PREDICTION = "no prediction"


def measure(table: Table, rows: Sequence[Row], runs: Runs) -> Measured:
    """Train the row, and count."""
    found = runs.predictions(rows[0])
    scores = found.scores
    names = [*scores.labels, *([NO_PREDICTION] if scores.unpredicted else [])]
    counts = scores.confusion[:, : len(names)]
    lines: list[Line] = []
    for code, label in enumerate(scores.labels):
        recalls = [float(one.recall[code]) for one in found.by_seed if one.truth[code]]
        others = counts[code].astype(float).copy()
        others[code] = 0
        most = int(others.argmax())
        words = f"{names[most]} ({others[most] / max(scores.truth[code], 1):.0%})" if others[most] else "–"
        line: dict[str, Cell] = {
            "class": named(label),
            "clips": Cell(words=str(scores.truth[code]), values={"clips": int(scores.truth[code])}),
            "recall": share("recall", recalls),
            "most often taken for": Cell(words=words, values={"taken_for": names[most] if others[most] else ""}),
        }
        line |= {
            name: Cell(words=f"{counts[code, place]:.3g}", values={f"as {name}": number(counts[code, place])})
            for place, name in enumerate(names)
        }
        lines.append(line)
    rates = counts / np.maximum(scores.truth[:, None], 1)
    words = [[f"{100 * cell:.1f}" for cell in row] for row in rates]
    over = over_seeds("war", found.over_seeds["war"]).words
    picture = shaded_matrix(
        scores.labels,
        names,
        rates,
        words,
        title=f"{table.number}: {table.title}",
        told=f"{rows[0].label}: WAR {over}.",
        across="predicted, % of the clips of a row's class",
    )
    return Measured(lines=lines, found=(f"WAR {over} of {len(found)} clips",), pictures={".svg": picture})
