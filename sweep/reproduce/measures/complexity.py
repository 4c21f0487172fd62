"""What models cost: parameters and MACs by arithmetic, and the time of a step and of a prediction by the clock."""

from __future__ import annotations

from collections.abc import Sequence

from ....errors import EstError
from ....train.models.description import Description
from ..cells import millions, named
from ..cost import describe
from ..estimate import measure_speed
from ..runs import Runs, told
from ..sheet import Cell, Line
from ..table import Row, Table
from .measured import PAPER, Measured, paper_line


def measure(table: Table, rows: Sequence[Row], runs: Runs) -> Measured:
    """Count and time the rows; nothing is trained."""
    lines: list[Line] = []
    skipped = {}
    for row in rows:
        config = runs.config(row)
        try:
            ready = runs.ready(config)
        except EstError as error:  # pictures that are missing, known only now
            skipped[row.label] = told(error)
            continue
        found = describe(ready, config)
        speed = measure_speed(ready, config, alone=True)
        tested = max(len(ready.plan.folds[0].test), 1)
        whole = found.whole
        rate = tested / speed.scoring if speed.scoring else 0.0
        line: dict[str, Cell] = {
            "row": named(row.label),
            "parameters": millions("parameters", found.parameters),
            "with backbone": millions("parameters_with_backbone", whole.parameters if whole else None),
            "frames": _frames(found),
            "MACs a clip": Cell(words=f"{found.macs / 1e6:.2f} M", values={"macs": found.macs}),
            "MACs with backbone": _with_backbone(found),
            "step": Cell(words=f"{1000 * speed.step:.1f} ms", values={"step_seconds": speed.step}),
            "clips a second, training": _rate(
                "training_clips_per_second", config.loop.batch / speed.step if speed.step else 0.0
            ),
            "clips a second, test": _rate("test_clips_per_second", rate),
        }
        if runs.dataset:
            line[PAPER] = _paper(runs, table, row)
        lines.append(line)
    first = runs.config(rows[0])
    note = f"Steps of {first.loop.batch} clips, on cached features, on {runs.ready(first).device}, and the clips of a test half."
    side = runs.cache.recipes.frames.size
    counted = (
        "MACs are of one clip, of a model that is shown all its frames of the mean length; those with the backbone count ResNet-18 "
        f"on every frame that is shown, on the cache's crops of {side} × {side}."
    )
    return Measured(lines=lines, notes=(note, counted), skipped=skipped)


def _frames(found: Description) -> Cell:
    """Return how many frames a clip shows the model: what MACs are of."""
    words = f"{found.frames:.4g}" + (", the mean" if found.frames_are else "")
    return Cell(words=words, values={"frames": found.frames, "frames_are": found.frames_are})


def _with_backbone(found: Description) -> Cell:
    if (whole := found.whole) is None:
        return Cell()
    return Cell(
        words=f"{whole.macs / 1e9:.3f} G", values={"macs_with_backbone": whole.macs, "picture_side": found.side}
    )


def _rate(name: str, value: float) -> Cell:
    return Cell(words=f"{value:,.0f}", values={name: value})


def _paper(runs: Runs, table: Table, row: Row) -> Cell:
    found = paper_line(runs.dataset, table, row)
    if found is None or found.parameters is None:
        return Cell()
    words = f"{found.parameters:.2f} M" + (f", {found.macs:.2f} G MACs" if found.macs is not None else "")
    return Cell(
        words=f"{words} ({found.source})", values={"paper_parameters": found.parameters, "paper_macs": found.macs}
    )
