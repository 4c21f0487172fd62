"""Videos that tests make with PyAV: every frame tells its number and which way is up.

A picture has a colour in each corner (as seen upright: red, green, blue, white) and a level of grey in the middle that says its number.
"""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

os.environ.setdefault("SVT_LOG", "1")  # errors only, from the encoder of AV1

SIZE = (96, 64)
CORNERS = np.array(
    [[0, 0, 255], [0, 255, 0], [255, 0, 0], [255, 255, 255]]
)  # BGR: top left, top right, bottom left, bottom right
LEVELS = 12
TICKS = Fraction(1, 1000)
ALL_ORIENTATIONS = [(rotation, mirrored) for mirrored in (False, True) for rotation in (0, 90, 180, 270)]
QUIET_X265 = {"x265-params": "log-level=none:lossless=1:bframes=3"}
CODECS = {  # name → how it is made: what people have
    "b-frames.mp4": {"options": {"bf": "3"}, "pixels": "yuv420p"},
    "with-sound.mp4": {"audio": True, "pixels": "yuv420p"},
    "ten-bits.mp4": {"pixels": "yuv420p10le"},
    "hevc.mp4": {"codec": "libx265", "pixels": "yuv420p", "options": QUIET_X265},
    "hevc-ten-bits.mp4": {"codec": "libx265", "pixels": "yuv420p10le", "options": QUIET_X265},
    "vp9.webm": {"codec": "libvpx-vp9", "pixels": "yuv420p", "options": {"crf": "8"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
}
AV1 = {  # what OpenCV has no codec for
    "av1.mp4": {"codec": "libsvtav1", "pixels": "yuv420p", "options": {"crf": "8", "preset": "12"}},
    "av1-ten-bits.mkv": {"codec": "libsvtav1", "pixels": "yuv420p10le", "options": {"crf": "8", "preset": "12"}},
}
UNEVEN = [0, 40, 33, 80, 20, 40, 100, 40, 40, 33, 33, 33]  # milliseconds between frames


def picture(index, size=SIZE):
    """Return frame `index` as it looks upright.  # (H, W, 3), BGR"""
    width, height = size
    frame = np.full((height, width, 3), 20 + 16 * (index % LEVELS), np.uint8)
    y, x = max(1, height // 4), max(1, width // 4)
    if min(size) >= 8:
        for corner, rows in zip(CORNERS, (slice(0, y), slice(0, y), slice(-y, None), slice(-y, None)), strict=True):
            left = corner is CORNERS[0] or (corner == CORNERS[0]).all() or (corner == CORNERS[2]).all()
            frame[rows, slice(0, x) if left else slice(-x, None)] = corner
    return frame


def number_of(frame):
    """Read a frame's number, up to LEVELS."""
    height, width = frame.shape[:2]
    middle = frame[
        height // 2 - height // 8 : height // 2 + height // 8 + 1, width // 2 - width // 8 : width // 2 + width // 8 + 1
    ]
    return round((float(middle.mean()) - 20) / 16)


def corner_names(frame):
    """Return the nearest of r, g, b, w in each corner: top left, top right, bottom left, bottom right."""
    height, width = frame.shape[:2]
    y, x = height // 8, width // 8
    found = [frame[y, x], frame[y, width - 1 - x], frame[height - 1 - y, x], frame[height - 1 - y, width - 1 - x]]
    return "".join("rgbw"[int(np.abs(CORNERS - colour.astype(int)).sum(1).argmin())] for colour in found)


def stored(upright, rotation, mirrored):
    """Undo an orientation (mirror, then turn clockwise): what a camera stores that is held that way."""
    frame = np.rot90(upright, k=rotation // 90)  # counter-clockwise
    return np.ascontiguousarray(frame[:, ::-1] if mirrored else frame)


def display_matrix(rotation, mirrored):
    """Return the nine numbers of a display matrix, in FFmpeg's form: mirror, then turn clockwise; y points down."""
    turn = {0: [[1, 0], [0, 1]], 90: [[0, -1], [1, 0]], 180: [[-1, 0], [0, -1]], 270: [[0, 1], [-1, 0]]}[rotation]
    (a, c), (b, d) = (np.array(turn) @ np.diag([-1 if mirrored else 1, 1])).tolist()
    return [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]


def make_video(
    path,
    frames=LEVELS,
    *,
    codec="libx264",
    size=SIZE,
    times=None,
    rate=25,
    pixels="yuv444p",
    matrix=None,
    options=None,
    audio=False,
    container=None,
    muxer=None,
    ticks=TICKS,
):
    """Write a video of `frames` pictures (or of the pictures given); `times` are in ticks of a millisecond. Returns the path."""
    pictures = [picture(i, size) for i in range(frames)] if isinstance(frames, int) else frames
    options = {"crf": "8", "preset": "ultrafast", **(options or {})} if codec == "libx264" else options or {}
    with av.open(str(path), "w", format=container, options=muxer or {}) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.height, stream.width = pictures[0].shape[:2] if pictures else size[::-1]
        stream.pix_fmt = pixels
        stream.codec_context.options = options
        stream.codec_context.thread_count = 1
        if times is not None:
            stream.time_base = stream.codec_context.time_base = ticks
        if matrix is not None:
            stream.set_display_matrix(matrix)
        sound = file.add_stream("aac", rate=16000) if audio else None
        if not pictures:
            file.start_encoding()
        for i, bgr in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(bgr, format="bgr24")
            if times is not None:
                frame.pts, frame.time_base = times[i], ticks
            else:
                frame.pts, frame.time_base = i, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if sound is not None:
            _add_silence(file, sound, seconds=max(1, len(pictures)) / rate)
    return Path(path)


def cut_by_edit_list(whole, path, seconds):
    """Cut the beginning off a video without encoding: its frames stay in the file, and are not shown."""
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts -= round(seconds / packet.time_base)
                packet.dts -= round(seconds / packet.time_base)
                packet.stream = stream
                target.mux(packet)
    return path


def make_audio(path):
    """Write a file with sound only."""
    with av.open(str(path), "w") as file:
        _add_silence(file, file.add_stream("aac", rate=16000), seconds=0.5)
    return Path(path)


def _add_silence(file, stream, seconds):
    for i in range(int(seconds * 16000) // 1024 + 1):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, i * 1024
        file.mux(stream.encode(frame))
    file.mux(stream.encode())


def pts_of(path):
    """Return the presentation times that PyAV decodes, in seconds from the stream's start."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        return [float((frame.pts - (stream.start_time or 0)) * frame.time_base) for frame in file.decode(stream)]
