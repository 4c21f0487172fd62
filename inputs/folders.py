"""Searching folders: video files, folders of frames, and other files; and natural order, 2 before 10.

Links to folders are followed, each real folder once: whatever loops there are, the search ends. Hidden files and folders are passed over,
and so are caches of this project, unfinished downloads and what operating systems leave behind.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .sequence import is_sequence

_VIDEOS = "mp4 m4v mov avi mkv webm mpg mpeg m1v m2v flv f4v wmv asf 3gp 3g2 ts mts m2ts vob ogv mxf divx mjpeg y4m"
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _VIDEOS.split())
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp"))
UNFINISHED = frozenset((".partial", ".part", ".crdownload", ".download", ".tmp"))
NOT_SEARCHED = frozenset(("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"))
CACHES = (".zarr", ".staging")
LINKED_TWICE = "links to folders already searched"
EMPTY = "empty folders"
MOST_DIGITS = 4000  # of a number by which names are ordered: Python reads no longer ones
ONE = {LINKED_TWICE: "link to a folder already searched", EMPTY: "empty folder"}


@dataclass(kw_only=True)
class Found:
    """What a search met: clips, what looks like a clip and is none (with the reason), and counts of the rest by suffix."""

    videos: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    problems: list[tuple[Path, str]] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    empty: list[Path] = field(default_factory=list)
    unlike_frames: list[Path] = field(default_factory=list)  # of `folders`: their pictures are not called as frames are


def natural_key(text: str) -> tuple:
    """Order texts by their numbers as numbers, folder by folder; ties by their characters, so that the order is total."""
    parts = [
        tuple((0, int(run[:MOST_DIGITS]), "") if run.isdecimal() else (1, 0, run) for run in _runs(part))
        for part in text.split("/")
    ]
    return (*parts, ((-1, 0, text),))


def _runs(name: str) -> list[str]:
    return re.findall(r"[0-9]+|[^0-9]+", name.casefold())


def list_images(folder: Path) -> list[str]:
    """Return the names of the pictures directly in a folder, in natural order."""
    with os.scandir(folder) as entries:
        names = [
            entry.name for entry in entries if suffix_of(entry.name) in IMAGE_SUFFIXES and not is_passed(entry.name)
        ]
    return sorted(names, key=natural_key)


def search(root: Path) -> Found:
    """Search a folder and all below it."""
    found = Found()
    entered: set[tuple[int, int]] = set()
    linked = [root]
    while linked:  # links wait until all real folders are searched, so that a clip goes by its real place
        waiting: list[Path] = []
        for folder in sorted(linked, key=lambda path: natural_key(path.as_posix())):
            if not _enter(folder, entered):
                found.ignored[LINKED_TWICE] += 1
                continue
            pending = [folder]
            while pending:
                pending += _search_one(pending.pop(), found, waiting, entered)
        linked = waiting
    # Beside folders of frames an empty folder is a clip whose frames are gone; elsewhere it is just empty.
    beside = {folder.parent for folder in found.folders}
    for folder in found.empty:
        if folder.parent in beside and folder != root:
            found.problems.append((folder, "the folder holds no pictures, and those beside it do"))
        else:
            found.ignored[EMPTY] += 1
    return found


def _search_one(folder: Path, found: Found, linked: list[Path], entered: set[tuple[int, int]]) -> list[Path]:
    """Sort what lies directly in one folder; return the real folders in it."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        found.problems.append((folder, f"the folder cannot be read ({error.strerror})"))
        return []
    inner, videos, images = [], [], []
    for name in names:
        path = folder / name
        suffix = suffix_of(name)
        try:
            mode = path.stat().st_mode
        except OSError as error:
            if is_passed(name):
                continue
            if suffix in VIDEO_SUFFIXES or suffix in IMAGE_SUFFIXES:
                why = "a link to nothing" if path.is_symlink() else error.strerror
                found.problems.append((path, f"cannot be read ({why})"))
            else:
                found.ignored[kind_of(path)] += 1
            continue
        if stat.S_ISDIR(mode):
            if is_passed(name) or name in NOT_SEARCHED or name.endswith(CACHES):
                continue
            if path.is_symlink():
                linked.append(path)
            elif _enter(path, entered):
                inner.append(path)
        elif is_passed(name):
            continue
        elif suffix in IMAGE_SUFFIXES:
            images.append(path)
        elif suffix in VIDEO_SUFFIXES and not _is_source_code(path):
            videos.append(path)
        else:
            found.ignored[kind_of(path)] += 1
    for path in videos:
        if problem := file_problem(path):
            found.problems.append((path, problem))
        else:
            found.videos.append(path)
    if images and not videos:
        found.folders.append(folder)
        if not is_sequence([path.name for path in images]):
            found.unlike_frames.append(folder)
    else:
        found.ignored.update(kind_of(path) for path in images)
    if not (inner or videos or images or any(path.parent == folder for path in linked)):
        found.empty.append(folder)
    return inner


def ignored_text(ignored: Mapping[str, int]) -> str:
    """Say in words what was ignored, and how often."""
    return ", ".join(f"{count} {ONE.get(kind, kind) if count == 1 else kind}" for kind, count in ignored.items())


def file_problem(path: Path) -> str | None:
    """Return why a file cannot be read, by looking at it only."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"cannot be read ({'a link to nothing' if path.is_symlink() else error.strerror})"
    if not stat.S_ISREG(mode):  # opening a named pipe would wait for ever
        return "neither a file nor a folder"
    return None if os.access(path, os.R_OK) else "cannot be read (permission denied)"


def _enter(folder: Path, entered: set[tuple[int, int]]) -> bool:
    """Record a folder by its real path; False if it has been searched, or is about to be."""
    try:
        found = folder.stat()
    except OSError:
        return True  # the search of it will say why
    key = (found.st_dev, found.st_ino)
    if key in entered:
        return False
    entered.add(key)
    return True


def is_passed(name: str) -> bool:
    """Say whether a name is hidden, or of a file that is not finished."""
    return name.startswith(".") or suffix_of(name) in UNFINISHED


def is_text(head: bytes) -> bool:
    """Return whether bytes look like text."""
    return bool(head) and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)


def _is_source_code(path: Path) -> bool:
    """Tell TypeScript from a transport stream: both are .ts."""
    if suffix_of(path.name) not in (".ts", ".mts"):
        return False
    try:
        with open(path, "rb") as file:
            return is_text(file.read(256))
    except OSError:
        return False


def suffix_of(name: str) -> str:
    """Return the ending of a name, in small letters."""
    return os.path.splitext(name)[1].lower()


def kind_of(path: Path) -> str:
    """Name the kind of a file that is no clip."""
    return suffix_of(path.name) or "without suffix"


Key = tuple[str, ...]


def key_of(name: str) -> Key:
    """Return what all spellings of a clip's name have in common."""
    path = PurePosixPath(name.replace("\\", "/"))
    last = path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name
    parts = [*path.parts[:-1], last]
    return tuple((part.lstrip("0") or "0") if part.isdecimal() else part.casefold() for part in parts)
