"""The databases of a composite: which one each clip is from, so that scores have a row for each (MEGC 2019).

They stand in the column extra:database, as `est extract --dataset megc` writes it, of clips and of failures. A failure of an older cache,
which has no such column, is of the database of its person, else of the database of the clips whose ids begin with the same folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from ...cache import Cache
from ...cache.reading.datasets import COLUMN
from ...errors import UsageError, counted, some
from .annotations import Annotations
from .fold import relabel

APEX, FLOW_APEX = (
    "Frames are chosen by the annotated apex (the field's usual practice), which no new video has",
    "flow_apex",
)
NO_DATABASES = "No clip says which database it is from, so the table has one row for all of them"


def databases_of(cache: Cache, table: Annotations) -> dict[str, str]:
    """Return the database of each labelled clip and failure, empty where it is not known; nothing where none is."""
    column = cache.clips.extra.get(COLUMN, ())
    known = {one: str(value) for one, value in zip(cache.ids, column, strict=False) if value not in ("", None)}
    known |= {one.id: one.extra[COLUMN] for one in cache.failures if one.extra.get(COLUMN) and one.id not in known}
    if not known:
        return {}
    person = dict(zip(table.ids.tolist(), table.subject.tolist(), strict=True))
    by_person = _unique((person[one], database) for one, database in known.items() if person.get(one))
    by_folder = _unique((_folder(one), database) for one, database in known.items() if "/" in one)
    labelled = table.ids[table.label >= 0].tolist()
    return {
        one: known.get(one) or by_person.get(person[one], "") or by_folder.get(_folder(one), "") for one in labelled
    }


def expect_people_of_one(databases: dict[str, str], table: Annotations) -> None:
    """Refuse a person's name that clips of two databases have: two people would be left out as one."""
    found: dict[str, set[str]] = {}
    for one, subject in zip(table.ids.tolist(), table.subject.tolist(), strict=True):
        if databases.get(one) and subject:
            found.setdefault(subject, set()).add(databases[one])
    if shared := sorted(subject for subject, names in found.items() if len(names) > 1):
        names = " and ".join(sorted(found[shared[0]]))
        raise UsageError(
            f"{counted(len(shared), 'subject', 'have')} clips of several databases ({some(shared)}), as {shared[0]!r} of {names}: "
            "one name, two people.",
            remedy=f"{relabel('subject')} that names the database too, as smic-{shared[0]}",
        )


def apex_remark(cache: Cache) -> str:
    """Say so where the rows of a cache were chosen by the annotated apex; nothing elsewhere."""
    if not cache.recipes.frames.by_annotated_apex:
        return ""
    bare = np.asarray(cache.clips.extra.get(FLOW_APEX, ())) < 0  # --flow-frames auto
    if not bare.any():
        return f"{APEX}."
    column = cache.clips.extra.get(COLUMN, [""] * len(bare))
    names = Counter(str(name) for name, is_bare in zip(column, bare, strict=True) if is_bare and name)
    of = ", ".join(f"{name} {count}" for name, count in names.most_common())
    count = f"of {bare.sum()} of {counted(len(bare), 'clip')} no apex is known{f' ({of})' if of else ''}"
    return f"{APEX}; {count}, and their frames are taken evenly over the whole clip."


def notes_on_databases(databases: dict[str, str]) -> list[str]:
    """Say so where no clip, or not every clip, has a database."""
    if not databases:
        return [f"{NO_DATABASES}: {relabel('extra:' + COLUMN)}, names them."]
    lacking = sorted(one for one, name in databases.items() if not name)
    return [f"{counted(len(lacking), 'clip', 'do')} not say the database: {some(lacking)}."] if lacking else []


def _folder(clip_id: str) -> str:
    return clip_id.partition("/")[0]


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return what each key always goes with; keys that go with several are left out."""
    found: dict[str, set[str]] = {}
    for key, value in pairs:
        found.setdefault(key, set()).add(value)
    return {key: next(iter(values)) for key, values in found.items() if len(values) == 1}
