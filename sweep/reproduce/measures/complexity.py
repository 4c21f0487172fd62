"""What models cost: parameters and MACs by arithmetic, and the time of a step and of a prediction by the clock."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from ....errors import EstError
from ....train.config.config import TrainConfig
from ....train.models.description import Description
from ..cells import millions, named
from ..cost import describe
from ..estimate import TOO_LONG, Speed, measure_speed
from ..runs import Runs, told
from ..sheet import Cell, Line
from ..table import Row, Table
from .measured import PAPER, Measured, paper_line

ROUNDS = 3


def measure(table: Table, rows: Sequence[Row], runs: Runs) -> Measured:
    """Count and time the rows, those of one configuration once; nothing is trained."""
    speeds, costs, why = measure_rows(rows, runs)
    lines: list[Line] = []
    for row in rows:
        name = runs.recipe.name(row)
        if name not in speeds:
            continue
        found, tested = costs[name]
        steps, scoring = ([getattr(one, what) for one in speeds[name]] for what in ("step", "scoring"))
        batch = runs.config(row).loop.batch
        line: dict[str, Cell] = {
            "row": named(row.label),
            "parameters": millions("parameters", found.parameters),
            "with backbone": millions("parameters_with_backbone", found.whole.parameters if found.whole else None),
            "frames": _frames(found),
            "MACs a clip": Cell(words=f"{found.macs / 1e6:.2f} M", values={"macs": found.macs}),
            "MACs with backbone": _with_backbone(found),
            "step, ms": _rounds("step_seconds", steps, 1000),
            "clips a second, training": _rounds("training_clips_per_second", [batch / one for one in steps if one]),
            "clips a second, test": _rounds("test_clips_per_second", [tested / one for one in scoring if one]),
        }
        if runs.dataset:
            line[PAPER] = _paper(runs, table, row)
        lines.append(line)
    first, side = runs.config(rows[0]), runs.cache.recipes.frames.size
    timed = (
        f"Steps of {first.loop.batch} clips, on what each row reads, on {runs.device_of(first)}, and clips of a test "
        f"half: the median of {ROUNDS} rounds in which rows that read the same alternate, in brackets the lowest and "
        f"the highest; of rows slower than {TOO_LONG:.0f} s a round, one round."
    )
    busy = "The machine did other work meanwhile: without it all rows are faster, by different factors."
    counted = (
        "MACs are of one clip, of a model that is shown all its frames of the mean length; those with the backbone count ResNet-18 "
        f"on every frame that is shown, on the cache's crops of {side} × {side}."
    )
    notes = [timed, *([busy] if any(one.busy for found in speeds.values() for one in found) else []), counted]
    skipped = {row.label: why[name] for row in rows if (name := runs.recipe.name(row)) in why}
    return Measured(lines=lines, notes=notes, skipped=skipped)


def measure_rows(
    rows: Sequence[Row], runs: Runs
) -> tuple[dict[str, list[Speed]], dict[str, tuple[Description, int]], dict[str, str]]:
    """Return by the name of a configuration its rounds, its cost with how many clips are tested, and of others why they cannot be made."""
    readings: dict[str, dict[str, TrainConfig]] = {}
    for row in rows:
        config = runs.config(row)
        readings.setdefault(runs.reading(config), {})[runs.recipe.name(row)] = config
    speeds: dict[str, list[Speed]] = {}
    costs: dict[str, tuple[Description, int]] = {}
    why: dict[str, str] = {}
    for configs in readings.values():
        try:
            ready = runs.ready(next(iter(configs.values())))
        except EstError as error:  # pictures that are missing, known only now
            why |= dict.fromkeys(configs, told(error))
            continue
        tested = len(max(ready.plan.folds, key=lambda one: len(one.train)).test)  # of the fold that is timed
        costs |= {name: (describe(ready, config), tested) for name, config in configs.items()}
        for turn in range(ROUNDS):
            for name, config in configs.items():
                known = speeds.setdefault(name, [])
                if turn == 0 or known[0].took < TOO_LONG:
                    known.append(measure_speed(ready, config, alone=True))
    return speeds, costs, why


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


def _rounds(name: str, values: Sequence[float], scale: float = 1) -> Cell:
    """Return the median of rounds, with the lowest and the highest."""
    if not values:
        return Cell()
    low, middle, high = min(values), median(values), max(values)
    digits = ".1f" if scale != 1 else ",.0f"
    words = f"{scale * middle:{digits}}"
    words += f" ({scale * low:{digits}} to {scale * high:{digits}})" if len(values) > 1 else ""
    return Cell(
        words=words, values={name: middle, f"{name}_low": low, f"{name}_high": high, f"{name}_rounds": len(values)}
    )


def _paper(runs: Runs, table: Table, row: Row) -> Cell:
    found = paper_line(runs.dataset, table, row)
    if found is None or found.parameters is None:
        return Cell()
    words = f"{found.parameters:.2f} M" + (f", {found.macs:.2f} G MACs" if found.macs is not None else "")
    return Cell(
        words=f"{words} ({found.source})", values={"paper_parameters": found.parameters, "paper_macs": found.macs}
    )
