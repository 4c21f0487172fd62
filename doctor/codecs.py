"""Codecs: a few frames of each, written here and read by the decoders of extraction."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..errors import EstError
from .check import Check, from_error

GROUP = "codecs"
FRAMES, SIDE, RATE = 5, 64, 25
CODECS: Mapping[str, tuple[str, str, Mapping[str, str]]] = {  # name → encoder, container, its settings
    "H.264": ("libx264", "mp4", {}),
    "HEVC": ("libx265", "mp4", {"x265-params": "log-level=none"}),
    "VP9": ("libvpx-vp9", "webm", {}),
    "AV1": ("libsvtav1", "mp4", {"preset": "12"}),
    "MPEG-4": ("mpeg4", "avi", {}),
    "Motion JPEG": ("mjpeg", "avi", {}),
}


def check_codecs() -> Iterator[Check]:
    """Read a video of each codec."""
    try:
        from ..extract.video.pyav_video import PyAVStream  # noqa: F401
    except EstError as error:
        yield from_error(GROUP, "PyAV", error)
        return
    with tempfile.TemporaryDirectory(prefix="est-doctor-") as folder:
        for name, (encoder, container, options) in CODECS.items():
            path = Path(folder) / f"{encoder}.{container}"
            try:
                write_video(path, encoder, options)
            except (
                ValueError,
                OSError,
            ) as error:  # this build has no such encoder, or it cannot be opened; or the disk
                found = f"not tried: PyAV cannot write it here ({error})"
                yield Check(group=GROUP, name=name, state="note", found=found, remedy="pip install --upgrade av")
                continue
            yield read_video(name, path)


def write_video(path: Path, encoder: str, options: Mapping[str, str]) -> None:
    """Write a grey video."""
    import av
    from av.video.stream import VideoStream

    os.environ.setdefault("SVT_LOG", "1")  # errors alone
    av.logging.set_level(None)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(encoder, rate=RATE)
        assert isinstance(stream, VideoStream)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
        stream.codec_context.options = dict(options)
        for number in range(FRAMES):
            picture = np.full((SIDE, SIDE, 3), 40 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def read_video(name: str, path: Path) -> Check:
    """Read a video as extraction does, and say who decodes it."""
    from ..extract.video.source import open_source

    remedy = "pip install --upgrade av opencv-python"
    try:
        with open_source(path, "video") as video:
            number, decoder = sum(1 for _ in video.frames()), video.info.decoder
    except EstError as error:
        return Check(group=GROUP, name=name, state="problem", found=error.message, remedy=remedy)
    if number != FRAMES:
        found = f"{number} of {FRAMES} frames are decoded"
        return Check(group=GROUP, name=name, state="problem", found=found, remedy=remedy)
    return Check(group=GROUP, name=name, found=f"decoded by {'OpenCV' if decoder == 'opencv' else 'PyAV'}")
