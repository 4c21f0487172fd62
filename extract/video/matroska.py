"""What a Matroska or WebM file says of how its video is to be turned: the pose of its projection, in the header of the track.

A yaw of half a turn mirrors, then a roll turns counter-clockwise. OpenCV makes one angle of both, which turns mirrored video upside down.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .orientation import Orientation

EBML, SEGMENT, TRACKS, TRACK, TRACK_TYPE, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0x1F43B675
VIDEO, PROJECTION, YAW, ROLL = 0xE0, 0x7670, 0x7673, 0x7675
VIDEO_TYPE = b"\1"
MAX_HEADER_BYTES = 1 << 24


def read_orientation(path: Path) -> Orientation | None:
    """Return the orientation of the first video track; None when the file is no Matroska, or says nothing that can be read."""
    with open(path, "rb") as file:
        if _element_id(file) != EBML:
            return None
        file.seek(0)
        for kind, size in _elements(file, 1 << 62):
            if kind == SEGMENT:
                return _in_segment(file, size)
    return None


def _in_segment(file: BinaryIO, size: int) -> Orientation | None:
    for kind, length in _elements(file, size):
        if kind == CLUSTER:  # the pictures begin
            return None
        if kind == TRACKS and length <= MAX_HEADER_BYTES:
            tracks = _children(file.read(length))
            for track in (_children(body) for name, body in tracks if name == TRACK):
                fields = dict(track)
                if fields.get(TRACK_TYPE, b"").lstrip(b"\0") == VIDEO_TYPE:
                    return _of_video(fields.get(VIDEO, b""))
    return None


def _of_video(video: bytes) -> Orientation:
    projection = dict(_children(dict(_children(video)).get(PROJECTION, b"")))
    yaw, roll = _degrees(projection.get(YAW, b"")), math.radians(_degrees(projection.get(ROLL, b"")))
    flip = -1 if abs(yaw) == 180 else 1
    return Orientation.from_matrix(flip * math.cos(roll), -flip * math.sin(roll), math.sin(roll), math.cos(roll))


def _children(body: bytes) -> list[tuple[int, bytes]]:
    file = io.BytesIO(body)
    return [(kind, file.read(size)) for kind, size in _elements(file, len(body))]


def _elements(file: BinaryIO, length: int) -> Iterator[tuple[int, int]]:
    """Yield (id, size) with the file at the element's body; what is left of the body is passed over."""
    position = file.tell()
    end = position + length
    while position < end and (kind := _element_id(file)) is not None and (size := _size(file)) is not None:
        body = file.tell()
        size = min(size, end - body)
        yield kind, size
        position = file.seek(body + size)


def _element_id(file: BinaryIO) -> int | None:
    first = file.read(1)
    if not first or not (width := 9 - first[0].bit_length()) <= 4:
        return None
    return int.from_bytes(first + file.read(width - 1))


def _size(file: BinaryIO) -> int | None:
    """Return a size; of one that is not known yet, as in a live stream, the largest there is."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    bits = 7 * width
    value = int.from_bytes(first + file.read(width - 1)) & ((1 << bits) - 1)
    return 1 << 62 if value == (1 << bits) - 1 else value


def _degrees(data: bytes) -> float:
    return struct.unpack(">f" if len(data) == 4 else ">d", data)[0] if len(data) in (4, 8) else 0.0
