"""Why a file gives no frame: it is no video, by its first bytes, its index and its tracks; or its codec is beyond a decoder.

What no decoder reads is a `SourceError`; what another decoder may read is `Undecodable`.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Sequence
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
PLAYLISTS = {  # that FFmpeg follows, or would: the frames would be those of other files
    b"ffconcat version": "FFmpeg's list of other videos",
    b"#EXTM3U": "an HLS playlist",
    b"v=0": "a description of a stream (SDP)",
    b"<?xml": "XML, as a playlist may be",
    b"<MPD": "a DASH playlist",
}
CODECS = {  # four letters of a container → the codec's name
    "AV01": "AV1",
    "AVC1": "H264",
    "AVC3": "H264",
    "HEV1": "HEVC",
    "HVC1": "HEVC",
    "VP08": "VP8",
    "VP09": "VP9",
    "VP80": "VP8",
    "VP90": "VP9",
}
WHO = {  # decoder → who it is, with the verbs of a message
    "opencv": ("OpenCV cannot decode its video", "OpenCV finds no video that it can decode"),
    "pyav": ("PyAV cannot decode its video", "PyAV finds no video that it can decode"),
    "auto": ("neither OpenCV nor PyAV can decode its video", "OpenCV and PyAV find no video that they can decode"),
}
PLAY = "play it in a player: is it damaged?"
NO_VIDEO = "remove it from the folder or the list, or replace it by the video that should be there"
NONE_SHOWN = "replace it by the file with the video track, or remove it from the folder or the list"
PULL = "git lfs pull"


class Undecodable(SourceError):
    """A video of which a decoder gives no frame; another decoder may."""

    def __init__(self, message: str, *, codec: str, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.codec = codec  # empty when unknown


def expect_video_file(path: Path) -> None:
    """Refuse what need not be given to a decoder: nothing there, no right to read it, not a file, empty."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise SourceError(f"{path}: expected a video file, found {_kind(found.st_mode)}.")
        with open(path, "rb") as file:
            head = file.read(64)
        if not head:
            raise SourceError(f"{path}: the file is empty.", remedy="copy or download it again")
        if name := next((name for start, name in PLAYLISTS.items() if head.startswith(start)), ""):
            raise SourceError(f"{path}: not a video but {name}, which is not followed.", remedy=NO_VIDEO)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}).") from error


def unreadable(path: Path, decoder: str, *, tracks: Sequence[str] = ()) -> SourceError:
    """Return what to raise for a file that a decoder does not open, or in which it finds no video beside other tracks."""
    if found := _why_no_video(path):
        reason, remedy = found
        return SourceError(f"{path}: {reason}", remedy=remedy)
    if tracks:
        return SourceError(f"{path}: the file has no video (tracks: {', '.join(tracks)}).", remedy=NONE_SHOWN)
    return undecodable(path, decoder)


def undecodable(path: Path, decoder: str, codec: str = "") -> Undecodable:
    """Return what to raise for a file of which a decoder gives no frame: the codec, and the command that fixes it."""
    movie = mp4.read_movie(path)
    codec = codec or (codec_name(movie.video.codec.encode("latin-1")) if movie and movie.video else "")
    cannot, finds_none = WHO[decoder]
    if codec or movie:
        message = f"{path}: {cannot} (codec {codec or 'unknown'})."
    else:
        message = f"{path}: {finds_none}; the file starts with the bytes {_head(path)[:12].hex(' ')}."
    remedy = PLAY
    if decoder == "opencv":
        remedy = "--decoder auto with another --out: PyAV may decode it"
    elif codec:
        again = ["ffmpeg", "-i", str(path), "-c:v", "libx264", "-crf", "12", str(path.with_suffix(".h264.mp4"))]
        remedy = f"{shlex.join(again)}, if a player plays it; else it is damaged"
    return Undecodable(message, codec=codec, remedy=remedy)


def codec_name(letters: bytes) -> str:
    """Return the name of a codec by the four letters of a container; empty where they are none."""
    text = letters.decode("latin-1").strip("\0 ").upper()
    return CODECS.get(text, text) if text.isascii() and text.isprintable() else ""


def _why_no_video(path: Path) -> tuple[str, str] | None:
    """Return what a file is that holds no video, and the remedy; None when it may hold one."""
    head = _head(path)
    for start, name in SIGNATURES.items():
        if head.startswith(start):
            return f"not a video but {name}.", PULL if "LFS" in name else NO_VIDEO
    movie = mp4.read_movie(path)
    if movie is not None:
        if not movie.has_index:
            return "an MP4 or MOV file without its index (moov), as a broken download or recording leaves it.", PLAY
        tracks = ", ".join({"vide": "video", "soun": "sound"}.get(name, name) for name in movie.handlers) or "none"
        if movie.video is None:
            return f"the file has no video (tracks: {tracks}).", NONE_SHOWN
        if movie.video.times is None and not movie.is_fragmented:
            return "the file has a video track without frames.", PLAY
        return None
    if is_text(head):
        return f"not a video but text: {' '.join(head.decode('utf-8', 'replace').split())[:60]!a}.", NO_VIDEO
    return None


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(512)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a named pipe" if stat.S_ISFIFO(mode) else "a device or socket"
