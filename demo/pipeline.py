"""The complete pipeline on rendered faces: render, extract, train, score, for each set. The one module of the demo that knows the stages.

Everything is done again at each call, so that the times it reports are those of the work.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EstError
from .demoset import DYNAMICS, POSED, DemoSet
from .report import DemoReport, SetReport

if TYPE_CHECKING:
    from ..extract.report import Report
    from ..train.config.config import TrainConfig
    from ..train.loop.watch import TrainingWatch

VIDEOS, CACHE, RUN = "videos", "cache.zarr", "run"
# The folds of a set as one stack, each core with a part of them: as many CPU seconds as one after another, and no core waits for another
# within a step. Only the order of sums differs; benchmarks/demo.py trains one fold after another.
TOGETHER = {"loop.stack": "on"}


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """What may be changed about a demo."""

    sets: tuple[DemoSet, ...] = (POSED, DYNAMICS)
    size: int = 224  # of crops; at 112 the shipped weights read two faces of three
    device: str = "auto"
    workers: int | None = None


def run_demo(
    out: Path,
    config: DemoConfig | None = None,
    *,
    watch: TrainingWatch | None = None,
) -> DemoReport:
    """Render each set into a folder of `out`, extract it, train EST on it and score it on people it has never seen."""
    from ..train.config.configfile import resolve

    config = config or DemoConfig()
    trainings = [
        resolve("fast", None, (), {"device": config.device, **TOGETHER, **one.settings}) for one in config.sets
    ]
    return DemoReport(
        folder=out,
        sets=tuple(
            _run_set(out / one.name, one, training, config, watch)
            for one, training in zip(config.sets, trainings, strict=True)
        ),
    )


def _run_set(
    folder: Path, of: DemoSet, training: TrainConfig, config: DemoConfig, watch: TrainingWatch | None
) -> SetReport:
    """Run the complete pipeline on one set."""
    from ..train import fit
    from .renderset import render_set

    for name in (CACHE, RUN):
        _remove(folder / name)
    clock = _Clock()
    clips = render_set(of.spec, folder / VIDEOS, overwrite=True, workers=config.workers, watch=watch)
    clock.lap("render")
    report = extract_set(folder, config, watch=watch)
    clock.lap("extract")
    results = fit(folder / CACHE, folder / RUN, training, watch=watch)
    clock.lap("train and score")
    return SetReport(
        of=of,
        videos=len(clips),
        frames=report.frames,
        subjects=len({clip.subject for clip in clips}),
        seconds=clock.laps,
        cpu_seconds=clock.cpu_laps,
        results=results,
        example=folder / VIDEOS / clips[-1].path,
    )


def extract_set(folder: Path, config: DemoConfig, *, watch: TrainingWatch | None = None) -> Report:
    """Extract a folder's rendered videos with the shipped weights; they all show a face, so a failure is an error."""
    from ..extract.config import ExtractConfig
    from ..extract.extraction import extract_videos
    from ..inputs.input import find_inputs
    from .renderset import MANIFEST

    found = find_inputs([folder / VIDEOS / MANIFEST])
    extraction = ExtractConfig(weights="synface", size=config.size, device=config.device, workers=config.workers)
    report = extract_videos(found, folder / CACHE, extraction, watch=watch)
    if report.interrupted:
        raise KeyboardInterrupt
    if report.failures:
        failed = ", ".join(f"{failure.id}: {failure.error}" for failure in report.failures[:3])
        raise EstError(f"{len(report.failures)} rendered videos could not be extracted: {failed}.")
    return report


class _Clock:
    """Time and CPU seconds of stages, those of worker processes that have ended with them."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.cpu_laps: dict[str, float] = {}
        self._last, self._last_cpu = time.monotonic(), _cpu()

    def lap(self, name: str) -> None:
        now, cpu = time.monotonic(), _cpu()
        self.laps[name], self.cpu_laps[name] = now - self._last, cpu - self._last_cpu
        self._last, self._last_cpu = now, cpu


def _cpu() -> float:
    return sum(os.times()[:4])


def _remove(path: Path) -> None:
    """Remove what an earlier demo left."""
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        os.unlink(path)
