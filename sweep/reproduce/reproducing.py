"""`reproduce`: tables of the EST paper on a cache, from the first training to files.

    OUT/settings.json      the cache and the recipe; another table of the same settings may be made into the same folder
    OUT/runs/<name>/       a run for each configuration, shared by all rows that have it; est runs and est compare read them
    OUT/<table>.md .csv .tex .svg

The same call resumes: runs that are complete are read, one that was stopped resumes from its checkpoint.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from ...cache import Cache, open_cache
from ...errors import EstError, UsageError
from ...train.config.config import TrainConfig
from ...train.config.protocol import PROTOCOLS
from ...train.folds.annotations import Annotations
from ...train.folds.leaks import leaks_of
from ...train.folds.protocols import Plan
from ...train.folds.published import misfits, misfits_of_cache, of_another, published
from ...train.loop.watch import TrainingWatch
from ...train.models.registry import maps_read
from ...train.preparation import plan_of
from ...train.results.pages.summary import leak_lines
from ...train.runs.files import write_json
from ...train.runs.place import read_place
from ...train.runs.run import Run
from .captions import caption
from .measures import cross_database, zero_middle
from .planning import Schedule, announcement, estimated, schedule, schedule_lines
from .recipe import PRESET, PUBLISHED_PRESET, Recipe
from .runs import Runs, told
from .settings import expect_same, keep, settings_of
from .sheet import Sheet
from .table import Row, Table
from .tables.catalogue import CROSS, tables_named
from .watching import RowWatch

EXPECT = {"cross_database": cross_database.expect, "zero_middle": zero_middle.expect}  # what measures need besides rows
PAPER_DATASETS = ("dfew", "afew", "bu4dfe", "mmi")  # in the order in which help and docs name them
NOT_DIVIDED = Plan(folds=(), kind="holdout", independence="unknown", notes=())  # clips that nothing learns from
ONE_SEED = "One seed: the intervals do not include the variation between seeds; --seeds 1,2,3 does."


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What was made."""

    out: Path
    plan: Schedule
    sheets: tuple[Sheet, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)  # tables that could not be made, and why
    dry: bool = False  # nothing was trained

    @property
    def failed(self) -> bool:
        """Return whether a table was not made for another reason than that it needs a second cache."""
        return bool(self.refused.keys() - {CROSS})

    @property
    def lines(self) -> list[str]:
        """Return the lines of a terminal."""
        if self.dry:
            return schedule_lines(self.plan)
        shown = [
            line
            for sheet in self.sheets
            for line in (*sheet.text(), f"  written: {', '.join(sheet.files())} in {self.out}", "")
        ]
        return [*shown, *(f"{name} was not made: {why}" for name, why in self.refused.items())]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON data."""
        return {
            "out": str(self.out),
            "dry_run": self.dry,
            "runs": [work.to_json() for work in self.plan.works],
            "seconds": self.plan.seconds,
            "tables": [sheet.to_json() for sheet in self.sheets],
            "refused": dict(self.refused),
        }


def reproduce(
    what: str,
    cache: Cache | Path | str,
    out: Path | str | None = None,
    recipe: Recipe | None = None,
    *,
    dataset: str = "",
    test_cache: Cache | Path | str | None = None,
    dry_run: bool = False,
    watch: TrainingWatch | None = None,
) -> Reproduction:
    """Make a table of the paper on a cache, or `all` of them, into a folder; `dry_run` says what would be trained, and for how long.

    With a data set the protocol is the published one, and the paper's numbers are shown with these. Ctrl-C saves a checkpoint and raises
    KeyboardInterrupt; the same call resumes.

    >>> found = est.reproduce("ablation", "cache.zarr", "paper", dry_run=True)
    >>> [work.row.label for work in found.plan.works][:2]
    ['Transformer', 'with AA-SFE']
    """
    watch = watch or TrainingWatch()
    tables = tables_named(what)
    _expect_possible(dataset)
    if test_cache is not None and all(one.name != CROSS for one in tables):
        raise UsageError(
            f"{what} tests on no second cache: --test-cache has no effect.",
            remedy=f"leave --test-cache out, or est reproduce {CROSS}, which tests on it",
        )
    cache = cache if isinstance(cache, Cache) else open_cache(cache)
    other = test_cache if isinstance(test_cache, Cache) or test_cache is None else open_cache(test_cache)
    out = Path(out) if out is not None else default_folder(cache.path)
    table = Annotations.from_cache(cache)
    if dataset:
        _expect_dataset(dataset, table, cache)
    recipe = _with_defaults(recipe or Recipe(), dataset)
    recipe.expect_known()
    recipe.expect_effective(tables)
    config = recipe.config()
    trained = any(one.rows for one in tables)  # else only clips are looked at, with labels or without
    settings = settings_of(cache, table, recipe if trained else None, config)
    expect_same(out, settings, config.feature)
    plan = _divided(cache, table, config, dataset) if trained else NOT_DIVIDED
    runs = Runs(
        cache=cache,
        out=out,
        recipe=recipe,
        plan=plan,
        watch=RowWatch(watch, 0),
        dataset=dataset,
        test_cache=other,
        maps=maps_read(dict.fromkeys(row.model for table in tables for row in table.rows)),
    )
    wanted = schedule(tables, runs, expect=EXPECT)
    if wanted.left:
        wanted = estimated(wanted, tables, runs)
    for line in announcement(wanted, runs, several=len(tables) > 1):
        watch.say(line)
    if dry_run:
        return Reproduction(out=out, plan=wanted, dry=True, refused=wanted.refused)
    keep(out, settings)
    runs.watch = RowWatch(watch, sum(work.parts for work in wanted.works if work.left))
    refused = dict(wanted.refused)
    sheets = []
    try:
        for one in (table for table in tables if table.name in wanted.rows):
            try:
                sheets.append(_made(one, wanted, runs))
            except EstError as error:
                if len(tables) == 1:
                    raise
                refused[one.name] = told(error)
    except KeyboardInterrupt:
        watch.stopped(f"stopped; the same command with --out {out} resumes")
        raise
    found = Reproduction(out=out, plan=wanted, sheets=tuple(sheets), refused=refused)
    for sheet in sheets:
        write_json(out / f"{sheet.name}.json", sheet.to_json())
    return found


def default_folder(cache: Path) -> Path:
    """Return the folder of the tables of a cache."""
    return Path("reproduced") / cache.resolve().name.removesuffix(".zarr").removesuffix(".h5")


def command_of(table: Table, runs: Runs) -> str:
    """Write the command line that makes a table."""
    recipe = runs.recipe
    words = ["est", "reproduce", table.name, "--cache", str(runs.cache.path), "--out", str(runs.out)]
    words += ["--preset", recipe.preset] if recipe.preset else []
    words += ["--config", str(recipe.file)] if recipe.file else []
    words += ["--dataset", runs.dataset] if runs.dataset else []
    words += ["--test-cache", str(runs.test_cache.path)] if runs.test_cache is not None and table.name == CROSS else []
    options = {key: value for key, value in recipe.options.items() if value is not None}
    if runs.dataset:
        options.pop("protocol.kind", None)  # --dataset says it
    if seeds := options.pop("seeds", ()):
        words += ["--seeds", ",".join(map(str, seeds))]
    given = [f"{key}={_written(value)}" for key, value in options.items()]  # above --set, as options are
    return shlex.join([*words, *(word for text in (*recipe.settings, *given) for word in ("--set", text))])


def _made(table: Table, plan: Schedule, runs: Runs) -> Sheet:
    """Train, measure and write a table."""
    rows = plan.rows[table.name]
    found = import_module(f".measures.{table.measure}", __package__).measure(table, rows, runs)
    leaks = leaks_in(table, rows, runs)
    one_seed = len(runs.recipe.config().seeds) == 1 and table.trains
    sheet = Sheet(
        name=table.name,
        title=f"{table.number}: {table.title}",
        caption=" ".join(
            [*leaks, caption(table, [row for row in rows if row.label not in found.skipped], runs, found)]
        ),
        lines=found.lines,
        found=found.found,
        notes=(
            *found.notes,
            *((ONE_SEED,) if one_seed else ()),
            *table.notes,
            *(table.paper_notes if runs.dataset else ()),
            *(runs.plan.notes if table.rows else ()),
        ),
        skipped={**plan.skipped.get(table.name, {}), **found.skipped},
        pictures=found.pictures,
    )
    sheet.save(runs.out, command_of(table, runs))
    return sheet


def leaks_in(table: Table, rows: Sequence[Row], runs: Runs) -> list[str]:
    """Return what was learnt from before it was tested on, where that was allowed."""
    trained = [Run.open(runs.path(row)) for row in rows] if table.trains else []
    return list(dict.fromkeys(line for run in trained for line in leak_lines(leaks_of(run.facts))))


def _with_defaults(recipe: Recipe, dataset: str) -> Recipe:
    """Set a default preset, and the protocol of a data set."""
    options = dict(recipe.options)
    if dataset:
        asked = recipe.asked("protocol.kind")
        if asked not in (None, "auto", dataset):
            raise UsageError(
                f"--dataset {dataset} sets the protocol, and --protocol {asked} is another one.",
                remedy="leave the protocol's options out; or --dataset: the same tables without the paper's column",
            )
        options["protocol.kind"] = dataset
    preset = recipe.preset
    if preset is None and recipe.file is None:
        preset = PUBLISHED_PRESET if dataset else PRESET
    return replace(recipe, preset=preset, options=options)


def _expect_possible(dataset: str) -> None:
    if read_place() is not None:
        raise UsageError(
            "Tables are made by one process, and torchrun has started several.", remedy="est reproduce without torchrun"
        )
    if dataset and dataset not in PAPER_DATASETS:
        others = f": --protocol {dataset} makes the tables without the paper's column" if dataset in PROTOCOLS else ""
        raise UsageError(
            f"--dataset is one of the paper's, {', '.join(PAPER_DATASETS)}, found {dataset!r}.",
            remedy=f"leave --dataset out{others}",
        )


def _expect_dataset(dataset: str, table: Annotations, cache: Cache) -> None:
    """Refuse a cache that cannot be the data set, by its classes, folds and clips, before a protocol is looked at."""
    other = of_another(dataset, cache.environment.get("dataset", {}).get("name", ""))
    wrong = [*([other] if other else []), *misfits_of_cache(dataset, table)]
    if wrong:
        raise _not_as_published(dataset, cache, wrong)


def _divided(cache: Cache, table: Annotations, config: TrainConfig, dataset: str) -> Plan:
    """Divide the clips; as a data set is published, where one is named."""
    if not dataset:
        return plan_of(cache, table, config)
    try:
        plan = plan_of(cache, table, config)
    except EstError as error:  # whose remedy is another protocol, which the data set does not have
        raise _not_as_published(dataset, cache, [error.message]) from error
    if wrong := misfits(dataset, table, (table.label >= 0).nonzero()[0], plan.folds):
        raise _not_as_published(dataset, cache, wrong)
    return plan


def _not_as_published(dataset: str, cache: Cache, wrong: Sequence[str]) -> UsageError:
    return UsageError(
        f"{cache.path} is not {published(dataset).title} as it is published, and the paper's numbers would be of other clips: "
        f"{' '.join(wrong)}",
        remedy="leave --dataset out: the same tables without the paper's column",
    )


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)
