"""Lists that belong to no published data set: `<folder> <number of frames> <label>` a line, or `<path> <label>`, named as INPUTs.

Half and fold are told by the lists' names (set_1_train.txt, fold2/val.csv). Paths of another machine are cut from the left until they lie
below the root. Numbers become names by --label-names, and only where it is plain whether they count from 0 or from 1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from ...errors import UsageError, quoted
from ..folders import VIDEO_SUFFIXES, natural_key
from .base import Dataset, Entry, Finding, Reading, Request, known_label
from .folds import FoldLists, merge_folds
from .listed import Listed
from .textlist import HEADERS, is_number, lines_of, numbers_named
from .tree import Tree

HALF = re.compile(r"(?<![a-z])(train|test|val)(?:ing|idation|set|list)?(?![a-z])", re.IGNORECASE)
FOLD = re.compile(r"(?:set|fold|split)[ _-]?0*(\d+)", re.IGNORECASE)
HALVES = ("train", "val", "test")
TRIED = 50  # lines by which it is found out where paths begin


@dataclass(frozen=True, kw_only=True)
class NamedList:
    """A list, and what its name says of it."""

    path: Path
    half: str
    fold: int
    clips: Sequence[Listed]


def read_frames_lists(request: Request) -> Reading:
    """Read lists of `<folder> <number of frames> <label>`."""
    return _read(request, "path-frames-label", cells=3)


def read_path_lists(request: Request) -> Reading:
    """Read lists of `<path> <label>`."""
    return _read(request, "path-label", cells=2)


def _read(request: Request, name: str, *, cells: int) -> Reading:
    tree = Tree(f"--dataset {name}", request.root)
    if not request.lists:
        raise UsageError(
            f"--dataset {name} takes the lists as INPUT, found none.",
            remedy=f"est extract train.txt test.txt --dataset {name} --root {quoted(tree.root)}",
        )
    lists = [_list(path, cells) for path in dict.fromkeys(request.lists)]
    cut, findings = _cut([clip for one in lists for clip in one.clips], tree)
    lists = [replace(one, clips=[replace(clip, name=cut(clip.name)) for clip in one.clips]) for one in lists]
    lists, labels, said = _labelled(lists, request.label_names)
    clips, told = _merged(lists)
    entries = tuple(
        Entry(
            id=_clip_id(clip.name),
            path=tree.root / clip.name,
            kind=_kind(tree.root / clip.name, cells),
            where=clip.where,
            label=clip.label,
            split=half,
            fold=clip.fold,
            frames=clip.frames,
        )
        for half, clip in clips
    )
    return Reading(
        layout=", ".join(tree.show(one.path) for one in lists),
        labels=labels,
        entries=entries,
        findings=(*findings, *said, *told),
    )


def _list(path: Path, cells: int) -> NamedList:
    clips = []
    for number, text in lines_of(path):
        found = [cell.strip() for cell in text.rsplit(_delimiter(text), cells - 1)]
        if not clips and {cell.casefold() for cell in found} <= HEADERS | {"frames", "num_frames"}:
            continue
        if len(found) < cells or (cells == 3 and not is_number(found[1])):
            wanted = "<folder> <number of frames> <label>" if cells == 3 else "<path> <label>"
            raise UsageError(
                f"{path}, line {number}: expected {wanted}, found {text[:80]!a}.",
                remedy="--dataset path-label for two cells, path-frames-label for three; a CSV with a header needs no --dataset",
            )
        frames = int(found[1]) if cells == 3 else None
        clips.append(Listed(name=found[0].replace("\\", "/"), label=found[-1], list=path, line=number, frames=frames))
    if not clips:
        raise UsageError(f"{path}: the list is empty.")
    half, fold = (
        pattern.findall(path.stem) or pattern.findall(_whole(pattern, path.parent)) for pattern in (HALF, FOLD)
    )
    return NamedList(path=path, half=half[-1].lower() if half else "", fold=int(fold[-1]) if fold else -1, clips=clips)


def _whole(pattern: re.Pattern[str], folder: Path) -> str:
    """Return a folder's name if it says one thing and no other: lists may lie in `split01`, and by chance in `test_of_mine`."""
    return folder.name if pattern.fullmatch(folder.name) else ""


def _delimiter(text: str) -> str | None:
    """Return what stands before the label: a tab, a comma, or blanks; paths may hold the last two."""
    if "\t" in text:
        return "\t"
    return "," if "," in text and len(text.rsplit(",", 1)[1].split()) == 1 else None


def _cut(clips: Sequence[Listed], tree: Tree) -> tuple[Callable[[str], str], list[Finding]]:
    """Find how many leading folders of the listed paths are another machine's; return what cuts them, and say it."""
    tried = [PurePosixPath(clip.name) for clip in clips[:: max(1, len(clips) // TRIED)]]
    depth = max(len(path.parts) for path in tried)
    found = [
        sum(os.path.exists(tree.root / Path(*path.parts[n:])) for path in tried if len(path.parts) > n)
        for n in range(depth)
    ]
    best = found.index(max(found)) if any(found) else 0

    def cut(name: str) -> str:
        path = PurePosixPath(name)
        if not best:
            return path.relative_to(tree.root).as_posix() if path.is_relative_to(tree.root) else name
        return "/".join(path.parts[min(best, len(path.parts) - 1) :])

    if not best:
        return cut, []
    prefix = "/".join(tried[0].parts[:best]).replace("//", "/")
    return cut, [Finding(kind="prefix", text=f"{prefix} on the lists is {tree.root} here", is_expected=True)]


def _labelled(lists: list[NamedList], names: tuple[str, ...]) -> tuple[list[NamedList], tuple[str, ...], list[Finding]]:
    """Bring labels to names, over all lists at once; return the lists, the labels in order, and what is to be said."""
    written = [clip.label or "" for one in lists for clip in one.clips]
    where = ", ".join(one.path.name for one in lists)
    findings = []
    if all(is_number(text) for text in written):
        if names:
            labels = names
            found = numbers_named([int(text) for text in written], names, where)
        else:
            found = [str(int(text)) for text in written]
            labels = tuple(sorted(set(found), key=int))
            text = f"the labels are numbers, from {labels[0]} to {labels[-1]}; --label-names gives them names"
            findings.append(Finding(kind="numbers", text=text))
    elif names:
        labels = names
        found = [known_label(text, names) or text for text in written]
        if unknown := sorted(set(found) - set(names)):
            raise UsageError(
                f"{where}: {', '.join(map(repr, unknown[:5]))} is none of --label-names {','.join(names)}.",
                remedy="name every class once",
            )
    else:
        found = written
        labels = tuple(sorted(set(found), key=natural_key))
    rest = iter(found)
    named = [replace(one, clips=[replace(clip, label=next(rest)) for clip in one.clips]) for one in lists]
    return named, labels, findings


def _merged(lists: Sequence[NamedList]) -> tuple[list[tuple[str, Listed]], list[Finding]]:
    """Return each clip with its half, and its fold where lists of folds are given."""
    numbers = sorted({one.fold for one in lists})
    if len(numbers) == 1:
        return [(one.half, clip) for one in lists for clip in one.clips], []
    if -1 in numbers or any(not one.half for one in lists):
        odd = next(one.path.name for one in lists if one.fold < 0 or not one.half)
        raise UsageError(
            f"Some lists are named after a fold and a half, and {odd} is not.",
            remedy="name them like set_1_train.txt and set_1_test.txt, or give the two halves alone",
        )
    folds = {}
    for number in numbers:
        of_fold = {
            half: [c for one in lists if one.fold == number and one.half == half for c in one.clips] for half in HALVES
        }
        test = of_fold["test"] or of_fold["val"]
        train = of_fold["train"] + (of_fold["val"] if of_fold["test"] else [])
        if not test:
            raise UsageError(
                f"Fold {number} has a train list and no test list.", remedy="give both lists of every fold"
            )
        folds[number] = FoldLists(train=train, test=test)
    clips, findings = merge_folds(folds, "The lists")
    return [("", clip) for clip in clips], findings


def _clip_id(name: str) -> str:
    path = PurePosixPath(name.lstrip("/"))
    return (path.with_suffix("") if path.suffix.lower() in VIDEO_SUFFIXES else path).as_posix()


def _kind(path: Path, cells: int) -> Literal["video", "frames"]:
    return "frames" if cells == 3 or os.path.isdir(path) else "video"


LICENCE = "that of the clips on the list"
FRAMES_LISTS = Dataset(
    name="path-frames-label",
    title="lists of <folder> <number of frames> <label>",
    labels=(),
    licence=LICENCE,
    layouts=("est extract set_1_train.txt set_1_test.txt … --dataset path-frames-label --root FRAMES",),
    protocol="folds or halves by the lists' names",
    read=read_frames_lists,
    media=(),
    is_generic=True,
    takes_label_names=True,
)
PATH_LISTS = Dataset(
    name="path-label",
    title="lists of <path> <label>",
    labels=(),
    licence=LICENCE,
    layouts=("est extract train.txt test.txt --dataset path-label --root CLIPS",),
    protocol="folds or halves by the lists' names",
    read=read_path_lists,
    media=(),
    is_generic=True,
    takes_label_names=True,
)
