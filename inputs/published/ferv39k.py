"""FERV39k: 38,935 clips of 22 scenes, one official division into halves; the lists have no header, so the first line is a clip.

All clips are shorter than 48 frames.
"""

from __future__ import annotations

from .base import KINDS, Dataset, Entry, Finding, Media, PublishedResult, Reading, Request, expect_media, known_label
from .clip_folder import ClipFolder
from .listed import Listed, moved
from .textlist import named_labels, read_lines
from .tree import Tree

LABELS = ("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear")
CLASSES = (7327, 6916, 9748, 7393, 3140, 2300, 2111)
HALVES = {"train": 31_088, "test": 7_847}
LISTS = "4_setups/All_scenes"
PLACES: dict[Media, tuple[str, ...]] = {"frames": ("2_ClipsforFaceCrop",), "videos": ("0_7_labelClips",)}
DEPTH = 3  # scene, emotion, clip


def read(request: Request) -> Reading:
    """Read the two lists of all scenes and find face crops or videos."""
    tree = Tree("FERV39k", request.root)
    findings: list[Finding] = []
    listed: list[tuple[str, Listed]] = []
    for half in HALVES:
        path = tree.expect(f"the {half} list", f"{LISTS}/{half}_All.csv", f"All_scenes/{half}_All.csv")
        lines, has_header = read_lines(path, lambda label: known_label(label, LABELS) is not None)
        if has_header:
            text = f"{tree.show(path)} has a header, which the release has not; it is no clip"
            findings.append(Finding(kind="header", text=text))
        labels = named_labels(lines, LABELS, path, "FERV39k")
        listed += [
            (half, Listed(name=line.name, label=label, list=path, line=line.number))
            for line, label in zip(lines, labels, strict=True)
        ]
    there = {media: found for media, patterns in PLACES.items() if (found := tree.find(*patterns))}
    if not there:
        raise tree.lacks("face crops or videos", *(pattern for patterns in PLACES.values() for pattern in patterns))
    media = expect_media("FERV39k", request.media, {form: tree.show(path) for form, path in there.items()})
    folder = ClipFolder(there[media], KINDS[media], depth=DEPTH)
    entries = tuple(
        Entry(
            id=clip.name,
            path=folder.place(clip.name),
            kind=KINDS[media],
            where=clip.where,
            label=clip.label,
            split=half,
        )
        for half, clip in listed
    )
    return Reading(
        layout=f"{media} in {tree.show(there[media])}, lists in {LISTS}",
        labels=LABELS,
        entries=entries,
        are_crops=media == "frames",
        findings=(*findings, *moved([clip for _, clip in listed], LABELS)),
        others=folder.others(),
    )


FERV39K = Dataset(
    name="ferv39k",
    title="FERV39k",
    labels=LABELS,
    licence="non-commercial research; a password from the authors",
    by_agreement=True,
    layouts=(
        "2_ClipsforFaceCrop/<scene>/<emotion>/<id>/*.jpg (face crops)",
        "0_7_labelClips/<scene>/<emotion>/<id>.mp4",
        "4_setups/All_scenes/{train,test}_All.csv",
    ),
    protocol="the official halves: est train --cache CACHE --protocol ferv39k",
    read=read,
    published={
        "clips": (sum(CLASSES),),
        **{f"class {name}": (count,) for name, count in zip(LABELS, CLASSES, strict=True)},
        **{f"split {half}": (count,) for half, count in HALVES.items()},
    },
    results=(
        PublishedResult(
            system="STT",
            war=48.11,
            uar=37.76,
            source="arXiv 2205.04749, as paperswithcode lists it",
            remarks=("other backbone",),
        ),
        PublishedResult(
            system="Former-DFER",
            war=45.72,
            uar=36.88,
            source="README of its authors",
            remarks=("other backbone: trained from scratch", "others quote 46.85 WAR / 37.20 UAR"),
        ),
    ),
)
