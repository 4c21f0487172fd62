"""What an MP4 or MOV file says of its video track: how it is to be turned, and when each of its frames is shown.

OpenCV tells neither: of the display matrix it knows only an angle, and its count of frames includes those that an edit list leaves out, so
that a video that was cut without encoding it again would seem to lack frames. Everything is read from the index (`moov`) and checked
against its bounds; where it makes no sense the answer is "unknown".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .orientation import Orientation

FIRST_BOXES = frozenset((b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx"))
MAX_INDEX_BYTES = 1 << 28
MAX_FRAMES = 1 << 24  # 77 hours at 60 frames/s
MAX_EDITS = 1000
MAX_TICKS = 1 << 60
IDENTITY = (1.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoTrack:
    """The first video track, which is the one that FFmpeg reads."""

    orientation: Orientation
    times: np.ndarray | None  # seconds of each frame that is shown, in order, from the first; None when unknown
    codec: str = ""  # four letters, as avc1; empty when unknown


@dataclass(frozen=True, kw_only=True)
class Movie:
    """A file of this family. Without an index (`moov`) nothing in it can be played."""

    has_index: bool
    handlers: tuple[str, ...] = ()  # one a track: vide, soun, …
    is_fragmented: bool = False  # it counts its frames in each fragment
    video: VideoTrack | None = None


def read_movie(path: Path) -> Movie | None:
    """Read a file's index; None when it is of another family."""
    with open(path, "rb") as file:
        if file.read(8)[4:] not in FIRST_BOXES:
            return None
        index = _find_index(file)
    if index is None:
        return Movie(has_index=False)
    handlers, video = [], None
    scale, whole_movie, fragmented = 0, IDENTITY, False
    for kind, body in _boxes(index):
        if kind == b"mvhd":
            scale, whole_movie = _number(body, 20 if body[:1] == b"\1" else 12), _matrix(body, 48, 36)
        fragmented |= kind == b"mvex"
    for kind, body in _boxes(index):
        if kind == b"trak":
            handler = _bytes(_find(body, b"mdia", b"hdlr"), 8, 4)
            handlers.append(handler.decode("latin-1"))
            if handler == b"vide" and video is None:
                video = _video_track(body, scale, whole_movie, fragmented)
    return Movie(has_index=True, handlers=tuple(handlers), is_fragmented=fragmented, video=video)


def _find_index(file: BinaryIO) -> memoryview | None:
    """Return the body of the `moov` box, wherever in the file it lies."""
    position, length = 0, os.fstat(file.fileno()).st_size
    while position + 8 <= length:
        file.seek(position)
        head = file.read(16)
        size, kind, header = struct.unpack(">I", head[:4])[0], head[4:8], 8
        if size == 1 and len(head) == 16:
            size, header = struct.unpack(">Q", head[8:])[0], 16
        elif size == 0:
            size = length - position
        if size < header:
            return None
        if kind == b"moov":
            if position + size > length or size > MAX_INDEX_BYTES:
                return None
            file.seek(position + header)
            return memoryview(file.read(size - header))
        position += size
    return None


def _boxes(body: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the boxes in a box, up to the first that does not fit in it."""
    position = 0
    while position + 8 <= len(body):
        size, kind, header = _number(body, position), bytes(body[position + 4 : position + 8]), 8
        if size == 1 and position + 16 <= len(body):
            size, header = struct.unpack(">Q", body[position + 8 : position + 16])[0], 16
        elif size == 0:
            size = len(body) - position
        if size < header or position + size > len(body):
            return
        yield kind, body[position + header : position + size]
        position += size


def _find(body: memoryview, *path: bytes) -> memoryview:
    """Return the first box at a path; empty when there is none."""
    for name in path:
        body = next((inner for kind, inner in _boxes(body) if kind == name), memoryview(b""))
    return body


def _video_track(track: memoryview, movie_scale: int, whole_movie: tuple[float, ...], fragmented: bool) -> VideoTrack:
    # FFmpeg applies the movie's own matrix after the track's; in two dimensions, as row vectors, that is a product.
    a, b, c, d = _matrix(_find(track, b"tkhd"), 52, 40)
    e, f, g, h = whole_movie
    orientation = Orientation.from_matrix(a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h)
    times = None if fragmented else _times(track, movie_scale)  # a fragmented file counts in each fragment
    described = _find(track, b"mdia", b"minf", b"stbl", b"stsd")
    return VideoTrack(orientation=orientation, times=times, codec=_bytes(described, 12, 4).decode("latin-1"))


def _times(track: memoryview, movie_scale: int) -> np.ndarray | None:
    header, table = _find(track, b"mdia", b"mdhd"), _find(track, b"mdia", b"minf", b"stbl")
    scale = _number(header, 20 if header[:1] == b"\1" else 12)
    sizes = _find(table, b"stsz") or _find(table, b"stz2")
    count = _number(sizes, 8)
    if not scale or not 0 < count <= MAX_FRAMES:
        return None
    decoded = np.cumsum(_expand(_find(table, b"stts"), count)[: count - 1], dtype=np.int64)
    if len(decoded) != count - 1:
        return None
    shown = np.concatenate([np.zeros(1, np.int64), decoded])
    offsets = _expand(_find(table, b"ctts"), count)
    shown[: len(offsets)] += offsets[:count]
    edits = list(_edits(_find(track, b"edts", b"elst")))
    if len(edits) > MAX_EDITS or any(media_time > MAX_TICKS for _, media_time in edits):
        return None
    if edits and movie_scale:
        parts, offset = [], 0.0
        for duration, media_time in edits:
            length = min(round(duration * scale / movie_scale), MAX_TICKS) if duration else MAX_TICKS
            if media_time >= 0:
                inside = shown[(shown >= media_time) & (shown < media_time + length)]
                parts.append(np.sort(inside) - media_time + offset)
            offset += length
        shown = np.concatenate(parts) if parts else shown[:0]
    times = np.sort(shown) / scale
    return times - times[0] if len(times) else None


def _expand(box: memoryview, limit: int) -> np.ndarray:
    """Return a run-length table (stts, ctts), one value for each frame, at most `limit` of them."""
    num_runs = min(_number(box, 4), max(0, len(box) - 8) // 8)
    runs = np.frombuffer(_bytes(box, 8, 8 * num_runs), ">i4").reshape(-1, 2).astype(np.int64)
    lengths = runs[:, 0] & 0xFFFFFFFF
    before = np.cumsum(lengths) - lengths
    return np.repeat(runs[:, 1], np.clip(limit - before, 0, lengths))


def _edits(box: memoryview) -> Iterator[tuple[int, int]]:
    """Yield (duration in the movie's scale, media time in the track's, -1 for a pause) of each edit."""
    form, size = (">Qq", 20) if box[:1] == b"\1" else (">Ii", 12)
    for i in range(min(_number(box, 4), (len(box) - 8) // size)):
        duration, media_time = struct.unpack_from(form, box, 8 + i * size)
        yield duration, media_time


def _matrix(header: memoryview, at_long: int, at_short: int) -> tuple[float, ...]:
    """Return a, b, c, d of the matrix in a tkhd or mvhd of version 1 or 0."""
    at = at_long if header[:1] == b"\1" else at_short
    if at + 36 > len(header):
        return IDENTITY
    a, b, _, c, d = struct.unpack_from(">5i", header, at)
    return a / 65536, b / 65536, c / 65536, d / 65536


def _number(body: memoryview, at: int) -> int:
    """Return 32 bits, 0 beyond the end."""
    return struct.unpack_from(">I", body, at)[0] if at + 4 <= len(body) else 0


def _bytes(body: memoryview, at: int, count: int) -> bytes:
    return bytes(body[at : at + count])
