"""A trial: the first clips decoded, searched and encoded for about two seconds by the same pipeline of an extraction; nothing is written.

Of each clip only the first frames are read. The first clip runs alone, so that what is slow but once (libraries that are loaded, kernels
that are chosen) is not counted; a clip that is started in time is finished.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...cache import Clip, Failure
from ...cache.interrupt import listening
from ...cache.schema import FeatureSpec
from ...cache.watch import Watch
from ...inputs.input import Input
from ..clip_pipeline import ClipPipeline
from ..config import FORWARD_BYTES, ExtractConfig
from ..workers.clip_worker import STOPPING
from ..workers.device_worker import DeviceWorker
from ..workers.messages import Failed, Finished
from ..workers.stages import InHand

SECONDS = 2.0
FRAMES = 32  # of each clip
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What was measured."""

    clips: int
    frames: int  # that were decoded
    rows: int  # that came of them: several faces have a row each
    crop_bytes: int
    rate: float  # frames a second; 0 where no clip could be read
    declared: tuple[int, ...]  # frames of whole clips, by their files' own account, where these give one
    own_bytes: int  # most memory of this process
    worker_bytes: int  # most memory of a decoding process, with whole clips in hand
    failures: tuple[Failure, ...]


class TrialSink:
    """Counts clips, and forgets them."""

    def __init__(self, features: Mapping[str, FeatureSpec]) -> None:
        self.features = features
        self.clips = self.rows = self.crop_bytes = 0

    def __contains__(self, clip_id: str) -> bool:
        return False

    def add(self, clip: Clip, *, replacing: bool) -> None:
        """Count a clip."""
        self.clips += 1
        self.rows += len(clip.state)
        self.crop_bytes += sum(map(len, clip.crops or ()))

    def remove(self, clip_ids: Sequence[str]) -> None:
        """There is nothing to remove."""

    def fail(self, failure: Failure) -> None:
        """The pipeline keeps failures itself."""

    def forget(self, clip_id: str) -> None:
        """There is no failure on record."""

    def commit_if_due(self) -> None:
        """There is nothing to write."""


class TrialPipeline(ClipPipeline):
    """Takes inputs until the time is over."""

    def __init__(self, inputs: Sequence[Input], sink: TrialSink, *others: Any, seconds: float) -> None:
        super().__init__(inputs, sink, *others)
        self._seconds = seconds
        self._warm = self._end = 0.0  # moments: the first clip's end, the last one's
        self._written_clips = 0
        self.decoded = self.after_first = 0  # frames
        self.most_held = 0  # bytes of frames that a whole clip has in hand beyond those of the trial
        self.declared: list[int] = []

    @property
    def rate(self) -> float:
        """Return the frames a second, those of the first clip only where there is no other."""
        frames, since = (
            (self.after_first, self._warm) if self.after_first else (self.decoded, self._stages.begun or self._end)
        )
        return frames / max(self._end - since, 1e-6)

    def _allowed(self) -> int:
        if self._oldest == 0:
            return min(1, len(self._inputs))
        self._warm = self._warm or time.monotonic()
        if time.monotonic() - self._warm >= self._seconds:
            self._inputs = self._inputs[: max(self._next, 1)]
        return super()._allowed()

    def _write_one(self, source: Input, ended: InHand | Failed) -> None:
        if isinstance(ended, InHand) and isinstance(ended.finished, Finished):
            found = ended.finished
            self.decoded += found.decoded
            self.after_first += found.decoded if self._written_clips else 0
            if found.info.declared:
                self.declared.append(found.info.declared)
            frame = 3 * found.info.size[0] * found.info.size[1]
            held = min(FORWARD_BYTES, found.info.declared * frame) - min(FORWARD_BYTES, found.decoded * frame)
            self.most_held = max(self.most_held, held)
        self._written_clips += 1
        self._end = time.monotonic()
        super()._write_one(source, ended)


def try_clips(
    inputs: Sequence[Input],
    features: Mapping[str, FeatureSpec],
    device_workers: list[DeviceWorker],
    config: ExtractConfig,
    workers: int,
    *,
    seconds: float = SECONDS,
) -> Trial:
    """Extract the beginnings of the first inputs for some seconds; Ctrl-C raises KeyboardInterrupt."""
    config = replace(config, trial_frames=FRAMES)
    sink = TrialSink(features)
    with listening(STOPPING) as stop:
        pipeline = TrialPipeline(inputs, sink, device_workers, config, workers, stop, seconds=seconds)
        pipeline.run(Watch())
        rate = pipeline.rate
        if stop.wanted:
            raise KeyboardInterrupt
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return Trial(
        clips=sink.clips,
        frames=pipeline.decoded,
        rows=sink.rows,
        crop_bytes=sink.crop_bytes,
        rate=rate,
        declared=tuple(pipeline.declared),
        own_bytes=own * RSS_UNIT,
        worker_bytes=children * RSS_UNIT + pipeline.most_held,
        failures=tuple(pipeline.failures),
    )
