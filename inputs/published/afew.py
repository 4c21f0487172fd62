"""AFEW: seven folders of videos in each of two halves, with aligned faces beside them for those in which a face was found.

The count of the validation half changes from work to work: 383, 381, 352 in the paper. Here a video without aligned faces stays on
record, so that the denominator is that of the list. Lists of lines like `Fear/013736360 Fear`, where there are some, go before the folders.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...errors import UsageError
from .base import (
    KINDS,
    ON_TEST,
    OWN_BACKBONE,
    PRETRAINED,
    REPRODUCED,
    Dataset,
    Entry,
    Finding,
    Media,
    PublishedResult,
    Reading,
    Request,
    expect_media,
    known_label,
)
from .clip_folder import ClipFolder, natural
from .listed import Listed, moved
from .textlist import named_labels, read_lines
from .tree import Tree, folders, names

LABELS = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
CLASSES = (197, 114, 127, 213, 207, 178, 120)  # of 773 + 383
HALVES = {"train": ("Train_AFEW", "Train"), "val": ("Val_AFEW", "Val", "Validation")}
ALIGNED = "alignedfaces"
LIST_SUFFIXES = (".txt", ".csv")


@dataclass(frozen=True, kw_only=True)
class Half:
    """What lies on the disk of one half."""

    folder: Path
    videos: Mapping[str, ClipFolder]  # by label
    frames: Mapping[str, ClipFolder]
    aligned: ClipFolder | None

    def forms(self, tree: Tree) -> dict[Media, str]:
        """Return which forms of the clips there are, and where."""
        found: dict[Media, str] = {}
        if self.aligned is not None:
            found["frames"] = tree.show(self.aligned.folder)
        elif any(len(folder) for folder in self.frames.values()):
            found["frames"] = f"{tree.show(self.folder)}/<class>"
        if any(len(folder) for folder in self.videos.values()):
            found["videos"] = f"{tree.show(self.folder)}/<class>"
        return found


def read(request: Request) -> Reading:
    """Read the two halves, from their lists or their folders."""
    tree = Tree("AFEW", request.root)
    halves = {half: _look(tree.expect(f"the {half} half", *patterns)) for half, patterns in HALVES.items()}
    forms = [half.forms(tree) for half in halves.values()]
    media = expect_media("AFEW", request.media, {form: place for form, place in forms[0].items() if form in forms[1]})
    entries: list[Entry] = []
    findings: list[Finding] = []
    others: list[Path] = []
    for name, half in halves.items():
        path = _find_list(tree, name)
        if path is not None:
            findings.append(
                Finding(kind="list", text=f"the {name} half is that of {tree.show(path)}", is_expected=True)
            )
        listed = _listed(path) if path is not None else _lying(half)
        entries += [_entry(name, half, clip, media, has_list=path is not None) for clip in listed]
        findings += moved(listed, LABELS)
        folders = (
            [*half.videos.values()]
            if media == "videos"
            else [*half.frames.values(), *([half.aligned] if half.aligned else [])]
        )
        others += [clip for folder in folders for clip in folder.others()]
    val = sum(entry.split == "val" for entry in entries)
    text = f"validation is {val} clips here, and every score counts them all; published ones count 383, 381 or 352"
    findings.append(Finding(kind="denominator", text=text, count=val, is_expected=True))
    return Reading(
        layout=f"{media} in {' and '.join(form[media] for form in forms)}",
        labels=LABELS,
        entries=tuple(entries),
        are_crops=media == "frames",
        findings=tuple(findings),
        others=natural(others),
    )


def _look(folder: Path) -> Half:
    classes = {label: place for place in folders(folder) if (label := known_label(place.name, LABELS))}
    aligned = next((place for place in folders(folder) if place.name.casefold().startswith(ALIGNED)), None)
    while aligned is not None:  # archives unpack into a folder of the same name
        inner = [place for place in folders(aligned, 1) if place.name.casefold().startswith(ALIGNED)]
        if not inner:
            break
        aligned = inner[0]
    return Half(
        folder=folder,
        videos={label: ClipFolder(place, "video") for label, place in classes.items()},
        frames={label: ClipFolder(place, "frames") for label, place in classes.items()},
        aligned=ClipFolder(aligned, "frames") if aligned is not None else None,
    )


def _find_list(tree: Tree, half: str) -> Path | None:
    """Return the list of a half: a text file named after it whose lines are a class, a clip and the class again."""
    places = [tree.root, *(place for place in folders(tree.root) if "list" in place.name.casefold())]
    files = [place / name for place in places for name in names(place) if half in name.casefold()]
    lists = [path for path in files if path.suffix.lower() in LIST_SUFFIXES and path.is_file() and _is_list(path)]
    if len(lists) > 1:
        raise UsageError(
            f"AFEW: {tree.show(lists[0])} and {tree.show(lists[1])} both look like the list of the {half} half.",
            remedy="keep one of them below --root",
        )
    return lists[0] if lists else None


def _is_list(path: Path) -> bool:
    lines, _ = read_lines(path, lambda label: known_label(label, LABELS) is not None)
    first = PurePosixPath(lines[0].name)
    return len(first.parts) > 1 and known_label(first.parts[-2], LABELS) is not None


def _listed(path: Path) -> list[Listed]:
    lines, _ = read_lines(path, lambda label: known_label(label, LABELS) is not None)
    labels = named_labels(lines, LABELS, path, "AFEW")
    return [
        Listed(name="/".join(PurePosixPath(line.name).parts[-2:]), label=label, list=path, line=line.number)
        for line, label in zip(lines, labels, strict=True)
    ]


def _lying(half: Half) -> list[Listed]:
    """Return the clips of the class folders: those with a video, or with frames, or with both."""
    found = []
    for label in half.videos:
        clips = dict.fromkeys([*half.videos[label].clips(), *half.frames[label].clips()])
        found += [Listed(name=f"{label}/{name}", label=label, list=half.folder, line=0) for name in clips]
    if not found:
        raise UsageError(
            f"AFEW: {half.folder} has no class folders ({', '.join(LABELS)}) with clips in them, and no list gives the labels.",
            remedy="copy the videos, or a list of lines like: Fear/013736360 Fear",
        )
    return found


def _entry(name: str, half: Half, clip: Listed, media: Media, *, has_list: bool) -> Entry:
    folder, clip_name = PurePosixPath(clip.name).parts
    place = _place(half, known_label(folder, LABELS) or folder, PurePosixPath(clip_name).stem, media)
    problem = ""
    if not has_list and not os.path.exists(place):
        there = "its frames are" if media == "videos" else "its video is"
        problem = f"{there} on the disk, and {Path(*place.parts[-3:]).as_posix()} is not there"
    return Entry(
        id=f"{name}/{folder}/{PurePosixPath(clip_name).stem}",
        path=place,
        kind=KINDS[media],
        where=clip.where if has_list else "",
        label=clip.label,
        split=name,
        problem=problem,
    )


def _place(half: Half, folder: str, name: str, media: Media) -> Path:
    """Return where a clip lies or would lie."""
    forms = [half.videos.get(folder)] if media == "videos" else [half.aligned, half.frames.get(folder)]
    folders = [folder for folder in forms if folder is not None]
    found = next((found for folder in folders if (found := folder.find(name))), None)
    if found is not None:
        return found
    if media == "videos":
        return half.folder / folder / f"{name}.avi"
    return (half.aligned.folder if half.aligned is not None else half.folder / folder) / name


AFEW = Dataset(
    name="afew",
    title="AFEW",
    labels=LABELS,
    licence="academic research; an agreement with the authors",
    by_agreement=True,
    layouts=(
        "{Train,Val}_AFEW/<class>/<id>.avi",
        "{Train,Val}_AFEW/AlignedFaces_LBPTOP_Points[_Val]/<id>/*.jpg (face crops)",
        "lists of lines like Fear/013736360 Fear, where there are some",
    ),
    protocol="learnt on train, tested on val: est train --cache CACHE --protocol afew",
    read=read,
    published={
        **{f"class {name}": (count,) for name, count in zip(LABELS, CLASSES, strict=True)},
        "split train": (773, 771, 738),
        "split val": (383, 381, 352),
    },
    results=(
        PublishedResult(
            system="EST",
            war=54.26,
            uar=49.57,
            source="Table 4 of the EST paper",
            remarks=("191 of 352 clips", OWN_BACKBONE, ON_TEST),
        ),
        PublishedResult(
            system="Transformer baseline",
            war=49.72,
            uar=43.95,
            source="Table 4 of the EST paper",
            remarks=("175 of 352 clips", REPRODUCED, PRETRAINED),
        ),
        PublishedResult(
            system="FAN",
            war=51.18,
            source="Table 4 of the EST paper",
            remarks=("the paper does not say of how many clips", "other backbone"),
        ),
        PublishedResult(
            system="R3D-18",
            war=45.67,
            uar=42.14,
            source="Table 4 of the EST paper",
            remarks=("printed as 3D ResNet18", "other backbone: trained end to end"),
        ),
        PublishedResult(
            system="ResNet18+GRU", war=49.34, uar=45.12, source="Table 4 of the EST paper", remarks=("other backbone",)
        ),
        PublishedResult(
            system="Former-DFER",
            war=50.92,
            uar=47.42,
            source="Table 4 of the EST paper",
            remarks=("194 of 381 clips", "other backbone: starts from its DFEW model", ON_TEST),
        ),
        PublishedResult(
            system="Former-DFER, last epoch",
            war=48.29,
            source="the logs in its authors' repository",
            remarks=("other backbone: starts from its DFEW model",),
        ),
    ),
)
