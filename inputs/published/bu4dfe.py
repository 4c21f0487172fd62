"""BU-4DFE (called BU-3DFE in the paper): 101 people, six expressions each, a folder of pictures for each: F001/Angry/000.jpg.

The disk is the list. The pictures show more than the face, so it is searched.
"""

from __future__ import annotations

import re
from pathlib import Path

from .base import (
    ON_TEST,
    OWN_BACKBONE,
    PRETRAINED,
    REPRODUCED,
    Dataset,
    Entry,
    Finding,
    PublishedResult,
    Reading,
    Request,
    known_label,
)
from .tree import Tree, folders, listing

LABELS = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise")
SUBJECTS = 101  # 58 women, 43 men
SUBJECT = re.compile(r"[FM]\d{3}", re.IGNORECASE)


def read(request: Request) -> Reading:
    """Read the folders of the subjects."""
    tree = Tree("BU-4DFE", request.root)
    base = next((place for place in (tree.root, *folders(tree.root)) if _subjects(place)), None)
    if base is None:
        raise tree.lacks("folders of subjects", "F001", "M001")
    entries: list[Entry] = []
    lacking: list[str] = []
    strange: list[Path] = []
    for subject in _subjects(base):
        there: dict[str, Path] = {}
        for place in folders(subject):
            label = known_label(place.name, LABELS)
            if label is None or label in there:
                strange.append(place)
            else:
                there[label] = place
        name = subject.name.upper()
        entries += [
            Entry(id=f"{name}/{label}", path=there[label], kind="frames", label=label, subject=name)
            for label in LABELS
            if label in there
        ]
        lacking += [f"{name}/{label}" for label in LABELS if label not in there]
    if not entries:
        raise tree.lacks(
            f"folders {', '.join(LABELS)} in those of the subjects (found {listing(_subjects(base)[0])})", "F001/Angry"
        )
    findings = []
    if lacking:
        text = f"{len(lacking)} sequences have no folder at all, and count nowhere"
        findings.append(Finding(kind="absent", text=text, count=len(lacking), examples=tuple(lacking)))
    return Reading(
        layout=f"{len(_subjects(base))} subjects in {tree.show(base)}",
        labels=LABELS,
        entries=tuple(entries),
        findings=tuple(findings),
        others=tuple(strange),
    )


def _subjects(folder: Path) -> list[Path]:
    return [place for place in folders(folder) if SUBJECT.fullmatch(place.name)]


BU4DFE = Dataset(
    name="bu4dfe",
    aliases=("bu-4dfe",),
    title="BU-4DFE",
    labels=LABELS,
    licence="a licence from Binghamton University",
    by_agreement=True,
    layouts=("F001/Angry/000.jpg",),
    protocol="10 folds by subject: est train --cache CACHE --protocol bu4dfe",
    read=read,
    media=("frames",),
    published={
        "clips": (SUBJECTS * len(LABELS),),
        **{f"class {name}": (SUBJECTS,) for name in LABELS},
        "subjects": (SUBJECTS,),
    },
    results=(
        PublishedResult(
            system="EST",
            war=88.17,
            source="Table 2 of the EST paper",
            remarks=(OWN_BACKBONE, ON_TEST, "its parameters were chosen on these folds"),
        ),
        PublishedResult(
            system="Transformer baseline", war=85.6, source="Table 2 of the EST paper", remarks=(REPRODUCED, PRETRAINED)
        ),
        PublishedResult(
            system="FAN", war=84.17, source="Table 2 of the EST paper", remarks=(REPRODUCED, "other backbone")
        ),
    ),
)
