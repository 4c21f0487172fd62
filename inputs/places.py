"""What a word on the command line stands for: a path, a quoted pattern of paths, or something that no INPUT can be.

A pattern that a shell was kept from expanding is expanded here, as the shell would: each path that it finds is an INPUT of its own. A file
whose very name looks like a pattern goes first. Addresses, but those of object stores, and cameras are refused with the command that makes
a file of them.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..cache.remote.address import LISTED, url_of
from ..errors import UsageError, nearest, some

WHAT = "INPUT is a video file, a folder of videos or of frame folders, or a list (.csv, .tsv, .txt), on this machine, or s3://… or gs://…"
ADDRESS = re.compile(r"^([a-z][a-z0-9+]*):/+(.+)$", re.IGNORECASE)  # a Path has one slash of the two
SITE = re.compile(r"^(?:www\.|m\.)?(?:youtube\.com|youtu\.be|vimeo\.com)/", re.IGNORECASE)
STREAMS = frozenset(("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "mms"))
CAMERA = re.compile(r"^(?:/dev/video)?(\d{1,2})$")
STORES = tuple(f"{scheme}://" for scheme in LISTED)
SHOWN = 2000  # names of a folder that are compared with one that is not there


def expand(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield absolute paths, each once, those that a pattern finds in its place; refuse what is no path."""
    seen: set[Path] = set()
    for path in paths:
        for one in [path] if os.path.lexists(path) and not CAMERA.match(str(path)) else _found(path):
            absolute = one if url_of(one) else Path(os.path.abspath(one))
            if absolute not in seen:
                seen.add(absolute)
                yield absolute


def _found(path: Path) -> list[Path]:
    text = str(path)
    if text.isdecimal() and os.path.lexists(path):  # a file or folder that is called 0
        return [path]
    if (url := url_of(path)) and url.startswith(STORES):
        return [Path(url)]  # is listed
    _expect_place(text)
    if not glob.has_magic(text):
        return [path]  # what is not there is refused where it is opened
    found = sorted(glob.glob(text, recursive=True))
    if not found:
        raise UsageError(
            f"No file or folder matches {text!r}, looked for from {Path.cwd()}.",
            remedy="check the folder and the ending; ** goes through folders: 'videos/**/*.mp4'",
        )
    return [Path(one) for one in found]


def _expect_place(text: str) -> None:
    """Refuse addresses and cameras."""
    if SITE.match(text):
        text = f"https://{text}"
    if address := ADDRESS.match(text):
        scheme, rest = address[1].lower(), address[2]
        raise UsageError(f"{WHAT}; found the address {scheme}://{rest}.", remedy=_as_file(scheme, rest))
    if camera := CAMERA.match(text):
        device = f"/dev/video{camera[1]}"
        raise UsageError(
            f"{WHAT}; found the camera {text}.",
            remedy=f"ffmpeg -f v4l2 -i {device} -t 10 clip.mp4 records a clip; est predict --camera {camera[1]} "
            f"--run RUN watches a camera",
        )


def _as_file(scheme: str, rest: str) -> str:
    """Return the command that makes a file of an address."""
    url = shlex.quote(f"{scheme}://{rest}")
    if scheme == "file":
        return f"/{rest}"
    if scheme in STREAMS:
        return f"ffmpeg -i {url} -t 60 -c copy clip.mp4, then clip.mp4"
    if SITE.match(rest):
        return f"yt-dlp -o clip.mp4 {url}, where its licence allows that, then clip.mp4"
    if scheme in ("http", "https", "ftp"):
        return f"curl -L -o clip.mp4 {url}, then clip.mp4"
    return "copy it to a disk of this machine, then name the copy"


def not_there(path: Path) -> UsageError:
    """Say that an INPUT does not exist, and which name there is nearest."""
    shown = str(path).encode(errors="surrogateescape").decode(errors="backslashreplace")
    parent = next((above for above in path.parents if above.is_dir()), path.parent)
    names = _names(parent)
    missing = path.relative_to(parent).parts[0]
    told = "" if parent == path.parent else f": {parent} has no folder {missing!r}"
    begun = [name for name in names if name.startswith(f"{missing} ")]  # a shell divided a name at its space
    near = nearest(missing, names)
    if begun:
        quoted = [shlex.quote(str(parent / name)) for name in begun]
        remedy = f"{some(quoted)}: quote a name that has a space"
    elif near is not None:
        remedy = f"{shlex.quote(str(parent / near))}, the nearest name"
    elif names:
        remedy = f"{parent} has {some(names)}"
    else:
        remedy = "a video file, a folder of videos or of frame folders, or a list (.csv, .tsv, .txt)"
    return UsageError(f"{shown} does not exist{told}.", remedy=remedy)


def _names(folder: Path) -> list[str]:
    """Return what is in a folder: other folders first, which are INPUTs more often than files are."""
    try:
        with os.scandir(folder) as entries:
            found = [(not entry.is_dir(), entry.name) for entry, _ in zip(entries, range(SHOWN), strict=False)]
    except OSError:
        return []
    return [name for _, name in sorted(found) if not name.startswith(".") and name.isprintable()]
