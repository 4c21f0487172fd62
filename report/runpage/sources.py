"""The cache that a run was trained on, where it can still be read: states, times and crops of its clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ...cache import Cache, open_cache
from ...cache.reading.listing import Listing
from ...cache.trained import hex_digest
from ...errors import EstError, UsageError
from ...train.runs.run import Clips, Run

QUALITY = 80  # of crops, as JPEG


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipSource:
    """What the cache holds of the frames of a clip."""

    state: np.ndarray  # (F,) 0 no face, 1 detected, 2 interpolated
    time: np.ndarray  # (F,) seconds


@dataclass(frozen=True, kw_only=True, eq=False)
class Sources:
    """A run's cache, opened, or why it is not."""

    cache: Cache | None = None
    note: str = ""  # why something is missing
    known: Clips = field(default_factory=dict)  # what stood behind each id when the run began
    places: Mapping[str, int] = field(default_factory=dict)

    def clip(self, name: str) -> ClipSource | None:
        """Read what is known of a clip; nothing where its id now stands for another video."""
        if self.cache is None or not self.has(name):
            return None
        found = self.cache.clip(self.places[name], features=[])
        return ClipSource(state=np.asarray(found.state), time=np.asarray(found.time))

    def has(self, name: str) -> bool:
        """Return whether the cache has a clip that the run knows, as it was when the run began."""
        if self.cache is None or name not in self.places or name not in self.known:
            return False
        index = self.places[name]
        digest, frames = self.known[name]
        now = hex_digest(self.cache.clips.source_digest[index])
        return int(self.cache.clips.count[index]) == frames and not (digest and now and digest != now)

    def crops(self, name: str, frames: Sequence[int]) -> tuple[dict[int, bytes], str]:
        """Return crops of a clip as JPEG, stored ones or cut from its source once more; or why there are none."""
        # here, because both import OpenCV, and pages without faces need none
        from ...crops.jpeg import encode_crop
        from ..cachepage.clipview import Viewer

        assert self.cache is not None
        (row,) = Listing(self.cache).rows([self.places[name]])
        view = Viewer(self.cache).view(row, list(frames))
        return {frame: encode_crop(crop, QUALITY) for frame, crop in view.crops.items()}, view.trouble


def open_sources(run: Run, cache: Path | None) -> Sources:
    """Open the cache of a run, or say why that cannot be; one that is named must hold clips of the run."""
    path = run.facts["cache"]["path"] if cache is None else cache
    try:
        found = open_cache(path)
    except EstError as error:
        if cache is not None:
            raise
        return Sources(
            note=f"The run's cache cannot be read, so states of frames are not shown: {error.message} --cache names where it is."
        )
    places = {name: place for place, name in enumerate(found.ids)}
    opened = Sources(cache=found, known=run.clips(), places=places)
    there, all_of_them = sum(map(opened.has, opened.known)), len(opened.known)
    if there == 0 and cache is not None:
        raise UsageError(
            f"{cache} holds none of the {all_of_them} clips that {run.path} knows, as they were.",
            remedy=f"--cache names the run's cache, which was {run.facts['cache']['path']}",
        )
    if there == all_of_them:
        return opened
    note = f"The cache has {there} of the run's {all_of_them} clips as they were when the run began; nothing is shown of the others."
    return replace(opened, note=note)
