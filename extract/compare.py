"""Comparing detectors on a few inputs before a long extraction: how many frames show a face, where, and how fast.

Each clip is decoded once, frame by frame, and every setting sees the frames that it would see in an extraction, and has its tracks made
as there. So the figures are of the boxes that a cache would hold, interpolated and smoothed. Nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..cache.watch import Progress, Watch
from ..encoders.device import parse_device
from ..encoders.engines.choice import choose_engine
from ..errors import EstError, UsageError
from ..inputs.input import FoundInputs, Input
from .config import ExtractConfig
from .faces.cuts import CutDetector
from .faces.detect import build_detector
from .faces.detect.base import Detections, Detector
from .faces.detect.pack import present_packs
from .faces.detection_frames import DetectionFrames
from .faces.face_linking import iou
from .faces.track import TrackConfig, choose, tracks_of
from .video.source import open_source
from .workers.device_worker import DETECT_BATCH

SIZES = (640, 480, 320, 240)
REFERENCE = 640  # pixels, every frame


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is compared: a detector, the longer side of the picture that it sees (0 full size), and every how many frames."""

    detector: str
    size: int
    every: int


@dataclass(kw_only=True)
class Row:
    """The result of a setting."""

    setting: Setting
    is_chosen: bool = False  # by the options of this command
    problem: str = ""  # why it could not run
    licence: str = ""
    frames: int = 0
    faces: int = 0  # frames with one
    shared: int = 0  # frames in which the reference has one too
    overlap: float = 0.0  # sum of the overlaps with it
    seconds: float = 0.0  # that detection took, reduction of the pictures included

    @property
    def coverage(self) -> float | None:
        """The share of frames with a face."""
        return self.faces / self.frames if self.frames else None

    @property
    def mean_iou(self) -> float | None:
        """The mean overlap with the reference, where both have a face."""
        return self.overlap / self.shared if self.shared else None

    @property
    def rate(self) -> float | None:
        """Frames of video a second, by detection alone."""
        return self.frames / self.seconds if self.seconds else None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All results; the first row is the reference."""

    rows: list[Row]
    inputs: list[str]  # ids
    available: int  # inputs of which these were taken
    device: str
    precision: str
    failures: list[tuple[str, str]] = field(default_factory=list)  # id, why it could not be read


def compare_detectors(
    found: FoundInputs,
    count: int,
    config: ExtractConfig | None = None,
    *,
    watch: Watch | None = None,
) -> Comparison:
    """Run the available settings on some of the inputs, evenly chosen."""
    config, watch = config or ExtractConfig(), watch or Watch()
    if count < 1:
        raise UsageError(f"--compare-detectors takes a number of inputs from 1, found {count}.")
    if config.frames_are_crops:
        raise UsageError(
            "With --detector none there is nothing to compare: the frames are face crops.",
            remedy="leave out --detector none",
        )
    if not found.inputs:
        why = "; ".join(f"{problem.path}: {problem.error}" for problem in found.problems[:3])
        raise UsageError(
            f"There are no inputs to compare detectors on{f': {why}' if why else ''}.",
            remedy="est extract INPUT... --dry-run shows what is found",
        )
    device = parse_device(config.device.split(",")[0])
    precision = choose_engine(config.engine, config.precision, device).searching
    rows = [Row(setting=setting, is_chosen=setting == chosen(config)) for setting in settings_for(config)]
    batch = DETECT_BATCH[device.type]
    detectors = _build(rows, config, str(device), precision, batch)
    clips = evenly(found.inputs, count)
    failures: list[tuple[str, str]] = []
    warm: set[Any] = set()
    for number, clip in enumerate(clips):
        watch.progress(Progress(what="Comparing", unit="videos", done=number, total=len(clips)))
        try:
            _watch_clip(clip, rows, detectors, config, batch, warm)
        except EstError as error:
            failures.append((clip.id, error.message))
    watch.progress(Progress(what="Comparing", unit="videos", done=len(clips), total=len(clips)))
    if len(failures) == len(clips):
        raise EstError(f"None of the {len(clips)} chosen inputs can be read; the first: {failures[0][1]}")
    return Comparison(
        rows=rows,
        inputs=[clip.id for clip in clips],
        available=len(found.inputs),
        device=str(device),
        precision=precision,
        failures=failures,
    )


def chosen(config: ExtractConfig) -> Setting:
    """Return the setting that an extraction with these options takes."""
    return Setting(detector=config.detector, size=config.detect_size, every=config.detect_every)


def settings_for(config: ExtractConfig) -> list[Setting]:
    """Return the reference, the chosen setting, smaller pictures, and the packs that lie on this machine."""
    own = chosen(config)
    smaller = [size for size in SIZES if size < (own.size or max(SIZES) + 1)]
    packs = [f"insightface:{name}" for name in present_packs(config.models_dir)]
    settings = [
        Setting(detector="retinaface", size=REFERENCE, every=1),
        own,
        replace(own, detector="retinaface"),
        *(replace(own, detector="retinaface", size=size) for size in smaller),
        *(replace(own, detector=pack) for pack in packs),
    ]
    return list(dict.fromkeys(settings))


def evenly(inputs: Sequence[Input], count: int) -> list[Input]:
    """Choose some inputs at equal distances; all where there are no more."""
    count = min(count, len(inputs))
    return [inputs[(2 * number + 1) * len(inputs) // (2 * count)] for number in range(count)]


def _build(rows: Sequence[Row], config: ExtractConfig, device: str, precision: str, batch: int) -> dict[str, Detector]:
    """Build each detector once; one that is not available is noted, unless it was asked for."""
    detectors: dict[str, Detector] = {}
    broken: dict[str, str] = {}
    for row in rows:
        name = row.setting.detector
        if name not in detectors and name not in broken:
            try:
                detectors[name] = build_detector(
                    name,
                    device=device,
                    precision=precision,
                    score_threshold=config.score_threshold,
                    models_dir=config.models_dir,
                    batch_size=batch,
                )
            except EstError as error:
                if row.is_chosen:
                    raise
                broken[name] = error.message
        row.problem = broken.get(name, "")
        row.licence = detectors[name].licence if name in detectors else ""
    return detectors


def _watch_clip(
    clip: Input,
    rows: Sequence[Row],
    detectors: Mapping[str, Detector],
    config: ExtractConfig,
    batch: int,
    warm: set[Any],
) -> None:
    """Decode a clip once for all settings; it counts if it was read to its end."""
    able = [row for row in rows if not row.problem]
    watchers = [Watcher(detectors[row.setting.detector], row.setting, batch, warm) for row in able]
    cutter = CutDetector()
    count = 0
    with open_source(clip.path, clip.kind, decoder=config.decoder, start=clip.start, end=clip.end) as video:
        for frame, _ in video.frames():
            is_cut = cutter.feed(frame)
            for watcher in watchers:
                watcher.see(count, frame, is_cut=is_cut)
            count += 1
    # One face a frame can be compared: where every face is to be a clip of its own, the main one.
    following = TrackConfig(face="main" if config.face == "all" else config.face, smooth=config.smooth)
    found = [watcher.boxes(count, cutter.cuts, following) for watcher in watchers]
    for row, watcher, boxes in zip(able, watchers, found, strict=True):
        seen = np.isfinite(boxes[:, 0])
        both = seen & np.isfinite(found[0][:, 0])
        row.frames += count
        row.faces += int(seen.sum())
        row.shared += int(both.sum())
        row.overlap += float(iou(boxes[both], found[0][both]).sum())
        row.seconds += watcher.seconds


class Watcher:
    """One setting at work on one clip."""

    def __init__(self, detector: Detector, setting: Setting, batch: int, warm: set[Any]) -> None:
        self.seconds = 0.0
        self._detector = detector
        self._warm = warm  # detectors and shapes of pictures that have been run: the first time is slower
        self._to_detect = DetectionFrames(self, longest=setting.size, every=setting.every, batch=batch)
        self._detections: dict[int, Detections] = {}

    def see(self, number: int, frame: np.ndarray, *, is_cut: bool) -> None:
        """Take the next frame."""
        with self._clock():
            self._to_detect.see(number, frame, is_cut=is_cut)

    def boxes(self, num_frames: int, cuts: Sequence[int], following: TrackConfig) -> np.ndarray:
        """Return the chosen face's box in each frame, NaN where there is none.  # (T, 4)"""
        with self._clock():
            self._to_detect.end()
        tracks = choose(tracks_of(self._detections, num_frames, cuts, following), following)
        return tracks[0].box if tracks else np.full((num_frames, 4), np.nan, np.float32)

    def detect(self, frames: list[int], pictures: list[np.ndarray], scale: tuple[float, float], *, last: bool) -> None:
        """Find the faces in some frames, shrunk."""
        stacked = np.stack(pictures)
        key = (self._detector.name, stacked.shape[1:])
        if key not in self._warm:
            start = time.perf_counter()
            self._detector.detect(stacked)
            self.seconds -= time.perf_counter() - start
            self._warm.add(key)
        for number, detections in zip(frames, self._detector.detect(stacked), strict=True):
            self._detections[number] = detections.scaled(1 / scale[0], 1 / scale[1])

    @contextmanager
    def _clock(self) -> Generator[None]:
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start
