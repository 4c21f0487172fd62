"""CASME II: 255 micro-expressions of 26 people at 200 frames a second, with a coding table of onset, apex and offset.

Taken alone it has five classes, as most work has them; clips of sadness and fear are too few to be one and are kept without a label. The
table numbers the frames of the recording, and so do the pictures: a clip of CASME2_RAW_selected begins with img<onset>.jpg.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..base import Dataset, Reading, Request
from ..tree import Tree, folders
from .coded import read_coded
from .coding import find_table, read_coding
from .release import Database, Release, clips_of, find_people, folders_named

CLASSES = {"disgust": (63, 64), "happiness": (32,), "repression": (27,), "surprise": (25,), "others": (99,)}
LABELS = tuple(CLASSES)
REST = ("sadness", "fear")
# Forms of the release, the one that is taken first where there are several: onset to offset, whole recordings, face crops.
FORMS = ("casme2_raw_selected", "casme2-raw", "casme2_raw", "cropped")
PERSON = re.compile(r"sub\d+", re.IGNORECASE)
CLIP = re.compile(r"EP\d+\w*", re.IGNORECASE)
TABLE = r"casme[ _-]?(2|ii)[ _-]*coding"
DATABASE = Database(
    name="CASME II",
    prefix="casme2",
    person="sub{:02d}",
    folder="CASME2_RAW_selected",
    table="CASME2-coding-20140508.xlsx",
)


def find_release(tree: Tree) -> Release:
    """Find the clips and the coding table, as far as they are there."""
    place = find_people(tree, _holds_people, _rank)
    release = Release(database=DATABASE, place=place)
    if place is not None:
        release.clips = clips_of((person, folders(person)) for person in folders_named(place, PERSON))
        release.are_crops = place.name.casefold() == FORMS[-1]
    if table := find_table(tree, TABLE, place):
        release.code(table, read_coding(table))
    return release


def read(request: Request) -> Reading:
    """Read the coding table, which is the list."""
    tree = Tree("CASME II", request.root)
    release = find_release(tree)
    if release.place is None:
        raise tree.lacks("folders of people with their clips", "CASME2_RAW_selected/sub01/EP02_01f")
    return read_coded(tree, release, LABELS, REST, synonyms={"other": "others"})


def _holds_people(place: Path) -> bool:
    return any(folders_named(person, CLIP) for person in folders_named(place, PERSON)[:3])


def _rank(place: Path) -> int:
    name = place.name.casefold()
    return FORMS.index(name) if name in FORMS else len(FORMS)


CASME2 = Dataset(
    name="casme2",
    aliases=("casmeii", "casme-2"),
    title="CASME II",
    labels=LABELS,
    licence="a signed agreement, academic use only, as we understand it",
    by_agreement=True,
    layouts=("CASME2_RAW_selected/sub01/EP02_01f/img46.jpg and CASME2-coding-20140508.xlsx (or a CSV export of it)",),
    protocol="each subject is left out in turn: est train --cache CACHE --protocol casme2",
    read=read,
    media=("frames",),
    published={
        "clips": (255,),
        "labelled clips": (246, 247),
        **{f"class {name}": counts for name, counts in CLASSES.items()},
        "subjects": (26,),
    },
)
