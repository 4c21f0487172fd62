"""Loss and test accuracy by epoch, from the histories of runs: means over folds and seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ....report.plots import Curve, line_chart
from ....train.runs.run import Run
from ..cells import named, over_seeds
from ..runs import Runs
from ..sheet import Cell, Line
from ..table import Row, Table
from .measured import Measured

CLOSE = 0.01  # to the accuracy of the last epoch
TOP = 1.05  # of the highest loss drawn


def measure(table: Table, rows: Sequence[Row], runs: Runs) -> Measured:
    """Train the rows, and read what they did by epoch."""
    lines: list[Line] = []
    tested, losses = [], []
    for row in rows:
        run = runs.run(row)
        scored = runs.predictions(row)
        accuracy = by_epoch(run, _accuracy)
        loss = by_epoch(run, lambda record: record.get("expression_loss", record.get("loss")))
        last = accuracy[-1][1] if accuracy else float("nan")
        settled = next((epoch for place, (epoch, _) in enumerate(accuracy) if _stays(accuracy[place:], last)), 0)
        lines.append(
            {
                "row": named(row.label),
                "WAR, last epoch": over_seeds("war", scored.over_seeds["war"]),
                "settled in epoch": Cell(words=str(settled or "–"), values={"settled_epoch": settled or None}),
                "loss, last epoch": Cell(words=f"{loss[-1][1]:.3f}", values={"loss": loss[-1][1]}),
            }
        )
        tested.append(Curve(name=row.label, mean=[(epoch, 100 * value) for epoch, value in accuracy]))
        losses.append(Curve(name=row.label, mean=loss))
    told = " ".join(f"{one.name}: {one.mean[-1][1]:.1f} % in the last epoch." for one in tested if one.mean)
    top = max(value for curve in losses for _, value in curve.mean) * TOP
    return Measured(
        lines=lines,
        notes=(
            f"Settled: from this epoch on the mean test accuracy stays within {100 * CLOSE:g} point of that of the last epoch.",
        ),
        pictures={
            ".svg": line_chart(tested, title=f"{table.number}: WAR on test halves", told=told, top=100.0, unit="%"),
            "-loss.svg": line_chart(
                losses, title=f"{table.number}: loss in training", told="Loss of the classes.", top=top, unit=""
            ),
        },
    )


def by_epoch(run: Run, read: Callable[[dict[str, Any]], float | None]) -> list[tuple[float, float]]:
    """Return the mean over parts of what the records of each epoch say, where they say it."""
    found: dict[int, list[float]] = {}
    for part in run.parts:
        for record in run.history(part):
            if (value := read(record)) is not None:
                found.setdefault(record["epoch"], []).append(value)
    return [(epoch, float(np.mean(values))) for epoch, values in sorted(found.items())]


def _accuracy(record: dict[str, Any]) -> float | None:
    return record["test_right"] / record["test_clips"] if "test_right" in record else None


def _stays(accuracy: Sequence[tuple[float, float]], last: float) -> bool:
    return all(abs(value - last) <= CLOSE + 1e-9 for _, value in accuracy)
