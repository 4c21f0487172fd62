"""A sweep under way: its cache is loaded and its studies are open; what it announces, searches, finds and writes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ...cache.interrupt import Stop, listening
from ...encoders.precision import Precision
from ...errors import EstError, counted, some
from ...train.config.config import TrainConfig
from ...train.config.configfile import to_toml
from ...train.models.registry import config_class
from ...train.runs.files import write, write_json
from ..found.page import page_html, page_markdown
from ..found.record import StudyRecord, Sweep
from ..found.table import trials_csv
from ..space.corners import corners
from ..space.space import Space
from .ground import Ground
from .keeping import bytes_needed, expect_room
from .retraining import BEST, whole_half
from .searching import Search
from .settings import SweepConfig
from .storage import LOCK, KernelLock
from .study import Study
from .watching import SweepWatch
from .workers import Workers

CSV, JSON, PAGE, HTML = "trials.csv", "sweep.json", "sweep.md", "sweep.html"
SECONDS_BETWEEN_WRITES = 5.0


@dataclass(kw_only=True, eq=False)
class Begun:
    """A sweep whose cache is loaded and whose studies are open."""

    ground: Ground
    out: Path
    space: Space
    config: SweepConfig
    studies: list[Study]
    device: torch.device
    precision: Precision
    storage: str
    recovered: int = 0
    notes: tuple[str, ...] = ()
    ended: bool = False  # by time, before every study had its trials

    def __post_init__(self) -> None:
        self._written = -math.inf
        self.lock = KernelLock(self.out / LOCK)

    def announce(self, watch: SweepWatch, where: str) -> None:
        """Report what will be searched before time is spent on it."""
        ground, config = self.ground, self.config
        clips = [len(ground.outer(fold).train) for fold in ground.folds]
        inner = f"{ground.inner} inner folds" if ground.inner > 1 else "one inner validation part"
        folds = counted(len(ground.folds), "outer fold")
        each = f", {counted(config.trials, 'trial')} in each" if config.trials else ""
        watch.say(f"sweep: {folds}, each with a study of its own{each}")
        if config.minutes:
            watch.say(f"no trial begins after {config.minutes:g} min in all; those under way are finished")
        many = f"{min(clips)} to {max(clips)}" if min(clips) < max(clips) else str(clips[0])
        watch.say(f"each study reads {many} clips of a training half, in {inner}; no test half is read")
        watch.say(where)
        watch.say(ground.ready.data.clips.residency)
        for note in ground.ready.plan.notes:
            watch.warn(note)
        for note in self.notes:
            watch.say(note)
        for line in self.space_lines():
            watch.say(f"  {line}")
        needed = room_for(ground, self.space, config)
        expect_room(self.out, needed)
        if needed:
            watch.say(f"checkpoints of the best {config.keep} of each study are kept: {needed / 1e6:.0f} MB at most")
        if self.recovered:
            watch.say(f"{self.recovered} trials were interrupted, and are repeated")

    def space_lines(self) -> list[str]:
        """Return the space in words."""
        lines = [f"{setting.name}: {setting}" for setting in self.space.settings]
        return lines + [f"{name}: fixed at {value}" for name, value in self.space.fixed.items()]

    def working(self, workers: int) -> Workers:
        """Return the other processes that search."""
        return Workers(self, workers - 1)

    def deadline(self) -> float:
        """Return when the last trial may begin, counted from now, by time.monotonic()."""
        return time.monotonic() + 60 * self.config.minutes if self.config.minutes else math.inf

    def searcher(self, stop: Stop, deadline: float) -> Search:
        """Return the search of this process."""
        return Search(
            ground=self.ground,
            studies=self.studies,
            space=self.space,
            config=self.config,
            out=self.out,
            device=self.device,
            precision=self.precision,
            stop=stop,
            lock=self.lock,
            deadline=deadline,
        )

    def search(self, watch: SweepWatch, crew: Workers) -> None:
        """Search in this process, and wait for the others."""
        deadline = self.deadline()

        def told() -> None:
            for line in crew.expect_alive():
                watch.warn(line)
            now = time.monotonic()
            if now - self._written >= SECONDS_BETWEEN_WRITES:
                found = self.found()
                with self.lock.held():
                    write(self.out / CSV, trials_csv(found))
                watch.trials(found)
                self._written = time.monotonic()

        with listening(patient=False) as stop:
            search = self.searcher(stop, deadline)
            search.told = told
            search.run()
            self.ended = time.monotonic() >= deadline and any(study.left for study in self.studies)
            told()
            if stop.wanted:
                watch.say(f"stopped; the same command with --out {self.out} resumes")
                raise KeyboardInterrupt

    def found(self) -> Sweep:
        """Return what the studies hold now."""
        ground = self.ground
        studies = []
        for study in self.studies:
            parts = ground.parts(study.fold)
            studies.append(
                StudyRecord(
                    name=study.name,
                    fold=study.fold,
                    control=study.control,
                    learnt=round(sum(len(part.train) for part in parts) / len(parts)),
                    chosen_by=sum(len(part.val) for part in parts),
                    tested=len(ground.outer(study.fold).test),
                    records=study.records(),
                )
            )
        ended = sum(len(study.records) - study.running for study in studies)
        wanted = self.config.trials * len(studies)
        of = f" of {wanted}" if wanted else ""
        titles = [config_class(model).title for model in self.space.models]
        measure = {"uar": "unweighted", "war": "weighted"}[self.config.objective]
        return Sweep(
            heading=f"Sweep of {' and '.join(titles)} on {ground.cache.path.name}",
            cache=str(ground.cache.path),
            models=tuple(titles),
            objective=f"{measure} average recall of the inner validation clips after the last epoch",
            sampler=self.config.sampler,
            pruner=self.config.pruner,
            trials=self.config.trials,
            space=tuple(self.space_lines()),
            notes=ground.ready.plan.notes,
            studies=tuple(studies),
            ended=f"Time ended after {self.config.minutes:g} min: {ended}{of} trials; the same command resumes."
            if self.ended
            else "",
            seconds=round(covered(span for study in self.studies for span in study.spans()), 1),
        )

    def write(self, watch: SweepWatch) -> Sweep:
        """Write what was found, and each fold's choice."""
        found = self.found()
        watch.trials(found)
        self.write_pages(found)
        for study in found.studies_of(control=False):
            if study.best is None and self.ended:
                raise EstError(
                    f"Time ended after {self.config.minutes:g} minutes, and no trial of {study.name} is complete.",
                    remedy="the same command resumes; more --minutes",
                )
            if study.best is None:
                errors = list(dict.fromkeys(record.error for record in study.records if record.error))
                raise EstError(
                    f"No trial of {study.name} is complete; {study.failed} failed, {study.pruned} were pruned: {some(errors, 1)}",
                    remedy="more --trials, --pruner none, or another --space",
                )
            best = self.chosen(study)
            files = {f"{study.fold}.toml": whole_half(best, study.fold)}
            for place in range(self.ground.inner):
                files[f"{study.fold}-inner{place + 1}.toml"] = self.ground.inner_config(best, study.fold, place)
            with self.lock.held():
                for name, config in files.items():
                    write(self.out / BEST / name, to_toml(config))
        return found

    def chosen(self, study: StudyRecord) -> TrainConfig:
        """Return the configuration that a study chose."""
        assert study.best is not None
        base = self.ground.base
        config = self.space.configure(base, study.best.values)
        return replace(config, seeds=base.seeds, loop=replace(config.loop, stack="off"))

    def write_pages(self, found: Sweep) -> None:
        """Write tables and pages."""
        with self.lock.held():
            self._write_pages(found)

    def _write_pages(self, found: Sweep) -> None:
        write(self.out / CSV, trials_csv(found))
        write_json(self.out / JSON, found.to_json())
        write(self.out / PAGE, page_markdown(found))
        write(self.out / HTML, page_html(found))


def room_for(ground: Ground, space: Space, config: SweepConfig) -> int:
    """Return the bytes that checkpoints will take at most; refuse a space that reads what the cache has not."""
    return bytes_needed(
        [
            (found, ground.shape_of(found))
            for model in space.models
            for found in _corner_configs(space, ground.base, model)
        ],
        studies=len(ground.folds),
        inner=ground.inner,
        keep=config.keep,
        classes=len(ground.ready.data.labels),
    )


def _corner_configs(space: Space, base: TrainConfig, model: str) -> list[TrainConfig]:
    """Return configurations at the ends of the space."""
    return [space.configure(base, values) for values in corners(space, model)]


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the time in which something was under way: that of trials beside each other once, and no pause between calls."""
    total, end = 0.0, -math.inf
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total
