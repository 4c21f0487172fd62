"""The same models tested on windows that start at other frames: accuracy by start, and its variance over starts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....train.evaluated import Change
from ....train.results.metrics import spread
from ..cells import named, over_seeds
from ..pictures import Curve, Point, curve_picture
from ..runs import Runs
from ..sheet import Cell, Line
from ..table import Row, Table
from .measured import Measured, paper_cell

STEPS = 6  # between the first start and the last


def measure(table: Table, rows: Sequence[Row], runs: Runs) -> Measured:
    """Train the rows, and score them from each start."""
    spare = runs.config(rows[0]).sampling.spare
    starts = sorted({round(spare * step / STEPS) for step in range(STEPS + 1)})
    lines: list[Line] = []
    curves = []
    for row in rows:
        shown = [runs.predictions(row, Change(start=start)) for start in starts]
        by_seed = np.array([[one.war for one in found.by_seed] for found in shown])  # (starts, S)
        means = by_seed.mean(axis=1)
        variances = (100 * by_seed).var(axis=0, ddof=1) if len(starts) > 1 else np.zeros(by_seed.shape[1])
        over = spread(variances.tolist())
        words = f"{over.mean:.2f}" + (f" ± {over.sd:.2f}" if over.sd is not None else "")
        line: dict[str, Cell] = {
            "row": named(row.label),
            "mean over starts": over_seeds("war", spread(by_seed.mean(axis=0).tolist())),
            "variance over starts": Cell(words=words, values={"variance": over.mean, "variance_sd": over.sd}),
            "lowest": Cell(words=f"{100 * means.min():.2f} %", values={"lowest": float(means.min())}),
            "highest": Cell(words=f"{100 * means.max():.2f} %", values={"highest": float(means.max())}),
        }
        line |= {
            f"from {start}": Cell(words=f"{100 * mean:.1f}", values={f"from_{start}": float(mean)})
            for start, mean in zip(starts, means.tolist(), strict=True)
        }
        lines.append(line | paper_cell(runs, table, row, "variance"))
        points = [
            Point(x=start, value=found.over_seeds["war"].mean, ends=found.intervals.get("war"))
            for start, found in zip(starts, shown, strict=True)
        ]
        curves.append(Curve(name=row.label, points=points))
    clips = len(runs.predictions(rows[0]))
    return Measured(
        lines=lines,
        notes=(
            f"One clip of {clips} is {100 / clips:.2f} points: variances of that squared and less are a clip or two.",
        ),
        pictures={".svg": curve_picture(curves, title=f"{table.number}: {table.title}, WAR", axis=table.axis)},
    )
