"""Which clips of a cache the lines of a list mean: told by id, else by path, else by file name.

- `id`: the list's id is that of a clip; or of an input that `--face all` made several clips of, which are then all meant.
- `path`: the clip was extracted from the file that the line names; or extraction would give that path the clip's id.
- `name`: the file's name, less suffix, case and leading zeros, is that of one clip, and of one on the list. It never takes a clip that
  the same list names by id or path elsewhere: a guess is not mixed with what is certain.

A segment (start and end) is part of a path and of a name. Nothing is looked up on the disk: videos may be gone.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .csvlist import Row, listed_id, segment
from .folders import key_of

How = Literal["id", "path", "name"]
HOW: tuple[How, ...] = ("id", "path", "name")
FACE = re.compile(r"(.+)#[1-9]\d*")  # one of several clips of an input
SEGMENT = re.compile(r"(.+?)(#[\d.]+-[\d.]*)")
Key = tuple[str, str]  # a path or a name, and the segment


NO_SUCH_CLIP = "no such clip"


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a list."""

    list: Path
    row: Row

    @property
    def where(self) -> str:
        """Return the list and the line, as a message names them."""
        return f"{self.list}, line {self.row.line}"

    @property
    def says(self) -> str:
        """Return what it calls its clip."""
        return (self.row.id or self.row.path) + segment(self.row)

    @property
    def place(self) -> str:
        """Return where its file lies, or would."""
        written = self.row.path.replace("\\", "/")
        return os.path.normpath(os.path.join(os.path.abspath(self.list.parent), written))

    @property
    def name(self) -> Key | None:
        """Return what a guess goes by."""
        return (_name(self.row.path), segment(self.row)) if self.row.path else None


@dataclass(frozen=True, kw_only=True)
class Match:
    """A line and the clips that it means."""

    line: Line
    how: How
    ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Unmatched:
    """A line that means no clip, and why."""

    line: Line
    why: str


class Known:
    """Clips by everything that a list may call them."""

    def __init__(self, clips: Iterable[tuple[str, str]]) -> None:
        """Take ids and the paths that they were extracted from."""
        self.ids: dict[str, str] = {}  # in one form of accents → as it is
        self.inputs: dict[str, list[str]] = {}
        self.paths: dict[Key, list[str]] = {}
        self.names: dict[Key, dict[str, list[str]]] = {}  # → input → clips
        for clip_id, path in clips:
            text = _plain(clip_id)
            self.ids[text] = clip_id
            face = FACE.fullmatch(text)
            whole = face[1] if face else text
            if face:
                self.inputs.setdefault(whole, []).append(clip_id)
            part = SEGMENT.fullmatch(whole)
            base, cut = (part[1], part[2]) if part else (whole, "")
            if path:
                self.paths.setdefault((_plain(path), cut), []).append(clip_id)
            for name in {_name(base), *([_name(path)] if path else [])}:
                self.names.setdefault((name, cut), {}).setdefault(whole, []).append(clip_id)

    def by_id(self, text: str) -> tuple[str, ...]:
        """Return the clip of an id, or the clips of an input."""
        text = _plain(text)
        return (self.ids[text],) if text in self.ids else tuple(self.inputs.get(text, ()))

    def by_path(self, line: Line) -> tuple[str, ...]:
        """Return the clips of the file that a line names."""
        cut = segment(line.row)
        found = self.paths.get((_plain(line.place), cut))
        return (
            tuple(found)
            if found
            else self.by_id(listed_id(Path(line.place), Path(os.path.abspath(line.list.parent))) + cut)
        )


def match_lines(lines: Sequence[Line], clips: Iterable[tuple[str, str]]) -> tuple[list[Match], list[Unmatched]]:
    """Find the clips (ids and paths) that lines mean; lines that mean none are returned beside them, with the reason."""
    known = Known(clips)
    found: dict[int, Match] = {}
    for number, line in enumerate(lines):
        if line.row.id and (ids := known.by_id(line.row.id)):
            found[number] = Match(line=line, how="id", ids=ids)
        elif line.row.path and (ids := known.by_path(line)):
            found[number] = Match(line=line, how="path", ids=ids)
    taken = {(match.line.list, clip_id): match.line for match in found.values() for clip_id in match.ids}
    rest = [number for number in range(len(lines)) if number not in found]
    written: dict[tuple[Path, Key | None], set[str]] = {}
    for number in rest:
        written.setdefault((lines[number].list, lines[number].name), set()).add(lines[number].row.path)
    unmatched = []
    for number in rest:
        line = lines[number]
        inputs = known.names.get(line.name, {}) if line.name else {}
        ids = tuple(clip_id for group in inputs.values() for clip_id in group)
        others = len(written[line.list, line.name])
        if not ids:
            unmatched.append(Unmatched(line=line, why=NO_SUCH_CLIP))
        elif len(inputs) > 1:
            unmatched.append(Unmatched(line=line, why=f"{len(inputs)} clips have that name, {ids[0]!r} for one"))
        elif others > 1:
            unmatched.append(Unmatched(line=line, why=f"{others} files on the list have that name"))
        elif first := next((taken[line.list, i] for i in ids if (line.list, i) in taken), None):
            unmatched.append(Unmatched(line=line, why=f"{ids[0]!r} is what line {first.row.line} names"))
        else:
            found[number] = Match(line=line, how="name", ids=ids)
    return [found[number] for number in sorted(found)], unmatched


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _name(path: str) -> str:
    return _plain(key_of(path)[-1])
