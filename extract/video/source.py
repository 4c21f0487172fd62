"""Videos and folders of frames as one thing: upright frames with their presentation times, one after the other.

`open_source` reads up to the first frame that is asked for, so that whatever cannot be read fails there, and so that size and orientation
are those of a frame and not a promise. Reading is sequential, also up to the start of a segment: seeks of decoders are inexact. Nothing
holds more than one frame.

Times are seconds from the start of the video stream, taken from the file; they never run backwards. Only where a frame has no time, or an
earlier one than the frame before it, the frame's duration at the file's rate (25 a second when unknown) is added to the time before.
A segment holds the frames with start ≤ time < end, to the microsecond.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ...errors import UsageError
from .info import Video

DECODERS = ("opencv", "pyav")


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
