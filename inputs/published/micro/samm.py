"""SAMM: 159 micro-movements of 29 people at 200 frames a second, with FACS codes of onset, apex and offset.

Taken alone it has five classes, as most work has them; clips of disgust, fear and sadness are too few to be classes and are kept without a
label. The table numbers the frames of the recording, and so do the pictures: 006_05562.jpg is frame 5562.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..base import Dataset, Reading, Request
from ..tree import Tree
from .coded import read_coded
from .coding import find_table, read_coding
from .release import Database, Release, clips_of, find_people, folders_named

CLASSES = {"other": 26, "anger": 57, "contempt": 12, "happiness": 26, "surprise": 15}
LABELS = tuple(CLASSES)
REST = ("disgust", "fear", "sadness")
PERSON = re.compile(r"\d{1,3}")
CLIP = re.compile(r"\d{1,3}_\d+_\d+")
TABLE = r"samm.*(facs|codes)"
DATABASE = Database(name="SAMM", prefix="samm", person="{:03d}", folder="SAMM", table="SAMM_Micro_FACS_Codes_v2.xlsx")


def find_release(tree: Tree) -> Release:
    """Find the clips and the coding table, as far as they are there."""
    place = find_people(tree, _holds_people, lambda place: int(not place.name.casefold().startswith("samm")))
    release = Release(database=DATABASE, place=place)
    if place is not None:
        people = folders_named(place, PERSON)
        release.clips = clips_of((person, folders_named(person, CLIP)) for person in people)
    if table := find_table(tree, TABLE, place):
        release.code(table, read_coding(table))
    return release


def read(request: Request) -> Reading:
    """Read the coding table, which is the list."""
    tree = Tree("SAMM", request.root)
    release = find_release(tree)
    if release.place is None:
        raise tree.lacks("folders of people with their clips", "SAMM/006/006_1_2", "006/006_1_2")
    return read_coded(tree, release, LABELS, REST, synonyms={"others": "other"})


def _holds_people(place: Path) -> bool:
    return any(folders_named(person, CLIP) for person in folders_named(place, PERSON)[:3])


SAMM = Dataset(
    name="samm",
    title="SAMM",
    labels=LABELS,
    licence="a signed agreement, research only, as we understand it",
    by_agreement=True,
    layouts=(
        "SAMM/006/006_1_2/006_05562.jpg and SAMM_Micro_FACS_Codes_v2.xlsx (or a CSV export of it), as we understand it",
    ),
    protocol="each subject is left out in turn: est train --cache CACHE --protocol samm",
    read=read,
    media=("frames",),
    published={
        "clips": (159,),
        "labelled clips": (sum(CLASSES.values()),),
        **{f"class {name}": (count,) for name, count in CLASSES.items()},
        "subjects": (29, 28),
    },
)
