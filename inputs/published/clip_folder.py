"""The clips that lie in a folder, by name: with and without leading zeros, in any case, with any suffix.

Releases write 00001 on the list and 1.mp4 on the disk, or the other way round; both are clip 1.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Literal

from ...errors import UsageError
from ..folders import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Key, key_of, natural_key


def num_images(folder: Path, at_most: int | None = None) -> int:
    """Count the pictures directly in a folder, up to a number."""
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
                count += 1
                if count == at_most:
                    break
    return count


class ClipFolder:
    """Videos, or folders of frames, `depth` levels below a folder."""

    def __init__(self, folder: Path, kind: Literal["video", "frames"], *, depth: int = 1) -> None:
        self.folder, self.kind = folder, kind
        self._places: dict[Key, list[Path]] = {}
        level = [folder]
        for _ in range(depth - 1):
            level = [Path(entry.path) for place in level for entry in _entries(place) if entry.is_dir()]
        for place in level:
            for entry in _entries(place):
                if self._is_clip(entry):
                    path = Path(entry.path)
                    self._places.setdefault(key_of(path.relative_to(folder).as_posix()), []).append(path)
        self._used: set[Path] = set()

    def __len__(self) -> int:
        return len(self._places)

    def clips(self) -> list[str]:
        """Return the clips' names without suffix, in natural order."""
        found = (path for places in self._places.values() for path in places)
        return [
            (path.with_suffix("") if self.kind == "video" else path).relative_to(self.folder).as_posix()
            for path in natural(found)
        ]

    def find(self, name: str) -> Path | None:
        """Return where a clip lies, None where it does not; two spellings of one name are two releases in one folder."""
        found = self._places.get(key_of(name), [])
        if len(found) > 1:
            one, two = (path.relative_to(self.folder).as_posix() for path in sorted(found)[:2])
            raise UsageError(
                f"{self.folder} holds both {one} and {two}: two releases in one folder, and both may be the clip {name}.",
                remedy="keep the clips of one release there",
            )
        self._used.update(found)
        return found[0] if found else None

    def place(self, name: str) -> Path:
        """Return where a clip lies, or where it would."""
        path = PurePosixPath(name)
        plain = path.with_suffix("") if path.suffix.lower() in VIDEO_SUFFIXES else path
        return self.find(name) or self.folder / f"{plain}{'.mp4' if self.kind == 'video' else ''}"

    def others(self) -> tuple[Path, ...]:
        """Return the clips that no list names."""
        rest = (path for places in self._places.values() for path in places if path not in self._used)
        return natural(rest)

    def _is_clip(self, entry: os.DirEntry[str]) -> bool:
        if self.kind == "frames":
            return entry.is_dir()
        return entry.is_file() and os.path.splitext(entry.name)[1].lower() in VIDEO_SUFFIXES


def natural(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return paths in natural order."""
    return tuple(sorted(paths, key=lambda path: natural_key(path.as_posix())))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be read ({error.strerror}), and its content belongs to the data set.",
            remedy="change its permissions, so that it can be read",
        ) from error
