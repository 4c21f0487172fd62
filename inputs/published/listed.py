"""A clip on an official list, and what can be said of a list by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...errors import counted
from ..folders import Key, key_of
from .base import Finding, known_label


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A clip on a list."""

    name: str
    label: str | None
    list: Path
    line: int
    fold: int = -1
    frames: int | None = None

    @property
    def where(self) -> str:
        """Return the list and the line, as a message names them."""
        return f"{Path(*self.list.parts[-2:])}, line {self.line}"

    @property
    def key(self) -> Key:
        """Return what all spellings of its name have in common."""
        return key_of(self.name)


def duplicates(names: list[str]) -> Finding:
    """Return which clips a list names more than once."""
    text = f"{counted(len(names), 'clip', 'are')} more than once on a list, and each counts once"
    return Finding(kind="duplicates", text=text, count=len(names), examples=tuple(names))


def moved(listed: Sequence[Listed], labels: tuple[str, ...]) -> list[Finding]:
    """Return which clips lie in the folder of another label than their list says."""
    wrong = []
    for clip in listed:
        folder = known_label(PurePosixPath(clip.name).parent.name, labels)
        if folder is not None and folder != clip.label:
            wrong.append(f"{clip.name} is {clip.label}")
    if not wrong:
        return []
    text = f"{counted(len(wrong), 'clip', 'lie')} in the folder of another label than the list says; the list is taken"
    return [Finding(kind="folder", text=text, count=len(wrong), examples=tuple(wrong))]
