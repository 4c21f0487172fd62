"""Which snippet has the highest attention, counted over the tested clips of all folds and seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ....train.models.contract import ATTENTION
from ....train.results.metrics import spread
from ..cells import named, share
from ..pictures import Curve, Point, curve_picture
from ..runs import Runs
from ..sheet import Cell, Line
from ..table import Row, Table
from .measured import Measured


def measure(table: Table, rows: Sequence[Row], runs: Runs) -> Measured:
    """Train the rows, and count."""
    lines: list[Line] = []
    curves = []
    for row in rows:
        run, details = runs.run(row), runs.details(row)
        by_seed = np.stack(
            [
                shares([details[name].arrays[ATTENTION] for name in run.parts_of(seed) if name in details])
                for seed in run.config.seeds
            ]
        )  # (S, n)
        line: dict[str, Cell] = {"row": named(row.label)}
        for place in range(by_seed.shape[1]):
            line[f"snippet {place + 1}"] = share(f"snippet_{place + 1}", by_seed[:, place].tolist())
        line["evenness"] = _evenness(by_seed)
        lines.append(line)
        points = [Point(x=place + 1, value=float(mean)) for place, mean in enumerate(by_seed.mean(axis=0))]
        curves.append(Curve(name=row.label, points=points))
    number = by_seed.shape[1]
    even = Curve(name="equal", points=[Point(x=place + 1, value=1 / number) for place in range(number)], faint=True)
    picture = curve_picture(
        [*curves, even], title=f"{table.number}: clips whose highest attention is on a snippet", axis=table.axis
    )
    note = "Evenness: the entropy of these shares, divided by that of equal shares; 0 where one snippet always has the highest attention."
    return Measured(lines=lines, notes=(note,), pictures={".svg": picture})


def shares(attention: Sequence[np.ndarray]) -> np.ndarray:
    """Return how often each snippet has the highest attention, the mean over heads.  # (N, heads, n) each → (n,)"""
    highest = np.concatenate([one.astype(float).mean(axis=1).argmax(axis=1) for one in attention])
    return np.bincount(highest, minlength=attention[0].shape[2]) / len(highest)


def _evenness(by_seed: np.ndarray) -> Cell:
    known = np.where(by_seed > 0, by_seed, 1)
    entropy = -(known * np.log(known)).sum(axis=1) / math.log(max(by_seed.shape[1], 2))
    found = spread(entropy.tolist())
    words = f"{found.mean + 0.0:.2f}" + (f" ± {found.sd:.2f}" if found.sd is not None else "")
    return Cell(words=words, values={"evenness": found.mean, "evenness_sd": found.sd})
