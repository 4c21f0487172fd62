"""A data set whose list is its coding table: every row a clip, every emotion one of the classes or left without a label."""

from __future__ import annotations

from collections.abc import Mapping

from ....errors import UsageError, counted
from ..base import Finding, Reading
from ..tree import Tree
from .release import Release

NO_MOMENTS = "onset, apex and offset stay unknown"


def read_coded(
    tree: Tree, release: Release, labels: tuple[str, ...], rest: tuple[str, ...], *, synonyms: Mapping[str, str]
) -> Reading:
    """Return the rows of a coding table as clips; emotions of `rest` are known, and no class."""
    database = release.database
    if release.table is None:
        raise UsageError(
            f"{tree.dataset}: no clip has a label without the coding table {database.table}, or a CSV export of it; looked beside "
            f"the clips, in {tree.root} and two folders further down.",
            remedy=f"put {database.table} below --root",
        )
    entries, unlabelled = [], []
    for key, row in release.coded.items():
        emotion = synonyms.get(row.emotion, row.emotion)
        if emotion not in (*labels, *rest):
            raise UsageError(
                f"{release.table}: emotions of {database.name} are {', '.join((*labels, *rest))}; found "
                f"{row.emotion!r} in {row.where}.",
                remedy="correct the cell in a CSV export beside the table, which is used instead",
            )
        label = emotion if emotion in labels else None
        entry = release.entry(tree.root, key, label=label, where=row.where, file=row.file)
        entries.append(entry)
        unlabelled += [entry.id] if label is None else []
    findings = release.findings()
    if unlabelled:
        text = f"kept without a label, which training leaves out: {counted(len(unlabelled), 'clip')} of {' and '.join(rest)}"
        findings.append(Finding(kind="unlabelled", text=text, count=len(unlabelled), is_expected=True))
    assert release.place is not None
    return Reading(
        layout=f"clips in {tree.show(release.place)}, coding table {tree.show(release.table)}",
        labels=labels,
        entries=tuple(entries),
        are_crops=release.are_crops,
        findings=tuple(findings),
        others=tuple(path for key, path in release.clips.items() if key not in release.coded),
    )
