"""The clips themselves: how many, of whom, how long, how fast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....cache import Cache
from ....inputs.published.est_paper import CLIPS
from ....report.charts import histogram
from ..cells import named
from ..runs import Runs
from ..sheet import Cell, Line
from ..table import Row, Table
from .measured import PAPER, Measured


def measure(table: Table, rows: Sequence[Row], runs: Runs) -> Measured:
    """Count the clips of both caches."""
    lines = [_line(runs.cache)]
    if runs.dataset in CLIPS:
        rate, mean, deviation = CLIPS[runs.dataset]
        words = f"{rate} frames a second, {mean:g} ± {deviation:g} frames (Table 1)"
        lines[0] = lines[0] | {
            PAPER: Cell(words=words, values={"paper_mean_frames": mean, "paper_sd_frames": deviation})
        }
    if runs.test_cache is not None:
        lines.append(_line(runs.test_cache))
    picture = histogram(
        np.asarray(runs.cache.clips.count),
        f"{table.number}: lengths of {runs.cache.path.name}",
        axis="frames of a clip",
    )
    return Measured(lines=lines, pictures={".svg": picture})


def _line(cache: Cache) -> Line:
    clips = cache.clips
    count, rates = np.asarray(clips.count, float), np.asarray(clips.fps, float)
    known = rates[rates > 0]
    labels = {name for name in clips.label_names if name is not None}
    people = set(np.asarray(clips.subject).tolist()) - {""}
    rate = (
        "–"
        if not len(known)
        else f"{known.min():g}"
        if known.min() == known.max()
        else f"{known.min():g} to {known.max():g}"
    )
    deviation = float(count.std(ddof=1)) if len(count) > 1 else 0.0
    return {
        "cache": named(cache.path.name),
        "clips": Cell(words=f"{len(count):,}", values={"clips": len(count)}),
        "people": Cell(words=str(len(people)) if people else "unknown", values={"people": len(people)}),
        "classes": Cell(words=str(len(labels)), values={"classes": len(labels)}),
        "frame rates": Cell(words=rate, values={"lowest_rate": _least(known), "highest_rate": _most(known)}),
        "mean length, frames": Cell(words=f"{count.mean():.2f}", values={"mean_frames": float(count.mean())}),
        "sd of lengths": Cell(words=f"{deviation:.2f}", values={"sd_frames": deviation}),
    }


def _least(values: np.ndarray) -> float | None:
    return float(values.min()) if len(values) else None


def _most(values: np.ndarray) -> float | None:
    return float(values.max()) if len(values) else None
