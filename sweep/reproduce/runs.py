"""The runs of rows: each configuration is trained once, into OUT/runs/<name>, and shared by all rows and tables that have it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...cache import Cache
from ...cache.arrayfile import UNREADABLE
from ...encoders.device import parse_device
from ...errors import EstError, UsageError, differing
from ...train.config.config import TrainConfig
from ...train.config.configfile import differences
from ...train.data.feature_arrays import arrays_of
from ...train.evaluated import Change
from ...train.evaluation import evaluate
from ...train.fitting import fit
from ...train.folds.protocols import Plan
from ...train.loop.world import ALONE
from ...train.models.contract import CROPS
from ...train.models.registry import describe_model
from ...train.preparation import Prepared, expect_trainable, prepare, reading_of
from ...train.results.details import Details, read_details
from ...train.results.predictions import Predictions
from ...train.runs.files import write_arrays
from ...train.runs.run import FACTS, RESULT, Run
from .recipe import Recipe
from .table import Row
from .watching import RowWatch, Silent

RUNS, EVALUATIONS = "runs", "evaluations"
LEARNING = 3  # what a step costs in predictions: forward, and twice that backward
CPU_RATE = 50e9  # MACs a second that are assumed of a CPU, before it is decided whether to measure


def told(error: EstError) -> str:
    """Write an error and its remedy in a line."""
    return error.message + (f" ({error.remedy})" if error.remedy else "")


@dataclass(kw_only=True, eq=False)
class Runs:
    """What rows are trained on, and where their runs lie."""

    cache: Cache
    out: Path
    recipe: Recipe
    plan: Plan
    watch: RowWatch
    dataset: str = ""  # beside whose published numbers these stand
    test_cache: Cache | None = None
    maps: tuple[str, ...] = ()  # that rows of the tables read: one command adds all of them that the cache lacks
    _ready: tuple[str, Prepared] | None = field(
        default=None, init=False
    )  # the last one: rows of one reading follow each other

    def config(self, row: Row) -> TrainConfig:
        """Return the configuration of a row."""
        return self.recipe.config(row.settings)

    def path(self, row: Row) -> Path:
        """Return where the run of a row lies."""
        return self.out / RUNS / self.recipe.name(row)

    def num_parts(self, config: TrainConfig) -> int:
        """Return how many trainings a run is."""
        return len(self.plan.folds) * len(config.seeds)

    def num_done(self, row: Row) -> int:
        """Return how many of them are scored."""
        return len(list(self.path(row).glob(f"parts/*/{RESULT}")))

    def why_not(self, row: Row, *, trains: bool = True) -> str:
        """Return why a row cannot be made on this cache, or not within a day where it is trained; empty where it can."""
        try:
            config = self.config(row)
            expect_trainable(config, ALONE)
            for fold in self.plan.folds if not config.looks_at_frames else ():
                arrays_of(self.cache, config, fold.name, beside=self.maps)
        except EstError as error:
            return told(error)
        if trains and config.model.reads == CROPS and parse_device(config.device).type == "cpu":
            return self._too_long(config)
        return ""

    def _too_long(self, config: TrainConfig) -> str:
        """Say so where learning from pictures would take a CPU more than a day, by what it multiplies; nothing is measured."""
        side = self.cache.recipes.frames.size
        classes = len({name for name in self.cache.clips.label_names if name is not None})
        macs = describe_model(config.model, 3, classes, (side, side)).macs
        shown = sum(len(fold.train) for fold in self.plan.folds) * len(config.seeds) * config.loop.epochs
        days = LEARNING * macs * shown / CPU_RATE / 86400
        if days < 1:
            return ""
        name = config.model.name
        return (
            f"it learns from pictures: {macs / 1e9:.1f} G MACs a clip, {LEARNING} times that in training, {shown:,} clips in all epochs: "
            f"{days:.3g} days, if a CPU does {CPU_RATE / 1e9:.0f} G MACs a second (--device cuda, fewer --epochs or a smaller model "
            f"by --set; est train --model {name} trains it anyway)"
        )

    def device_of(self, config: TrainConfig) -> str:
        """Name what a configuration computes on."""
        return str(parse_device(config.device))

    def reading(self, config: TrainConfig) -> str:
        """Return what tells apart how configurations read the cache."""
        return json.dumps(reading_of(config), default=str, sort_keys=True)

    def ready(self, config: TrainConfig) -> Prepared:
        """Return the cache, loaded as a configuration reads it."""
        key = self.reading(config)
        if self._ready is None or self._ready[0] != key:
            self._ready = None  # free its memory first
            self._ready = key, prepare(self.cache, config)
        return self._ready[1]

    def run(self, row: Row) -> Run:
        """Return the complete run of a row: the one that is there, resumed if it is not complete, or a new one."""
        path, config = self.path(row), self.config(row)
        if (path / FACTS).is_file():
            run = Run.open(path)
            if changed := differences(run.config, config):
                raise UsageError(differing(path, changed), remedy="--out another folder")
            if run.complete:
                return run
        self.watch.enter(path.name, self.num_parts(config))
        if (path / FACTS).is_file():
            return fit(self.ready(config), path, resume=True, watch=self.watch).run
        return fit(self.ready(config), path, config, watch=self.watch).run

    def predictions(self, row: Row, change: Change | None = None) -> Predictions:
        """Return what the run of a row predicts of the clips that it tests, shown as they are or changed."""
        run = self.run(row)
        plain = Predictions.of_run(run)
        if change is None:
            return plain
        kept = run.path / EVALUATIONS / f"{_name(change)}.npz"
        if not kept.is_file():
            found = evaluate(run, self.cache, change=change, **self._how(run)).predictions
            kept.parent.mkdir(exist_ok=True)
            write_arrays(kept, ids=found.ids, predicted=found.predicted)
        try:
            with open(kept, "rb") as file, np.load(file, allow_pickle=False) as held:
                place = {name: number for number, name in enumerate(held["ids"].tolist())}
                predicted = held["predicted"][:, [place[name] for name in plain.ids.tolist()]]
        except UNREADABLE as error:
            raise EstError(f"{kept} is damaged.", remedy=f"rm {kept}, then the same command again") from error
        return Predictions(
            labels=plain.labels,
            seeds=plain.seeds,
            ids=plain.ids,
            subjects=plain.subjects,
            folds=plain.folds,
            truth=plain.truth,
            predicted=predicted,
        )

    def details(self, row: Row) -> dict[str, Details]:
        """Return what the models of a row's run show of their decisions, by part; written into the run where it is not yet."""
        run = self.run(row)
        if any(read_details(run, part) is None for part in run.parts):
            evaluate(run, self.cache, **self._how(run)).save_details()
        found = {part: read_details(run, part) for part in run.parts}
        return {part: one for part, one in found.items() if one is not None}

    def elsewhere(self, row: Row) -> Any:
        """Score the run of a row on the other cache."""
        run = self.run(row)
        return evaluate(run, self.test_cache, **self._how(run))

    def _how(self, run: Run) -> dict[str, Any]:
        return {"device": run.config.device, "allow_leak": run.config.allow_leak, "watch": Silent(self.watch.watch)}


def _name(change: Change) -> str:
    words = ["shuffled"] if change.shuffle else []
    words += [f"black-{change.zero}"] if change.zero is not None else []
    words += [f"start-{change.start}"] if change.start is not None else []
    return "-".join(words)
