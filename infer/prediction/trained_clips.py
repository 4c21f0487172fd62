"""How long the clips are that a run was trained on: what prediction takes for the length of a window."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...cache import open_cache
from ...cache.remote.address import url_of
from ...errors import EstError
from ...train.runs.run import Run
from .frame_times import UNKNOWN_RATE

UNKNOWN_SPAN = 3.0  # seconds, of runs that do not know their clips


@dataclass(frozen=True, eq=False)
class TrainedClips:
    """Lengths of clips."""

    seconds: np.ndarray
    note: str = ""  # what was assumed


def trained_clips(run: Run) -> TrainedClips:
    """Return the lengths of a run's clips: by each clip's own rate where the run's cache is there, else by one rate for all."""
    frames = {name: count for name, (_, count) in run.clips().items() if count > 0}
    if not frames:
        return TrainedClips(
            np.array([UNKNOWN_SPAN]),
            f"{run.path} has no record of the lengths of its clips: {UNKNOWN_SPAN:g} s are assumed (--window SECONDS sets the window)",
        )
    rates = _cached_rates(run, frames)
    known = run.facts.get("frame_rate")
    rate = known or UNKNOWN_RATE
    seconds = np.array([count / (rates.get(name) or rate) for name, count in frames.items()])
    without = sum(not rates.get(name) for name in frames)
    if not without:
        return TrainedClips(seconds)
    return TrainedClips(
        seconds,
        f"{without} of {len(frames)} clips of the training have no frame rate in the run's cache, or it is not there: "
        f"{rate:g} frames a second, {'the median of the training' if known else 'a guess'}, are assumed for their lengths",
    )


def _cached_rates(run: Run, frames: dict[str, int]) -> dict[str, float]:
    """Return the rate of each clip that the run's cache still has as it was; nothing where the cache is gone."""
    place = run.facts["cache"]["path"]
    if not url_of(place) and not Path(place).exists():
        return {}
    try:
        cache = open_cache(place)
    except EstError:  # damaged, something else by now, or a store that does not answer
        return {}
    clips = zip(cache.ids, np.asarray(cache.clips.count).tolist(), np.asarray(cache.clips.fps).tolist(), strict=True)
    return {name: fps for name, count, fps in clips if frames.get(name) == count and fps > 0}
