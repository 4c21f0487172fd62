"""The messages between a clip worker and the pipeline.

Pictures travel in blocks of shared memory, one block a message: the worker makes it, the pipeline copies it out and removes it. A
worker may have a few blocks under way; an answer gives it the right to one more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...cache.schema import NO_FACE
from ...crops.views import ViewConfig
from ...inputs.input import Input
from ..faces.detect.base import Detections
from ..flow.pictures import Wanted
from ..video.info import VideoInfo

BLOCKS_UNDER_WAY = 3


@dataclass(frozen=True, kw_only=True)
class SharedPictures:
    """A block of pictures of one size, (count, height, width, 3) uint8."""

    block: str
    shape: tuple[int, ...]

    @classmethod
    def share(cls, pictures: Sequence[np.ndarray], *, as_rgb: bool = False) -> SharedPictures:
        """Copy pictures into a block of their own, from BGR to RGB where it is asked for."""
        shape = (len(pictures), *pictures[0].shape)
        memory = SharedMemory(create=True, size=max(math.prod(shape), 1))
        try:
            block = np.ndarray(shape, np.uint8, memory.buf)
            for picture, place in zip(pictures, block, strict=True):
                if as_rgb:
                    cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=place)  # numpy takes ten times as long
                else:
                    place[...] = picture
            return cls(block=memory.name, shape=shape)
        finally:
            block = place = None  # a block that is looked at cannot be closed
            memory.close()

    def take(self) -> np.ndarray:
        """Copy the pictures out and remove the block."""
        memory = SharedMemory(self.block)
        try:
            return np.ndarray(self.shape, np.uint8, memory.buf).copy()
        finally:
            memory.close()
            memory.unlink()


@dataclass(frozen=True, kw_only=True)
class Work:
    """Pipeline → worker: extract this input."""

    index: int
    input: Input


@dataclass(frozen=True, kw_only=True)
class Recrop:
    """Pipeline → worker: bring the crops of a clip that is in a cache; `clip` says its id and where its source lies now.

    View v of the clip comes as track v.
    """

    index: int
    cache: Path
    clip: Input
    views: tuple[int, ...] = (0,)  # 0 is the clip as it is
    view_config: ViewConfig = ViewConfig()
    flow: Wanted = Wanted()  # of a cache of flow: what is made of it, in place of views


@dataclass(frozen=True, kw_only=True)
class Found:
    """Pipeline → worker: what the detector saw in the pictures of a request, in its order."""

    index: int
    frames: list[int]
    detections: list[Detections]


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Pipeline → worker: a block of crops has been read."""

    index: int


@dataclass(frozen=True, kw_only=True)
class DetectRequest:
    """Worker → pipeline: find the faces in these frames, shrunk by `scale` in width and height."""

    index: int
    frames: list[int]
    scale: tuple[float, float]
    pictures: SharedPictures
    last: bool = False  # the worker waits for the answer


@dataclass(frozen=True, kw_only=True)
class Crops:
    """Worker → pipeline: encode these crops; they are rows `rows` of a track."""

    index: int
    track: int
    rows: list[int]
    pictures: SharedPictures


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackRows:
    """What a worker knows of one face: a row per frame, from `start` on."""

    start: int = 0
    state: np.ndarray
    box: np.ndarray
    landmarks: np.ndarray
    score: np.ndarray
    crops: list[bytes] | None
    features: Mapping[str, np.ndarray] = field(default_factory=dict)  # that no encoder makes, of all rows

    @property
    def stop(self) -> int:
        """The frame behind the last."""
        return self.start + len(self.state)

    def over(self, num_frames: int) -> TrackRows:
        """Return it over all frames of a clip: without a face in those that it does not reach."""
        after = num_frames - self.start - len(self.state)
        if not self.start and not after:
            return self

        def wide(rows: np.ndarray, empty: float) -> np.ndarray:
            edges = [(self.start, after), *[(0, 0)] * (rows.ndim - 1)]
            return np.pad(rows, edges, constant_values=empty)

        return TrackRows(
            state=wide(self.state, NO_FACE),
            box=wide(self.box, np.nan),
            landmarks=wide(self.landmarks, np.nan),
            score=wide(self.score, 0),
            crops=None if self.crops is None else [b""] * self.start + self.crops + [b""] * after,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """Worker → pipeline: all crops of a clip have been sent."""

    index: int
    info: VideoInfo
    decoded: int
    missing: int  # frames that the file promised and did not deliver
    decode_errors: int  # packets that could not be decoded or gave a damaged frame, −1 when unknown
    time: np.ndarray
    tracks: list[TrackRows]
    num_tracks: int = -1  # faces that were followed in the source, those of other people too; −1: not searched
    identity_changes: int = -1  # in the rows of its tracks: how often another person takes over; −1: unknown
    left_out: int = 0  # frames with a face that no track has, because another person was kept
    dropped: int = 0  # faces that became no clips: smaller than --min-face-size or shorter than --min-track
    crowded: int = 0  # frames that were searched and show more faces than are followed
    moments: Mapping[str, Any] = field(
        default_factory=dict
    )  # onset, apex and offset, as far as they are among its rows
    misplaced: bool = False  # a moment that is told lies beyond its end
    extra: Mapping[str, Any] = field(default_factory=dict)  # cells of extra columns that were found, not told
    digest: bytes
    seconds: dict[str, float] = field(default_factory=dict)  # where the worker's time went


@dataclass(frozen=True, kw_only=True, eq=False)
class Recropped:
    """Worker → pipeline: all crops of a clip of a cache have been sent."""

    index: int
    state: np.ndarray
    features: Mapping[str, np.ndarray] = field(default_factory=dict)  # that no encoder makes
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Worker → pipeline: this input gave no clip."""

    index: int
    stage: str
    error: str


ToWorker = Work | Recrop | Found | Taken | None  # None: stop
FromWorker = DetectRequest | Crops | Finished | Recropped | Failed
