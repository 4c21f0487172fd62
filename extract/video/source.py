"""Videos and folders of frames as one thing: upright frames with their presentation times, one after the other.

`open_source` reads up to the first frame that is asked for, so that whatever cannot be read fails there, and so that size and orientation
are those of a frame and not a promise. Reading is sequential, also up to the start of a segment: seeks of decoders are inexact. Nothing
holds more than one frame.

Times are seconds from the start of the video stream, taken from the file; they never run backwards. Only where a frame has no time, or an
earlier one than the frame before it, the frame's duration at the file's rate (25 a second when unknown) is added to the time before.
A segment holds the frames with start ≤ time < end, to the microsecond.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...errors import SourceError, UsageError
from .info import Video

if TYPE_CHECKING:
    from .stream import Stream

DECODERS = ("auto", "opencv", "pyav")  # auto: OpenCV, or PyAV for a file of which OpenCV decodes no frame


def expect_decoder(name: str) -> None:
    """Refuse a decoder that there is not, and PyAV where it is asked for by name and cannot be imported."""
    if name not in DECODERS:
        raise UsageError(f"A decoder is one of {', '.join(DECODERS)}; found {name!r}.", remedy="--decoder auto")
    if name == "pyav":
        _stream_of(name)


def open_source(
    path: Path,
    kind: Literal["video", "frames"],
    *,
    decoder: str = "auto",
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

    expect_decoder(decoder)
    prepare_opencv()
    path = Path(path)
    if kind == "frames":
        from .frame_folder import FrameFolder

        stream = FrameFolder(path, sizes_may_differ=sizes_may_differ)
        return StreamVideo(path, stream, start=start, end=end, sizes_may_differ=sizes_may_differ)

    def open_by(name: str) -> Video:
        opened = _stream_of(name)(path, threads)
        return StreamVideo(path, opened, start=start, end=end, sizes_may_differ=sizes_may_differ)

    return open_by(decoder) if decoder != "auto" else _open_by_either(path, open_by)


def _stream_of(decoder: str) -> Callable[[Path, int], Stream]:
    """Import a decoder when it is needed."""
    if decoder == "pyav":
        from .pyav_video import PyAVStream

        return PyAVStream
    from .opencv_video import OpenCVStream

    return OpenCVStream


def _open_by_either(path: Path, open_by: Callable[[str], Video]) -> Video:
    """Open by OpenCV, or by PyAV where OpenCV decodes no frame: a matter of the file alone."""
    from .signature import Undecodable, undecodable

    try:
        return open_by("opencv")
    except Undecodable as error:
        refused = error
    try:
        return open_by("pyav")
    except UsageError as error:
        raise SourceError(f"{refused.message} {error.message}", remedy=error.remedy) from error
    except Undecodable as error:
        raise undecodable(path, "auto", refused.codec or error.codec) from error
