"""SMIC (HS): 164 micro-expressions of 16 people at 100 frames a second; the disk is the list, the folders are the classes.

Its clips are cut from onset to offset, as we understand it: the first frame is the onset, the last the offset. The release tells no apex.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..base import Dataset, Finding, Reading, Request
from ..tree import Tree, below, folders
from .moments import whole_clip
from .release import Database, Key, Release, clips_of, find_people, folders_named

CLASSES = {"negative": 70, "positive": 51, "surprise": 43}
LABELS = tuple(CLASSES)
FORMS = ("smic_all_raw", "smic_all_cropped")  # the folder above HS: whole pictures, face crops
PERSON = re.compile(r"s\d+", re.IGNORECASE)
DATABASE = Database(name="SMIC", prefix="smic", person="s{:02d}", folder="HS")


def find_release(tree: Tree) -> Release:
    """Find the clips, as far as they are there."""
    place = find_people(tree, lambda place: _holds_people(place) and (place == tree.root or _is_hs(place)), _rank)
    release = Release(database=DATABASE, place=place, moments=whole_clip)
    if place is not None:
        people = folders_named(place, PERSON)
        release.clips = clips_of(
            (person, [clip for _, clips in _classes(person) for clip in folders(clips)]) for person in people
        )
        release.are_crops = _rank(place) == 1
    return release


def read(request: Request) -> Reading:
    """Read the folders of people and classes."""
    tree = Tree("SMIC", request.root)
    release = find_release(tree)
    if release.place is None:
        raise tree.lacks("the folder HS with folders of people", "HS/s1/micro", "SMIC_all_raw/HS/s1/micro")
    label_of = labels_of(release)
    entries = tuple(
        release.entry(tree.root, key, label=label_of[key], where="", file=path.name)
        for key, path in release.clips.items()
    )
    text = "SMIC gives no apex of its clips; onset and offset are their first and last frames"
    return Reading(
        layout=f"clips in {tree.show(release.place)}",
        labels=LABELS,
        entries=entries,
        are_crops=release.are_crops,
        findings=(Finding(kind="no apex", text=text, count=len(entries), is_expected=True),),
    )


def labels_of(release: Release) -> dict[Key, str]:
    """Return the class of each clip, the name of the folder that it lies in."""
    return {key: path.parent.name.casefold() for key, path in release.clips.items()}


def _holds_people(place: Path) -> bool:
    return any(_classes(person) for person in folders_named(place, PERSON)[:3])


def _classes(person: Path) -> list[tuple[str, Path]]:
    """Return the folders of a person's clips by class."""
    micro = below(person, "micro")
    found = [(label, below(micro, label)) for label in LABELS] if micro is not None else []
    return [(label, place) for label, place in found if place is not None]


def _is_hs(place: Path) -> bool:
    return place.name.casefold() == "hs"


def _rank(place: Path) -> int:
    name = place.parent.name.casefold()
    return FORMS.index(name) if name in FORMS else 0


SMIC = Dataset(
    name="smic",
    aliases=("smic-hs",),
    title="SMIC (HS)",
    labels=LABELS,
    licence="a signed agreement, research only, as we understand it",
    by_agreement=True,
    layouts=("HS/s1/micro/negative/s1_ne_01/image000001.bmp; also below SMIC_all_raw or SMIC_all_cropped",),
    protocol="each subject is left out in turn: est train --cache CACHE --protocol smic",
    read=read,
    media=("frames",),
    published={
        "clips": (sum(CLASSES.values()),),
        **{f"class {name}": (count,) for name, count in CLASSES.items()},
        "subjects": (16,),
    },
)
