"""The cache that a run was trained on, where it can still be read: states, times and crops of its clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...cache import Cache, open_cache
from ...cache.trained import hex_digest
from ...errors import EstError
from ...train.results.run import Clips, Run


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipSource:
    """What the cache holds of the frames of a clip."""

    state: np.ndarray  # (F,) 0 no face, 1 detected, 2 interpolated
    time: np.ndarray  # (F,) seconds
    crops: tuple[bytes, ...] = ()  # JPEG by frame, empty where there is no face; only where they were asked for


@dataclass(frozen=True, kw_only=True, eq=False)
class Sources:
    """A run's cache, opened, or why it is not."""

    cache: Cache | None = None
    note: str = ""  # why something is missing
    known: Clips = field(default_factory=dict)  # what stood behind each id when the run began
    places: Mapping[str, int] = field(default_factory=dict)

    def clip(self, name: str, *, frames: int, faces: bool) -> ClipSource | None:
        """Read what is known of a clip; nothing where its id now stands for another video."""
        if self.cache is None or name not in self.places:
            return None
        index = self.places[name]
        digest, then = self.known.get(name, ("", frames))
        now = hex_digest(self.cache.clips.source_digest[index])
        if int(self.cache.clips.count[index]) != frames or then != frames or (digest and now and digest != now):
            return None
        found = self.cache.clip(index, features=[])
        crops = tuple(self.cache.crops(index)) if faces and self.cache.has_crops else ()
        return ClipSource(state=np.asarray(found.state), time=np.asarray(found.time), crops=crops)


def open_sources(run: Run, cache: Path | None, *, faces: bool) -> Sources:
    """Open the cache of a run, or say why that cannot be."""
    path = Path(run.facts["cache"]["path"]) if cache is None else cache
    try:
        found = open_cache(path)
    except EstError as error:
        if cache is not None:
            raise
        return Sources(
            note=f"The run's cache cannot be read, so states of frames are not shown: {error.message} --cache names where it is."
        )
    note = ""
    if faces and not found.has_crops:
        note = f"{path} holds no crops, so no faces are shown: est extract --crops keeps them."
    places = {name: place for place, name in enumerate(found.ids)}
    return Sources(cache=found, note=note, known=run.clips(), places=places)
