"""A database of micro-expressions as it lies on a disk: folders of people with folders of clips, and the coding table beside them.

Lists and folders write a name with and without leading zeros and prefixes (1, s1, sub01; s01_ne_01, s1_ne_01); both mean the same clip. A
person's name begins with the database, so that the same number in two databases is two people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ....errors import UsageError, counted
from ..base import Entry, Finding
from ..tree import BRANCHES, Tree, folders
from .coding import Coded
from .moments import Moments, moments_in

DEPTH = 3  # levels below the root in which the folders of people are looked for
Key = tuple[int, str]  # person, clip


@dataclass(frozen=True, kw_only=True)
class Database:
    """What tells the clips of a database."""

    name: str  # as papers write it, and as the column extra:database holds it
    prefix: str  # of ids and people
    person: str  # how a person's folder is called, by number: sub{:02d}
    folder: str  # where its clips would lie
    table: str = ""  # the name of its coding table


@dataclass(kw_only=True)
class Release:
    """The clips of a database on the disk, and what its coding table tells of them."""

    database: Database
    place: Path | None  # the folder of the people
    clips: dict[Key, Path] = field(default_factory=dict)
    coded: dict[Key, Coded] = field(default_factory=dict)
    table: Path | None = None
    moments: Callable[[Path], Moments] | None = None  # of clips without a coding table
    are_crops: bool = False
    uncoded: list[str] = field(default_factory=list)  # clips of which the coding table says nothing
    doubtful: list[str] = field(default_factory=list)  # clips of which a moment is told and cannot be taken

    def entry(self, root: Path, key: Key, *, label: str | None, where: str, file: str) -> Entry:
        """Return a clip, whether it is there or not."""
        person = self.database.person.format(key[0])
        path = self.clips.get(key) or (self.place or root / self.database.folder) / person / file
        clip_id = f"{self.database.prefix}/{person}/{path.name}"
        found = self._moments(key, path, clip_id)
        return Entry(
            id=clip_id,
            path=path,
            kind="frames",
            where=where,
            label=label,
            subject=f"{self.database.prefix}-{person}",
            database=self.database.name,
            onset=found.onset,
            apex=found.apex,
            offset=found.offset,
        )

    def _moments(self, key: Key, path: Path, clip_id: str) -> Moments:
        if key not in self.clips:
            return Moments()
        if self.moments is not None:
            return self.moments(path)
        if key not in self.coded:
            self.uncoded += [clip_id] if self.table is not None else []
            return Moments()
        found = moments_in(path, self.coded[key])
        self.doubtful += [f"{clip_id} ({found.problem})"] if found.problem else []
        return found

    def findings(self) -> list[Finding]:
        """Say of which clips the moments are not known, after their entries were asked for."""
        name = self.database.name
        found = []
        if self.doubtful:
            text = f"{name}: the coding table gives moments of {counted(len(self.doubtful), 'clip')} that are not used"
            found.append(Finding(kind="moments", text=text, count=len(self.doubtful), examples=tuple(self.doubtful)))
        if self.uncoded:
            text = (
                f"{name}: {counted(len(self.uncoded), 'clip', 'are')} not in the coding table, and onset, apex "
                f"and offset stay unknown"
            )
            found.append(Finding(kind="not coded", text=text, count=len(self.uncoded), examples=tuple(self.uncoded)))
        return found

    def code(self, table: Path, rows: Iterable[Coded]) -> None:
        """Take a coding table; one clip in two rows that differ is refused."""
        self.table = table
        for row in rows:
            key = key_of(row.subject, row.file)
            known = self.coded.setdefault(key, row)
            told = ("onset", "apex", "offset", "emotion")
            if [getattr(known, name) for name in told] != [getattr(row, name) for name in told]:
                raise UsageError(
                    f"{table}: {known.where} and {row.where} both describe the clip {row.file} of subject "
                    f"{row.subject}, with different values.",
                    remedy="correct a CSV export beside the table, which is used instead",
                )


def key_of(subject: str, file: str) -> Key:
    """Return what all spellings of a clip's name have in common."""
    digits = re.search(r"\d+", subject)
    name = file.strip().casefold().replace("\\", "/").rstrip("/").rpartition("/")[2]
    return int(digits[0]) if digits else -1, re.sub(r"\d+", lambda run: str(int(run[0])), name)


def find_people(tree: Tree, accepts: Callable[[Path], bool], rank: Callable[[Path], int]) -> Path | None:
    """Return the folder that holds a database's folders of people, of several forms the one of the lowest rank."""
    level, met = [tree.root], []
    for _ in range(DEPTH + 1):
        met += [place for place in level if accepts(place)]
        level = [inner for place in level if place not in met for inner in folders(place, BRANCHES)]
    if not met:
        return None
    best = min(map(rank, met))
    first, *others = [place for place in met if rank(place) == best]
    if others:
        raise UsageError(
            f"{tree.dataset}: both {tree.show(first)} and {tree.show(others[0])} hold the clips: two releases, or a copy.",
            remedy="keep one of them below --root",
        )
    return first


def clips_of(people: Iterable[tuple[Path, Sequence[Path]]]) -> dict[Key, Path]:
    """Return the clips of each person's folder; two spellings of one name are two releases in one folder."""
    found: dict[Key, Path] = {}
    for person, clips in people:
        for path in clips:
            key = key_of(person.name, path.name)
            if key in found:
                raise UsageError(
                    f"{found[key]} and {path} are both the clip {path.name}: two releases in one folder.",
                    remedy="keep the clips of one release there",
                )
            found[key] = path
    return found


def folders_named(place: Path, pattern: re.Pattern[str]) -> list[Path]:
    """Return the folders in a folder whose whole names match."""
    return [inner for inner in folders(place) if pattern.fullmatch(inner.name)]
