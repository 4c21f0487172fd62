"""What an extraction would take: how long, how many bytes on the disk, how much memory; from a trial of the first clips.

Time is the frames of all clips that are not there yet over the frames a second of the trial. Bytes follow from the shapes of the rows, and
those of crops from the crops of the trial. Memory is that of this process, and for each decoder its own and the frames of a clip in hand.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...cache import Failure, Recipes, open_cache
from ...cache.schema import Counts
from ...cache.stores.manifest import Manifest
from ...cache.stores.snapshot import is_hdf5
from ...cache.watch import Watch
from ...cache.writing.restart import has_clips
from ...cache.writing.writer import COMMIT_BYTES
from ...errors import counted
from ...inputs.input import FoundInputs, Input
from ..config import ExtractConfig
from ..flow.selection import NUM_ROWS
from ..threads import default_workers
from .lengths import LOOKED_AT, known_lengths
from .output import expect_room, told_bytes
from .preparation import PreparedExtraction, prepare_extraction
from .trial import SECONDS, Trial, try_clips

MOST_TRIED = 512  # inputs that a trial may take
SURE = 0.8  # of what is estimated from some inputs: an extraction that might fit is started
TEXT_BYTES = 64  # of a cell of text, about


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What an extraction would take."""

    inputs: int  # to be extracted
    there: int  # that are not: in the cache already, or on record as failed
    device: str
    frames: float  # of a clip, on average
    rate: float  # frames a second; 0 where none of the tried clips could be read
    num_bytes: int  # on the disk
    memory: int
    installed: int | None = None  # bytes of memory of this machine, where the system tells
    free: int | None = None  # bytes of the disk of --out
    adding: tuple[str, ...] = ()  # features that clips in the cache are given first, whose time is not in the estimate
    trial: Trial | None = None

    @property
    def seconds(self) -> float | None:
        """Return how long it would take; None where that is not known."""
        return self.inputs * self.frames / self.rate if self.rate else None

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Return the clips of the trial that could not be read."""
        return self.trial.failures if self.trial else ()

    def lines(self) -> list[str]:
        """Format it as text."""
        lines = []
        if self.there:
            lines.append(f"{counted(self.there, 'input', 'are')} in the cache already, or on record as failed")
        if self.adding:
            lines.append(f"{', '.join(self.adding)} would first be added to the clips in the cache, which takes longer")
        if not self.inputs:
            return [*lines, "nothing is left to extract"]
        if self.seconds is None:
            return [*lines, f"no estimate: none of the first {counted(len(self.failures), 'clip')} can be read"]
        where = "this processor" if self.device == "cpu" else self.device
        what = f"{self.inputs:,} clip{'s' * (self.inputs > 1)} x {self.frames:.0f} frames at {self.rate:.3g} frames/s"
        lines.append(f"{what}: about {told_seconds(self.seconds)} on {where}, {told_bytes(self.num_bytes)}")
        free = f"; {told_bytes(self.free)} are free on the disk" if self.free is not None else ""
        lines.append(f"about {told_bytes(self.memory)} of memory{free}")
        if self.installed is not None and self.memory > self.installed:
            lines.append(f"this machine has {told_bytes(self.installed)} of memory: fewer --workers need less")
        return lines


def plan_extraction(
    found: FoundInputs,
    out: Path | str | None = None,
    config: ExtractConfig | None = None,
    *,
    retry_failed: bool = False,
    seconds: float = SECONDS,
    watch: Watch | None = None,
) -> Estimate:
    """Refuse what `extract_videos` would refuse, then try the first clips for some seconds; nothing is written."""
    config, watch = config or ExtractConfig(), watch or Watch()
    out = None if out is None else Path(out)
    ready = prepare_extraction(found, out, config, watch)
    try:
        return _estimate(ready, out, retry_failed, seconds, watch)
    finally:
        for device_worker in ready.device_workers:
            device_worker.close()


def expect_least_room(out: Path, ready: PreparedExtraction, *, retry_failed: bool) -> None:
    """Refuse an extraction for which the disk is too small for certain: by the frames that files say they have, without crops."""
    if ready.config.face == "all" or ready.config.modality == "flow":
        return  # not every frame has a row
    inputs = not_there(ready.inputs, out, retry_failed=retry_failed)
    lengths = known_lengths(inputs)
    if not lengths:
        return
    is_exact = len(lengths) == len(inputs)
    counts = Counts(clips=len(inputs), frames=sum(lengths) * len(inputs) // len(lengths))
    needed = _room_of(_bytes_of(ready, counts, out), out)
    expect_room(out, needed if is_exact else round(SURE * needed), at_least=True)


def not_there(inputs: Sequence[Input], out: Path | None, *, retry_failed: bool) -> list[Input]:
    """Return the inputs that a cache has neither as clips, of unchanged files, nor as failures that are not to be tried again."""
    if out is None or not has_clips(out):
        return list(inputs)
    cache = open_cache(out)
    rows = zip(cache.ids, cache.clips.columns["source_bytes"], cache.clips.columns["source_mtime_ns"], strict=True)
    known = {clip: (int(size), int(time)) for clip, size, time in rows}
    if not retry_failed:
        known |= {one.id: (one.source.num_bytes, one.source.mtime_ns) for one in cache.failures if one.id not in known}
    return [source for source in inputs if not _is_there(source, known)]


def told_seconds(seconds: float) -> str:
    """Write a time as people say it: 40 seconds, 25 minutes, 69 hours, 12 days."""
    for size, unit, most in ((1, "second", 90), (60, "minute", 90), (3600, "hour", 96)):
        if seconds / size < most:
            return counted(max(1, round(seconds / size)), unit)
    return counted(round(seconds / 86400), "day")


def _estimate(
    ready: PreparedExtraction,
    out: Path | None,
    retry_failed: bool,
    seconds: float,
    watch: Watch,
) -> Estimate:
    config = ready.config
    inputs = not_there(ready.inputs, out, retry_failed=retry_failed)
    inputs = [source for source in inputs if not ready.modality.problem(source)]
    workers = config.workers or default_workers(ready.devices)
    estimate = Estimate(
        inputs=len(inputs),
        there=len(ready.inputs) - len(inputs),
        device=",".join(map(str, ready.devices)),
        frames=0.0,
        rate=0.0,
        num_bytes=0,
        memory=0,
        installed=_installed_memory(),
        free=None if out is None else shutil.disk_usage(out.parent).free,
        adding=_adding(ready.recipes, out),
    )
    if not inputs:
        return estimate
    watch.say(f"trying the first clips for about {seconds:g} s")
    specs = _manifest(ready).schema.features
    trial = try_clips(inputs[:MOST_TRIED], specs, ready.device_workers, config, workers, seconds=seconds)
    if not trial.frames:
        return replace(estimate, trial=trial)
    of_rows = trial.rows / trial.frames  # several faces, or none that is kept
    frames = float(NUM_ROWS) if config.modality == "flow" else _mean_length(inputs, trial)
    total = round(len(inputs) * frames * of_rows)
    counts = Counts(clips=len(inputs), frames=total, crop_bytes=round(total * trial.crop_bytes / max(trial.rows, 1)))
    needed = _bytes_of(ready, counts, out)
    if out is not None:
        expect_room(out, _room_of(needed, out))
    memory = trial.own_bytes + workers * trial.worker_bytes + min(COMMIT_BYTES, needed)
    return replace(estimate, frames=frames, rate=trial.rate, num_bytes=needed, memory=memory, trial=trial)


def _installed_memory() -> int | None:
    """Return the bytes of memory of this machine; None where the system does not tell."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _mean_length(inputs: Sequence[Input], trial: Trial) -> float:
    """Return the mean number of frames of a clip: of those that tell it without being opened, else of those that were tried."""
    known = known_lengths(inputs)
    if 2 * len(known) < min(LOOKED_AT, len(inputs)):  # most files do not tell
        known = list(trial.declared)
    return float(np.mean(known or [trial.frames / trial.clips]))


def _bytes_of(ready: PreparedExtraction, counts: Counts, out: Path | None) -> int:
    """Return what new clips take in the cache: in whole chunks where these are files."""
    schema = _manifest(ready).schema
    sizes = [(counts.of(spec.axis), spec) for spec in schema.arrays().values()]
    if out is not None and is_hdf5(out):
        return sum(rows * (spec.row_bytes or TEXT_BYTES) for rows, spec in sizes)
    return sum(
        -(-rows // spec.chunk_rows) * spec.chunk_rows * spec.row_bytes if spec.row_bytes else rows * TEXT_BYTES
        for rows, spec in sizes
    )


def _room_of(num_bytes: int, out: Path) -> int:
    """Return what an extraction needs free: in HDF5 the staging and the file are both there at its end."""
    return 2 * num_bytes if is_hdf5(out) else num_bytes


def _manifest(ready: PreparedExtraction) -> Manifest:
    return Manifest(recipes=ready.recipes, crops=ready.config.crops, extra=ready.columns)


def _adding(recipes: Recipes, out: Path | None) -> tuple[str, ...]:
    """Name the features that a cache lacks."""
    there = open_cache(out).recipes.features if out is not None and has_clips(out) else recipes.features
    return tuple(name for name in recipes.features if name not in there)


def _is_there(source: Input, known: Mapping[str, tuple[int, int]]) -> bool:
    stored = known.get(source.id) or known.get(f"{source.id}#1")  # one of several faces
    if stored is None:
        return False
    try:
        described = source.describe()
    except OSError:
        return False
    return stored == (described.num_bytes, described.mtime_ns)
