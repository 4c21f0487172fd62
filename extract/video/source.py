"""Videos and folders of frames as one thing: upright frames with their presentation times, one after the other.

`open_source` reads up to the first frame that is asked for, so that whatever cannot be read fails there, and so that size and orientation
are those of a frame and not a promise. Reading is sequential, also up to the start of a segment: seeks of decoders are inexact. Nothing
holds more than one frame.

Times are seconds from the start of the video stream, taken from the file; they never run backwards. Only where a frame has no time, or an
earlier one than the frame before it, the frame's duration at the file's rate (25 a second when unknown) is added to the time before.
A segment holds the frames with start ≤ time < end, to the microsecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np

from ...errors import UsageError

DECODERS = ("opencv", "pyav")


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What is known of a video once its first frame is read."""

    size: tuple[int, int]  # width, height of the upright frame, of the first one where they differ
    fps: float  # 0.0 when unknown
    declared: int  # frames, of the segment where one is asked for, by the file's own account; 0 when unknown
    rotation: int  # degrees clockwise that were applied (0/90/180/270), after the mirror
    mirrored: bool
    first_frame: int = 0  # how many frames of the source lie before the first one delivered


class Video(Protocol):
    """One source being read. `missing` is known once `frames` has run out."""

    info: VideoInfo
    missing: int  # frames that the file promised and did not deliver; estimated from its duration where it counts none

    def frames(self) -> Iterator[tuple[np.ndarray, float]]:
        """Yield each upright BGR frame, (H, W, 3) uint8 in C order, with its time in seconds. Can be asked once."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_source(
    path: Path,
    kind: Literal["video", "frames"],
    *,
    decoder: str = "opencv",
    start: float | None = None,
    end: float | None = None,
    threads: int = 1,
    sizes_may_differ: bool = False,
) -> Video:
    """Open a video file or a folder of frames, or a segment of it; `SourceError` says why one cannot be read.

    `threads` are the decoder's own. One is the fastest use of the cores when several files are decoded at once. Frames are of one size
    unless they may differ.
    """
    from .stream import StreamVideo, prepare_opencv  # here, so that the names above cost no import of a decoder

    if decoder not in DECODERS:
        raise UsageError(f"A decoder is one of {', '.join(DECODERS)}; found {decoder!r}.", remedy="--decoder opencv")
    prepare_opencv()
    path = Path(path)
    if kind == "frames":
        from .frame_folder import FrameFolder

        stream = FrameFolder(path, sizes_may_differ=sizes_may_differ)
    elif decoder == "pyav":
        from .pyav_video import PyAVStream

        stream = PyAVStream(path, threads)
    else:
        from .opencv_video import OpenCVStream

        stream = OpenCVStream(path, threads)
    return StreamVideo(path, stream, start=start, end=end, sizes_may_differ=sizes_may_differ)
