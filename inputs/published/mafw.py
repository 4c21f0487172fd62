"""MAFW, single labels: 9,172 clips of 11 classes in five folds; names on the lists, because every codebase numbers classes in its own way.

The captioned lists are separated by tabs and are not UTF-8; name and label are the same there. A cache holds no compound labels.
That the release's frames are face crops is as we understand it.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import UsageError
from ..folders import key_of
from .base import KINDS, Dataset, Finding, Media, PublishedResult, Reading, Request, expect_media, known_label
from .clip_folder import ClipFolder
from .folds import FoldLists, fold_entries, merge_folds
from .listed import Listed
from .textlist import named_labels, read_lines
from .tree import Tree, below

LABELS = (
    "anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "anxiety", "helplessness", "disappointment",
)  # fmt: skip
TESTED = (1839, 1837, 1833, 1832, 1831)
DIGITS = 5
SETS = ("Train & Test Set", "Train_Test_Set", "Train&Test Set")
PLACES: dict[Media, tuple[str, ...]] = {"frames": ("data/frames", "frames"), "videos": ("data/clips", "clips")}


def read(request: Request) -> Reading:
    """Read the fold lists and find frames or clips."""
    tree = Tree("MAFW", request.root)
    top = tree.expect("the fold lists", *SETS)
    lists = next((found for name in ("no_caption", "with_caption") if (found := below(top, f"single/{name}"))), None)
    if lists is None:
        compound = below(top, "compound")
        raise UsageError(
            f"MAFW: {top} has {'only compound labels' if compound else 'no folder single/no_caption'}; a cache holds one label a clip.",
            remedy="copy single/no_caption (or single/with_caption) there",
        )
    clips, findings = merge_folds(_fold_lists(lists), "MAFW")
    if lists.name.casefold() == "with_caption":
        findings.append(Finding(kind="captions", text="labels are taken from the captioned lists", is_expected=True))
    there = {media: found for media, patterns in PLACES.items() if (found := tree.find(*patterns))}
    if not there:
        raise tree.lacks("frames or clips", *(pattern for patterns in PLACES.values() for pattern in patterns))
    media = expect_media("MAFW", request.media, {form: tree.show(path) for form, path in there.items()})
    folder = ClipFolder(there[media], KINDS[media])
    return Reading(
        layout=f"{media} in {tree.show(there[media])}, lists in {tree.show(lists)}",
        labels=LABELS,
        entries=fold_entries(clips, folder, KINDS[media], _clip_id),
        are_crops=media == "frames",
        findings=tuple(findings),
        others=folder.others(),
        others_are="MAFW has 10,045 clips, some with compound labels only",
    )


def _clip_id(name: str) -> str:
    (plain,) = key_of(name)
    return plain.zfill(DIGITS) if plain.isdecimal() else Path(name).stem


def _fold_lists(folder: Path) -> dict[int, FoldLists]:
    found = {}
    for number in range(1, len(TESTED) + 1):
        place = below(folder, f"set_{number}")
        if place is None:
            continue
        listed: dict[str, list[Listed]] = {}
        for half in ("train", "test"):
            path = below(place, f"{half}.txt")
            if path is None:
                raise UsageError(
                    f"MAFW: fold {number} has no {half}.txt in {place}.", remedy="copy the folder of lists whole"
                )
            lines, _ = read_lines(path, lambda label: known_label(label, LABELS) is not None)
            labels = named_labels(lines, LABELS, path, "MAFW (single)")
            listed[half] = [
                Listed(name=line.name, label=label, list=path, line=line.number)
                for line, label in zip(lines, labels, strict=True)
            ]
        found[number] = FoldLists(**listed)
    if not found:
        raise UsageError(f"MAFW: no folders set_1 … set_5 in {folder}.", remedy="copy the folder of lists whole")
    return found


MAFW = Dataset(
    name="mafw",
    title="MAFW (single labels)",
    labels=LABELS,
    licence="non-commercial research; a signed agreement",
    by_agreement=True,
    layouts=(
        "data/frames/00001/*.png (face crops, as we understand it)",
        "data/clips/00001.mp4",
        "Train & Test Set/single/{no_caption,with_caption}/set_{1..5}/{train,test}.txt",
    ),
    protocol="5 official folds: est train --cache CACHE --protocol mafw",
    read=read,
    published={
        "clips": (sum(TESTED),),
        **{f"fold {number}, tested": (count,) for number, count in enumerate(TESTED, start=1)},
    },
    results=(PublishedResult(system="S4D", war=58.44, source="its abstract", remarks=("other backbone",)),),
)
