"""DFEW: 11,697 single-labelled clips of films in five folds; labels are numbers from 1, names are filled with zeros on the lists only.

Lists of other projects carry the same header and count from 0: they are refused. The release holds more clips than have a single label.
The videos' folder is recalled, not read: `Clip/original/1.mp4`.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import UsageError
from .base import (
    KINDS,
    ON_TEST,
    OWN_BACKBONE,
    PRETRAINED,
    REPRODUCED,
    Dataset,
    Finding,
    Media,
    PublishedResult,
    Reading,
    Request,
    expect_media,
)
from .clip_folder import ClipFolder
from .folds import FoldLists, fold_entries, merge_folds
from .listed import Listed
from .textlist import is_number, numbered_labels, read_lines
from .tree import Tree, names

LABELS = ("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear")
CLASSES = (2445, 1894, 2669, 2173, 1469, 145, 902)
TESTED = (2341, 2341, 2340, 2339, 2336)
DIGITS = 5
LISTS = "EmoLabel_DataSplit"
PLACES: dict[str, tuple[Media, tuple[str, ...]]] = {  # the first that is there, of each form
    "all frames": ("frames", ("Clip/clip_224x224", "clip_224x224")),
    "16 frames": ("frames", ("Clip/clip_224x224_16f", "clip_224x224_16f")),
    "videos": ("videos", ("Clip/original", "original")),
}


def read(request: Request) -> Reading:
    """Read the fold lists and find frames or videos."""
    tree = Tree("DFEW", request.root)
    lists = tree.expect("the fold lists", LISTS)
    folds, said = _fold_lists(lists)
    clips, findings = merge_folds(folds, "DFEW")
    places = {name: found for name, (_, patterns) in PLACES.items() if (found := tree.find(*patterns))}
    there: dict[Media, str] = {}
    for name in places:
        there.setdefault(PLACES[name][0], tree.show(places[name]))
    if not there:
        raise tree.lacks("frames or videos", *(patterns[0] for _, patterns in PLACES.values()))
    media = expect_media("DFEW", request.media, there)
    name = next(name for name in places if PLACES[name][0] == media)
    if name == "16 frames":
        text = "clip_224x224_16f has 16 frames of each clip; clip_224x224, with all of them, is not there"
        findings.append(Finding(kind="frames kept", text=text))
    folder = ClipFolder(places[name], KINDS[media])
    return Reading(
        layout=f"{name} in {tree.show(places[name])}, lists in {tree.show(lists)}",
        labels=LABELS,
        entries=fold_entries(clips, folder, KINDS[media], clip_id),
        are_crops=media == "frames",
        findings=(*said, *findings),
        others=folder.others(),
        others_are="DFEW has clips without a single label too",
    )


def clip_id(name: str) -> str:
    """Return a clip's name as the lists write it: five digits."""
    plain = Path(name).stem
    return plain.zfill(DIGITS) if plain.isdecimal() else plain


def _fold_lists(folder: Path) -> tuple[dict[int, FoldLists], list[Finding]]:
    """Read the lists that are there, and say what is unusual about them."""
    findings = []
    halves = {half: _half(folder, half) for half in ("train", "test")}
    found = {}
    without_header = []
    for number in range(1, len(TESTED) + 1):
        listed: dict[str, list[Listed]] = {}
        for half, place in halves.items():
            path = place / f"set_{number}.csv"
            if not path.exists():
                continue
            lines, has_header = read_lines(path, is_number)
            labels = numbered_labels(lines, LABELS, path, "DFEW")
            without_header += [] if has_header else [f"{half} set_{number}"]
            listed[half] = [
                Listed(name=clip_id(line.name), label=label, list=path, line=line.number)
                for line, label in zip(lines, labels, strict=True)
            ]
        if set(listed) == {"train", "test"}:
            found[number] = FoldLists(**listed)
        elif listed:
            (there,) = listed
            raise UsageError(
                f"DFEW: fold {number} has a {there} list in {folder} and no other half.",
                remedy="copy train(single-labeled) and test(single-labeled) whole",
            )
    if not found:
        raise UsageError(
            f"DFEW: no lists set_1.csv … set_5.csv in {halves['train']} and {halves['test']}.",
            remedy="copy EmoLabel_DataSplit whole",
        )
    if absent := [str(number) for number in range(1, len(TESTED) + 1) if number not in found]:
        findings.append(Finding(kind="folds absent", text=f"no lists of fold {', '.join(absent)}", count=len(absent)))
    if without_header:
        findings.append(
            Finding(
                kind="header",
                text=f"{len(without_header)} lists lack the header of the release; their first line is taken for a clip",
                count=len(without_header),
                examples=tuple(without_header),
            )
        )
    return found, findings


def _half(folder: Path, half: str) -> Path:
    """Return the folder of the train or the test lists: train(single-labeled), or a renamed one."""
    met = [name for name in names(folder) if re.match(rf"{half}\b", name, re.IGNORECASE)]
    single = [name for name in met if "single" in name.casefold()] or met
    if len(single) != 1:
        raise UsageError(
            f"DFEW: expected one folder {half}(single-labeled) in {folder}, found {', '.join(met) or 'none'}.",
            remedy="copy EmoLabel_DataSplit whole, from one release",
        )
    return folder / single[0]


DFEW = Dataset(
    name="dfew",
    title="DFEW",
    labels=LABELS,
    licence="academic use; an agreement with the authors",
    by_agreement=True,
    layouts=(
        "Clip/clip_224x224/00001/*.jpg (face crops), or Clip/clip_224x224_16f/",
        "Clip/original/1.mp4",
        "EmoLabel_DataSplit/{train,test}(single-labeled)/set_{1..5}.csv",
    ),
    protocol="5 official folds: est train --cache CACHE --protocol dfew",
    read=read,
    published={
        "clips": (sum(CLASSES),),
        **{f"class {name}": (count,) for name, count in zip(LABELS, CLASSES, strict=True)},
        **{f"fold {number}, tested": (count,) for number, count in enumerate(TESTED, start=1)},
    },
    results=(
        PublishedResult(
            system="EST",
            war=65.85,
            uar=53.94,
            source="Table 5 of the EST paper",
            remarks=(OWN_BACKBONE, ON_TEST, "the recalls that it prints average 53.43"),
        ),
        PublishedResult(
            system="Transformer baseline",
            war=63.85,
            uar=50.39,
            source="Table 5 of the EST paper",
            remarks=(REPRODUCED, PRETRAINED),
        ),
        PublishedResult(
            system="R3D-18",
            war=56.19,
            uar=45.05,
            source="Table 5 of the EST paper",
            remarks=("printed as R3D18, EC-STFL: with a loss of its own", "other backbone: trained end to end"),
        ),
        PublishedResult(
            system="Former-DFER",
            war=65.7,
            uar=53.69,
            source="Table 5 of the EST paper",
            remarks=("other backbone: trained from scratch", ON_TEST),
        ),
        PublishedResult(
            system="Former-DFER, last epoch",
            war=65.16,
            source="the logs in its authors' repository",
            remarks=("other backbone: trained from scratch",),
        ),
        PublishedResult(
            system="STT",
            war=66.65,
            uar=54.58,
            source="arXiv 2205.04749, as a ranking page quotes it",
            remarks=("other backbone",),
        ),
        PublishedResult(
            system="DK-CLIP",
            war=75.41,
            uar=64.95,
            source="README of its authors (ACM MM 2024)",
            remarks=("other backbone: X-CLIP",),
        ),
    ),
)
