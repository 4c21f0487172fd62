"""A clip as it is shown: some of its frames with their crops, from the cache's JPEGs or cut once more from the source.

Boxes and landmarks are those of the upright frame, in caches of every age, and sources are turned upright when they are decoded: so are
the faces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...cache.quality import box_steps
from ...cache.reading.reader import Cache, ClipFrames
from ...cache.schema import NO_FACE
from ...crops.jpeg import decode_crop
from ...errors import EstError, UsageError
from ...extract.workers.recrop import Stored, cut_again, source_change
from ...extract.workers.task import StageError

FRAMES = 12  # of a clip, when nothing else is said
MOST = 1_000  # frames of a clip: 84 rows of the contact sheet
TILE = 112  # pixels: the longest side of a crop that is kept


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which frames of a clip are shown: so many, evenly spread, or every N-th."""

    frames: int | None = None
    every: int | None = None

    def __post_init__(self) -> None:
        if self.frames is not None and self.every is not None:
            raise UsageError("--frames and --every both say which frames are shown.", remedy="give one of them")
        for name in ("frames", "every"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise UsageError(f"--{name} is 1 or more, found {number}.", remedy=f"--{name} {FRAMES}")

    def of(self, count: int) -> list[int]:
        """Return the frames of a clip of so many."""
        if len(range(0, count, self.every or max(count, 1))) > MOST or min(self.frames or 0, count) > MOST:
            given = f"--every {self.every}" if self.every else f"--frames {self.frames}"
            raise UsageError(
                f"{given} shows more than {MOST:,} frames of a clip of {count:,}.",
                remedy=f"--every {-(-count // MOST)}, or --frames {FRAMES}",
            )
        if self.every is not None:
            return list(range(0, count, self.every))
        return np.unique(np.linspace(0, count - 1, self.frames or FRAMES).round().astype(int)).tolist() if count else []


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipView:
    """A clip, the frames of it that are shown, and the crops of those that show a face."""

    row: dict[str, Any]  # of the listing
    state: np.ndarray  # of all frames
    time: np.ndarray
    steps: np.ndarray  # of the box, from each frame to the next
    frames: Sequence[int]
    crops: dict[int, np.ndarray]  # frame → BGR
    trouble: str = ""  # why there are no crops

    @property
    def id(self) -> str:
        """Return the clip's id."""
        return self.row["id"]

    def step(self, frame: int) -> float | None:
        """Return how far the box moved to this frame from the one before, in sides; None where one of them has no face."""
        value = float(self.steps[frame - 1]) if frame else float("nan")
        return None if value != value else value


class Viewer:
    """Looks at clips of a cache, one after the other."""

    def __init__(self, cache: Cache, sampling: Sampling | None = None) -> None:
        self._stored, self._sampling = Stored(cache), sampling or Sampling()

    def view(self, row: dict[str, Any], frames: Sequence[int] | None = None) -> ClipView:
        """Return a clip of the listing with its crops, or with the reason why it has none; `frames` replace those of the sampling."""
        clip = self._stored.cache.clip(row["id"], features=[])
        frames = self._sampling.of(len(clip.state)) if frames is None else frames
        crops, trouble = {}, ""
        wanted = {frame for frame in frames if clip.state[frame] != NO_FACE}
        try:
            if wanted:
                checked = self._stored.clip(row["id"])
                crops = {frame: _fitted(crop) for frame, crop in self._crops(checked, row, wanted)}
        except (StageError, EstError, OSError) as error:
            trouble = str(error)
        return ClipView(
            row=row,
            state=clip.state,
            time=clip.time,
            steps=box_steps(clip.box) if len(clip.box) > 1 else np.zeros(0),
            frames=frames,
            crops=crops,
            trouble=trouble,
        )

    def _crops(self, clip: ClipFrames, row: dict[str, Any], wanted: set[int]) -> Iterator[tuple[int, np.ndarray]]:
        if self._stored.cache.has_crops:
            kept = self._stored.crops(clip)
            yield from ((frame, decode_crop(kept[frame])) for frame in sorted(wanted))
            return
        path = Path(row["path"])
        known = self._stored.cache.clips.row(clip.index)
        if problem := source_change(path, known["source_bytes"], known["source_mtime_ns"]):
            raise StageError("decode", problem)
        yield from ((frame, crop) for frame, crop in cut_again(self._stored, clip, path) if frame in wanted)


def _fitted(crop: np.ndarray) -> np.ndarray:
    """Make a large crop as small as it is shown; a small one stays as it is."""
    longest = max(crop.shape[:2])
    if longest <= TILE:
        return crop
    height, width = (max(1, round(side * TILE / longest)) for side in crop.shape[:2])
    return cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
