"""What is known of a video, and what it offers while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What is known of a video once its first frame is read."""

    size: tuple[int, int]  # width, height of the upright frame, of the first one where they differ
    fps: float  # 0.0 when unknown
    declared: int  # frames, of the segment where one is asked for, as the file says; 0 when unknown
    rotation: int  # degrees clockwise that were applied (0/90/180/270), after the mirror
    mirrored: bool
    decoder: str  # that reads it: opencv, pyav, or pictures for a folder of frames
    first_frame: int = 0  # how many frames of the source lie before the first one delivered


class Video(Protocol):
    """One source being read. `missing` and `decode_errors` are known once `frames` has run out."""

    info: VideoInfo
    missing: int  # frames that the file promised and did not deliver; estimated from its duration where it counts none

    @property
    def decode_errors(self) -> int:
        """Return how many packets could not be decoded, or gave a damaged frame, so far; −1 where the decoder does not say."""
        ...

    def frames(self) -> Iterator[tuple[np.ndarray, float]]:
        """Yield each upright BGR frame, (H, W, 3) uint8 in C order, with its time in seconds. Can be asked once."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
