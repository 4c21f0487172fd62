"""What is predicted of a video: of each face its windows, and its timeline. Kept on the disk until all videos are done.

Legend: F frames of the video, n frames of a track, W windows, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from ...cache.arrayfile import UNREADABLE
from ...cache.stores.disk import PARTIAL
from ...errors import EstError
from .frame_times import shown_seconds

ARRAYS = ("state", "box", "probabilities", "windows", "window_probabilities", "window_faces")


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceTrack:
    """One face of a video, from its first frame to its last."""

    number: int  # from 1
    first: int  # its first frame
    state: np.ndarray  # (n,) 0 not seen · 1 detected · 2 interpolated
    box: np.ndarray  # (n, 4) pixels of the upright frame
    probabilities: np.ndarray  # (n, C) NaN where the face is not seen
    windows: np.ndarray  # (W, 2) frames of the video, from … up to, but not including
    window_probabilities: np.ndarray  # (W, C)
    window_faces: np.ndarray  # (W,) share of the frames that show the face

    @property
    def stop(self) -> int:
        """Return the frame behind its last."""
        return self.first + len(self.state)

    @cached_property
    def mass(self) -> float:
        """Return its length times its mean area: what makes a face the main one."""
        sides = np.nan_to_num(self.box[:, 2:] - self.box[:, :2])
        return float(sides.prod(1).sum())

    def mean(self, time: np.ndarray) -> np.ndarray:
        """Return its probabilities, the mean over the time in which it is seen.  # (F,) → (C,)"""
        known, seconds = self._known(time)
        return (seconds @ known) / seconds.sum()

    def shares(self, time: np.ndarray) -> np.ndarray:
        """Return in which share of the time in which it is seen each class is the likeliest.  # (F,) → (C,)"""
        known, seconds = self._known(time)
        return np.bincount(known.argmax(1), seconds, minlength=known.shape[1]) / seconds.sum()

    def _known(self, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the probabilities of the frames that show it, and how long each is shown; of the times of the video."""
        known = ~np.isnan(self.probabilities[:, 0])
        return self.probabilities[known].astype(np.float64), shown_seconds(time[self.first : self.stop])[known]


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedVideo:
    """One input: the times of its frames, and the faces in it."""

    id: str
    path: str
    kind: str  # video, frames
    start: float | None  # seconds, of a segment
    end: float | None
    size: tuple[int, int]  # width, height of the upright frame
    fps: float
    decoder: str
    missing: int  # frames that the file promised and did not deliver
    decode_errors: int
    num_bytes: int
    mtime_ns: int
    time: np.ndarray  # (F,) seconds
    tracks: list[FaceTrack] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Return when its last frame is shown."""
        return float(self.time[-1]) if len(self.time) else 0.0

    def save(self, path: Path) -> None:
        """Write it whole."""
        arrays: dict[str, Any] = {"time": self.time}
        for track in self.tracks:
            arrays |= {f"{track.number}_{name}": getattr(track, name) for name in ARRAYS}
        facts: dict[str, Any] = {name: getattr(self, name) for name in FACTS}
        facts["tracks"] = [{"number": track.number, "first": track.first} for track in self.tracks]
        partial = path.with_name(path.name + PARTIAL)
        with open(partial, "wb") as file:
            np.savez(file, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)
        partial.rename(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        try:
            return cls._load(path)
        except UNREADABLE as error:
            raise EstError(
                f"What was predicted of a video until now is damaged: {path}.",
                remedy="remove that file, then the same command again",
            ) from error

    @classmethod
    def _load(cls, path: Path) -> Self:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            facts: Mapping[str, Any] = json.loads(found["facts"].tobytes())
            tracks = [
                FaceTrack(
                    number=one["number"],
                    first=one["first"],
                    **{name: found[f"{one['number']}_{name}"] for name in ARRAYS},
                )
                for one in facts["tracks"]
            ]
            known: dict[str, Any] = {name: facts[name] for name in FACTS}
            known["size"] = tuple(known["size"])
            return cls(**known, time=found["time"], tracks=tracks)


def lanes_of(tracks: Sequence[FaceTrack]) -> list[list[FaceTrack]]:
    """Lay faces that follow each other side by side: as few rows as there are faces at one time."""
    lanes: list[list[FaceTrack]] = []
    for track in sorted(tracks, key=lambda track: (track.first, track.number)):
        free = next((lane for lane in lanes if lane[-1].stop <= track.first), None)
        if free is None:
            lanes.append([track])
        else:
            free.append(track)
    return lanes


FACTS = tuple(name for name in PredictedVideo.__dataclass_fields__ if name not in ("time", "tracks"))
