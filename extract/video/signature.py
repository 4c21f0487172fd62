"""Why a file is no video: what it is instead, by its first bytes, its index and its tracks."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ...errors import SourceError
from ...inputs.folders import is_text
from . import mp4

SIGNATURES = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"%PDF": "a PDF",
    b"ID3": "MP3 sound",
    b"fLaC": "FLAC sound",
    b"version https://git-lfs": "a Git LFS pointer: the video was not downloaded",
}


def expect_video_file(path: Path) -> None:
    """Refuse what need not be given to a decoder: nothing there, no right to read it, not a file, empty."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise SourceError(f"{path}: expected a video file, found {_kind(found.st_mode)}.")
        with open(path, "rb") as file:
            if not file.read(1):
                raise SourceError(f"{path}: the file is empty.", remedy="copy or download it again")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}).") from error


def why_unreadable(path: Path) -> str:
    """Say what a file is that no decoder opens."""
    with open(path, "rb") as file:
        head = file.read(512)
    for start, name in SIGNATURES.items():
        if head.startswith(start):
            return f"not a video but {name}."
    movie = mp4.read_movie(path)
    if movie is not None:
        if not movie.has_index:
            return "an MP4 or MOV file without its index (moov), as a broken download or recording leaves it."
        tracks = ", ".join({"vide": "video", "soun": "sound"}.get(name, name) for name in movie.handlers) or "none"
        if movie.video is None:
            return f"the file has no video (tracks: {tracks})."
        if movie.video.times is None:
            return "the file has a video track without frames."
        return f"FFmpeg cannot decode its video (tracks: {tracks})."
    if is_text(head):
        return f"not a video but text: {' '.join(head.decode('utf-8', 'replace').split())[:60]!a}."
    return f"FFmpeg finds no video that it can decode; the file starts with the bytes {head[:12].hex(' ')}."


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a named pipe" if stat.S_ISFIFO(mode) else "a device or socket"
