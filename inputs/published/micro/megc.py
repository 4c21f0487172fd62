"""MEGC 2019: 442 clips of CASME II, SAMM and SMIC under three classes, as the challenge's list chooses and relabels them.

The list has no header; its lines are dataset, subject, file and class (0 negative, 1 positive, 2 surprise), and end in CRLF, but for one.
Clips are looked for in the three releases below one root; onset, apex and offset come from their coding tables, as far as there are some.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ....errors import UsageError, counted
from ..base import Dataset, Entry, Finding, PublishedUf1, Reading, Request
from ..textlist import lines_of
from ..tree import Tree
from . import casme2, samm, smic
from .release import Database, Key, Release, key_of

LIST = "combined_3class_gt.csv"
LABELS = ("negative", "positive", "surprise")
COUNTS = {  # negative, positive, surprise; people
    casme2.DATABASE.name: ((88, 32, 25), 24),
    samm.DATABASE.name: ((92, 26, 15), 28),
    smic.DATABASE.name: ((70, 51, 43), 16),
}
FIND: Mapping[str, Callable[[Tree], Release]] = {
    casme2.DATABASE.name: casme2.find_release,
    samm.DATABASE.name: samm.find_release,
    smic.DATABASE.name: smic.find_release,
}
CALLED = {"casme2": "CASME II", "casmeii": "CASME II", "samm": "SAMM", "smic": "SMIC", "smichs": "SMIC"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the list."""

    where: str
    database: str
    subject: str
    file: str
    label: str


def read(request: Request) -> Reading:
    """Read the list, and find its clips in the three releases."""
    tree = Tree("MEGC 2019", request.root)
    listed = tree.expect("the list of the challenge", LIST)
    lines, findings = read_list(listed)
    releases = {name: find(tree) for name, find in FIND.items()}
    wanted: dict[str, set[Key]] = {name: set() for name in releases}
    entries: list[Entry] = []
    for line in lines:
        key = key_of(line.subject, line.file)
        wanted[line.database].add(key)
        release = releases[line.database]
        entries.append(release.entry(tree.root, key, label=line.label, where=line.where, file=line.file))
    for name, release in releases.items():
        findings += _about(tree, release, len(wanted[name]))
    present = [release for release in releases.values() if release.place is not None]
    if len({release.are_crops for release in present}) > 1:
        names = " and ".join(release.database.name for release in present if release.are_crops)
        text = f"the pictures of {names} are face crops and the others are not; the face is searched in all of them"
        findings.append(Finding(kind="crops", text=text))
    shown = ", ".join(f"{one.database.name} in {tree.show(one.place)}" for one in present if one.place is not None)
    return Reading(
        layout=f"list {tree.show(listed)}; {shown or 'none of the three releases'}",
        labels=LABELS,
        entries=tuple(entries),
        are_crops=bool(present) and all(release.are_crops for release in present),
        findings=tuple(findings),
        others=tuple(
            path for name, one in releases.items() for key, path in one.clips.items() if key not in wanted[name]
        ),
        others_are="the composite takes a part of CASME II and of SAMM",
    )


def read_list(path: Path) -> tuple[list[Line], list[Finding]]:
    """Read the list, or say which line makes no sense."""
    found, findings = [], []
    for number, text in lines_of(path):
        cells = [cell.strip() for cell in _cells(text, path, number)]
        database = CALLED.get(re.sub(r"[\s_-]+", "", cells[0]).casefold())
        if number == 1 and database is None and not cells[-1].isdecimal():
            findings.append(
                Finding(kind="header", text=f"{path.name} has a header, which the challenge's list has not")
            )
            continue
        if len(cells) != 4 or not all(cells):
            raise UsageError(
                f"{path}, line {number}: expected dataset, subject, file and class, found {text[:60]!a}.",
                remedy="take the list as it was released, or look whether the file was cut off",
            )
        if database is None:
            raise UsageError(
                f"{path}, line {number}: the data sets of the composite are casme2, samm and smic, found {cells[0]!r}.",
                remedy="take the list as it was released",
            )
        if cells[3] not in ("0", "1", "2"):
            raise UsageError(
                f"{path}, line {number}: a class is 0 negative, 1 positive or 2 surprise, found {cells[3]!r}.",
                remedy="use the list as it was released; a copy that counts from 1 would shift every class",
            )
        where = f"{path.name}, line {number}"
        label = LABELS[int(cells[3])]
        found.append(Line(where=where, database=database, subject=cells[1], file=cells[2], label=label))
    if not found:
        raise UsageError(f"{path} is empty.", remedy="take the list as it was released")
    return found, findings


def _cells(text: str, path: Path, number: int) -> list[str]:
    try:
        return next(csv.reader([text]))
    except csv.Error as error:
        raise UsageError(f"{path}, line {number}: {error}.", remedy="take the list as it was released") from error


def _about(tree: Tree, release: Release, listed: int) -> list[Finding]:
    """Return what a database lacks of what the list wants of it."""
    database: Database = release.database
    if not listed:
        return []
    if release.place is None:
        text = f"{database.name} is not below {tree.root}: its {counted(listed, 'clip', 'are')} missing"
        return [Finding(kind="release absent", text=text, count=listed)]
    if release.table is None and release.moments is None:
        text = (
            f"{database.name}: no coding table ({database.table}, or a CSV export) below {tree.root}: onset, apex and offset of its "
            f"{counted(listed, 'clip', 'stay')} unknown"
        )
        return [Finding(kind="no coding table", text=text, count=listed)]
    if release.moments is not None:
        text = f"{database.name} gives no apex of its clips; onset and offset are their first and last frames"
        return [Finding(kind="no apex", text=text, count=listed, is_expected=True)]
    return release.findings()


MEGC = Dataset(
    name="megc",
    aliases=("megc2019",),
    title="MEGC 2019 (composite)",
    labels=LABELS,
    licence="those of CASME II, SAMM and SMIC",
    by_agreement=True,
    layouts=(f"{LIST}, and CASME2_RAW_selected, SAMM and HS below one folder, as casme2, samm and smic have them",),
    protocol="each of 68 subjects is left out in turn, UF1 and UAR pooled: est train --cache CACHE --protocol megc",
    read=read,
    media=("frames",),
    published={
        "clips": (442,),
        **{
            f"class {label}": (sum(counts[place] for counts, _ in COUNTS.values()),)
            for place, label in enumerate(LABELS)
        },
        "subjects": (sum(people for _, people in COUNTS.values()),),
        **{f"database {name}": (sum(counts),) for name, (counts, _) in COUNTS.items()},
        **{
            f"database {name}, {label}": (count,)
            for name, (counts, _) in COUNTS.items()
            for label, count in zip(LABELS, counts, strict=True)
        },
        **{f"database {name}, subjects": (people,) for name, (_, people) in COUNTS.items()},
    },
    uf1_results=(
        PublishedUf1(
            system="SLSTT",
            source="arXiv 2112.05851",
            scores={"Full": (0.816, 0.790), "CASME II": (0.901, None), "SMIC": (0.740, None), "SAMM": (0.715, None)},
            remarks=(
                "its authors choose the epoch on the held-out subject, which raises UF1 by 6 to 14 points",
                "annotated apex",
            ),
        ),
    ),
)
