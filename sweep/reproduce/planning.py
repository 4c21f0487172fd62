"""What tables need before anything is trained: which rows can be made, what must be trained, and about how long that takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import EstError, UsageError
from ...train.config.config import TrainConfig
from .cost import describe
from .estimate import measure_speed, rough
from .recipe import PRESET
from .runs import Runs, told
from .table import Row, Table

WORTH_SAYING = 60.0  # seconds from which on a shorter way is said
STEPS = (
    "epochs",
    "batch",
    "accumulate",
    "precision",
    "stack",
    "graph",
)  # settings of the loop that decide how long a training takes


@dataclass(frozen=True, kw_only=True)
class Work:
    """A run that rows share."""

    name: str
    row: Row  # the first of them
    rows: tuple[str, ...]  # of which tables and which labels
    config: TrainConfig
    parts: int
    done: int
    seconds: float | None = None  # of what is left; None: not measured
    busy: bool = False  # whether the machine did other work while it was measured

    @property
    def left(self) -> int:
        """Count the trainings that are not scored yet."""
        return max(self.parts - self.done, 0)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON data."""
        found = {"run": self.name, "rows": list(self.rows), "trainings": self.parts, "done": self.done}
        return {**found, "seconds": None if self.seconds is None else round(self.seconds, 1)}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """All runs of some tables, and what cannot be made."""

    works: tuple[Work, ...]
    rows: Mapping[str, tuple[Row, ...]]  # table → rows that can be made
    skipped: Mapping[str, Mapping[str, str]]  # table → label → why not
    refused: Mapping[str, str] = field(default_factory=dict)  # table → why it cannot be made at all

    @property
    def left(self) -> int:
        """Count the trainings that are not scored yet."""
        return sum(work.left for work in self.works)

    @property
    def seconds(self) -> float | None:
        """Return how long they take; None where that was not measured."""
        known = [work.seconds for work in self.works if work.seconds is not None]
        return sum(known) if known else None


def schedule(tables: Sequence[Table], runs: Runs, *, expect: Mapping[str, Any]) -> Schedule:
    """Return what is to be trained. A single table that cannot be made is refused; of several it is left out."""
    works: dict[str, Work] = {}
    made: dict[str, tuple[Row, ...]] = {}
    skipped: dict[str, dict[str, str]] = {}
    refused: dict[str, str] = {}
    for table in tables:
        try:
            rows = possible(table, runs, skipped.setdefault(table.name, {}))
            if table.measure in expect:
                expect[table.measure](runs, rows)
        except EstError as error:
            if len(tables) == 1:
                raise
            refused[table.name] = told(error)
            continue
        made[table.name] = rows
        for row in rows if table.trains else ():
            name, where = runs.recipe.name(row), f"{table.name}: {row.label}"
            if name in works:
                works[name] = replace(works[name], rows=(*works[name].rows, where))
                continue
            config = runs.config(row)
            parts, done = runs.num_parts(config), runs.num_done(row)
            works[name] = Work(name=name, row=row, rows=(where,), config=config, parts=parts, done=done)
    return Schedule(works=tuple(works.values()), rows=made, skipped=skipped, refused=refused)


def possible(table: Table, runs: Runs, skipped: dict[str, str]) -> tuple[Row, ...]:
    """Return the rows that can be made; note why others cannot. Without the baseline, or with no other row, there is no table."""
    for row in table.rows:
        if why := runs.why_not(row, trains=table.trains):
            skipped[row.label] = why
    rows = tuple(row for row in table.rows if row.label not in skipped)
    expect_baseline(table, rows, skipped)
    return rows


def expect_baseline(table: Table, rows: Sequence[Row], skipped: Mapping[str, str]) -> None:
    """Refuse a table without the row that others are compared with, or without any."""
    if table.baseline in skipped:
        raise UsageError(f"{table.name} cannot be made, its row {table.baseline} cannot: {skipped[table.baseline]}")
    if table.rows and not rows:
        raise UsageError(f"{table.name} cannot be made: {next(iter(skipped.values()))}")


def estimated(plan: Schedule, tables: Sequence[Table], runs: Runs) -> Schedule:
    """Return a schedule whose runs say how long what is left of them takes; runs of one size are measured once.

    The cache is loaded for each, and what refuses a row only then, such as pictures that are missing, leaves the row out.
    """
    known: dict[tuple[Any, ...], Any] = {}
    works, why = [], {}
    for work in plan.works:
        if not work.left:
            works.append(replace(work, seconds=0.0))
            continue
        try:
            ready = runs.ready(work.config)
        except EstError as error:
            why[work.name] = told(error)
            continue
        size = describe(ready, work.config)
        key = (
            work.config.model.name,
            size.parameters,
            size.macs,
            str(work.config.model.shown),
            *(getattr(work.config.loop, name) for name in STEPS),
        )
        if key not in known:
            known[key] = measure_speed(ready, work.config)
        speed = known[key]
        works.append(replace(work, seconds=speed.seconds(work.config, work.left), busy=speed.busy))
    return without(replace(plan, works=tuple(works)), why, tables, runs)


def without(plan: Schedule, why: Mapping[str, str], tables: Sequence[Table], runs: Runs) -> Schedule:
    """Leave out the rows whose runs cannot be made."""
    rows, skipped, refused = (
        dict(plan.rows),
        {name: dict(one) for name, one in plan.skipped.items()},
        dict(plan.refused),
    )
    for table in tables if why else ():
        for row in rows.get(table.name, ()) if table.trains else ():
            if (name := runs.recipe.name(row)) in why:
                skipped[table.name][row.label] = why[name]
        rows[table.name] = tuple(row for row in rows.get(table.name, ()) if row.label not in skipped[table.name])
        try:
            expect_baseline(table, rows[table.name], skipped[table.name])
        except UsageError as error:
            if len(tables) == 1:
                raise
            refused[table.name] = error.message
            del rows[table.name]
    return replace(plan, rows=rows, skipped=skipped, refused=refused)


def announcement(plan: Schedule, runs: Runs, *, several: bool) -> list[str]:
    """Return what will be trained, and about how long that takes."""
    if not plan.works:
        return ["this needs no training"]
    total = sum(work.parts for work in plan.works)
    folds, seeds = len(runs.plan.folds), len(plan.works[0].config.seeds)
    each = f"{folds} fold{'s' * (folds > 1)} × {seeds} seed{'s' * (seeds > 1)}"
    number = f"{len(plan.works)} run{'s' * (len(plan.works) > 1)} of {each}: {total} trainings"
    if not plan.left:
        return [f"{number}, all of them done"]
    if plan.left < total:
        number += f", {total - plan.left} of them done"
    if plan.seconds is None:
        return [number]
    lines = [f"{number}, about {rough(plan.seconds)} on this machine"]
    if any(work.busy for work in plan.works):
        lines.append(
            "the machine does other work while this is measured: without it trainings are shorter, with more of it longer"
        )
    shared = sum(len(work.rows) - 1 for work in plan.works)
    if shared and several:
        lines.append(f"{shared} rows share a run with another one")
    if plan.seconds > WORTH_SAYING and runs.recipe.preset != PRESET:
        lines.append(shorter(plan, runs))
    return lines


def shorter(plan: Schedule, runs: Runs) -> str:
    """Return how long the preset small would take, and what else is quicker."""
    said = "--epochs, fewer --seeds and --stack on are shorter"
    try:
        small = replace(runs.recipe, preset=PRESET, file=None)
        works = [replace(work, config=small.config(work.row.settings), done=0) for work in plan.works]
        found = estimated(replace(plan, works=tuple(works)), (), runs)
    except EstError:
        return said
    return f"--preset {PRESET}: about {rough(found.seconds or 0.0)}; {said}, too"


def schedule_lines(plan: Schedule) -> list[str]:
    """Return a line for each run, and for each row that is left out."""
    lines = []
    for work in plan.works:
        state = (
            "done" if not work.left else f"{work.done} of {work.parts} done" if work.done else f"{work.parts} trainings"
        )
        time = f", about {rough(work.seconds)}" if work.left and work.seconds is not None else ""
        lines.append(f"  {work.name}: {state}{time} ({'; '.join(work.rows)})")
    lines += [
        f"  {table}: left out: {label}: {why}" for table, rows in plan.skipped.items() for label, why in rows.items()
    ]
    return [*lines, *(f"  {table}: cannot be made: {why}" for table, why in plan.refused.items())]
