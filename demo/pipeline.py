"""The whole way on rendered faces: render, extract, train, score. The one module of the demo that knows the stages.

Everything is done anew at each call, so that the times it reports are those of the work.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EstError
from .spec import RenderSpec

if TYPE_CHECKING:
    from ..train.loop.watch import TrainingWatch
    from ..train.results.results import Results

# Small enough that two cores are through in five minutes, and every subject is tested by a model that has never seen them.
SPEC = RenderSpec(subjects=12, clips_per_subject=7)
PAIRS = RenderSpec(subjects=12, clips_per_subject=6, temporal_pairs=True)
SETTINGS = {"loop.epochs": 15, "loop.warmup": 2, "protocol.kind": "kfold", "protocol.folds": 4}
# Shuffled snippets that get the code of their new place hide from the model what tells such classes apart: docs/log.md.
SETTINGS_OF_PAIRS = {"model.position": "snippet", "loop.epochs": 30}
VIDEOS, CACHE, RUN = "videos", "cache.zarr", "run"
POINTS = 5.0  # by which EST should be above the control


@dataclass(frozen=True, kw_only=True, eq=False)
class DemoReport:
    """What a demo came to."""

    folder: Path
    videos: int
    frames: int
    subjects: int
    seconds: dict[str, float]  # of each stage
    results: Results

    @property
    def points(self) -> float:
        """Return by how many points of WAR EST is above the control."""
        control = self.results.control
        assert control is not None
        return 100 * (self.results.scores.war - control.war)

    def to_json(self) -> dict[str, Any]:
        """Return what machines read."""
        return {
            "folder": str(self.folder),
            "videos": self.videos,
            "frames": self.frames,
            "subjects": self.subjects,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "points_above_control": self.points,
            **self.results.to_json(),
        }

    def verdict(self) -> str:
        """Say whether time was worth modelling here."""
        if self.points >= POINTS:
            return f"EST is {self.points:.1f} points above the control: what it reads is in the course of the clips."
        return (
            f"EST is not {POINTS:g} points above the control ({self.points:+.1f}): on these clips, statistics over frames "
            "tell nearly as much as their course."
        )


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """What may be changed about a demo."""

    spec: RenderSpec = SPEC
    size: int = 224  # of crops; at 112 the shipped weights read two faces of three
    device: str = "auto"
    workers: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)  # of the training, above those of the demo


def run_demo(
    out: Path,
    config: DemoConfig | None = None,
    *,
    watch: TrainingWatch | None = None,
) -> DemoReport:
    """Render a set into `out`, extract it with the shipped weights, train EST on it and score it on people it has never seen."""
    from ..extract.config import ExtractConfig
    from ..extract.extraction import extract_videos
    from ..inputs.input import find_inputs
    from ..train import fit
    from ..train.config.configfile import resolve
    from .renderset import MANIFEST, render_set

    config = config or DemoConfig()
    settings = {**SETTINGS, **(SETTINGS_OF_PAIRS if config.spec.temporal_pairs else {}), **config.settings}
    training = resolve("fast", None, (), {"device": config.device, **settings})
    for name in (CACHE, RUN):
        _remove(out / name)
    clock = _Clock()
    clips = render_set(config.spec, out / VIDEOS, overwrite=True, workers=config.workers, watch=watch)
    clock.lap("render")
    found = find_inputs([out / VIDEOS / MANIFEST])
    extraction = ExtractConfig(weights="synface", size=config.size, device=config.device, workers=config.workers)
    report = extract_videos(found, out / CACHE, extraction, watch=watch)
    if report.interrupted:
        raise KeyboardInterrupt
    if report.failures:
        failed = ", ".join(f"{failure.id}: {failure.error}" for failure in report.failures[:3])
        raise EstError(f"{len(report.failures)} rendered videos could not be extracted: {failed}.")
    clock.lap("extract")
    results = fit(out / CACHE, out / RUN, training, watch=watch)
    clock.lap("train and score")
    return DemoReport(
        folder=out,
        videos=len(clips),
        frames=report.frames,
        subjects=len({clip.subject for clip in clips}),
        seconds=clock.laps,
        results=results,
    )


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = now - self._last
        self._last = now


def _remove(path: Path) -> None:
    """Remove what an earlier demo left."""
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        os.unlink(path)
