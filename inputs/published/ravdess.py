"""RAVDESS: 24 actors; a file's name tells everything: 02-01-06-01-02-01-12.mp4 is modality, channel, emotion, intensity, statement,
repetition and actor.

Every performance is there with sound (01) and without (02): the same pictures twice. One of them is taken, without sound where both are.
The channel, speech or song, stands in `split`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..folders import search
from .base import Dataset, Entry, Finding, Reading, Request
from .tree import Tree

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
SPEECH = (96, 192, 192, 192, 192, 192, 192, 192)
SONG = (92, 184, 184, 184, 184, 184, 0, 0)
CHANNELS = {"01": "speech", "02": "song"}
MODALITIES = {"01": "with sound", "02": "without sound"}
NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")


def read(request: Request) -> Reading:
    """Read the names of all videos below the root."""
    tree = Tree("RAVDESS", request.root)
    searched = search(tree.root)
    videos = [*searched.videos, *(path for path, _ in searched.problems if not path.is_dir())]
    named = [(path, found) for path in videos if (found := NAME.fullmatch(path.stem)) and found[1] in MODALITIES]
    if not named:
        raise tree.lacks("videos whose names tell what they are", "Actor_05/02-01-06-01-02-01-05.mp4")
    chosen: dict[str, Path] = {}
    modality: dict[str, str] = {}
    doubled: list[str] = []
    for path, found in sorted(named, key=lambda pair: pair[1][0], reverse=True):  # 02 before 01
        performance = path.stem[3:]
        if performance not in chosen:
            chosen[performance], modality[performance] = path, found[1]
        elif modality[performance] == found[1]:
            doubled.append(path.stem)
    entries = tuple(_entry(path) for _, path in sorted(chosen.items()))
    return Reading(
        layout=f"{len(entries)} performances in {tree.root.name}",
        labels=LABELS,
        entries=entries,
        findings=tuple(_findings([path for path, _ in named], chosen, doubled)),
        others=tuple(path for path in videos if not NAME.fullmatch(path.stem)),
    )


def _entry(path: Path) -> Entry:
    found = NAME.fullmatch(path.stem)
    assert found
    return Entry(
        id=f"Actor_{found[7]}/{path.stem[3:]}",  # whichever modality was taken
        path=path,
        kind="video",
        label=LABELS[int(found[3]) - 1],
        subject=found[7],
        split=CHANNELS[found[2]],
    )


def _findings(named: Sequence[Path], chosen: dict[str, Path], doubled: list[str]) -> list[Finding]:
    findings = []
    kept = Counter(MODALITIES[path.stem[:2]] for path in chosen.values())
    text = f"{len(chosen)} performances, taken {' and '.join(f'{count} {name}' for name, count in kept.items())}"
    passed = len(named) - len(chosen) - len(doubled)
    text += f"; {passed} files hold the same images with sound, and are skipped" if passed else ""
    findings.append(Finding(kind="modalities", text=text, count=passed, is_expected=True))
    if doubled:
        text = f"{len(doubled)} files are there more than once; they count once"
        findings.append(Finding(kind="duplicates", text=text, count=len(doubled), examples=tuple(doubled)))
    moved = [path.stem for path in named if _folder_actor(path) not in ("", path.stem[-2:])]
    if moved:
        text = f"{len(moved)} files are in the folder of another actor than their name says; the name is used"
        findings.append(Finding(kind="folder", text=text, count=len(moved), examples=tuple(moved)))
    return findings


def _folder_actor(path: Path) -> str:
    found = re.fullmatch(r"actor[_ -]?(\d+)", path.parent.name, re.IGNORECASE)
    return found[1].zfill(2) if found else ""


RAVDESS = Dataset(
    name="ravdess",
    title="RAVDESS",
    labels=LABELS,
    licence="CC BY-NC-SA 4.0, as we understand it: non-commercial, share alike",
    layouts=("Actor_05/02-01-06-01-02-01-05.mp4",),
    protocol="6 folds by actor, as published lists have them: est train --cache CACHE --protocol ravdess",
    read=read,
    media=("videos",),
    published={
        "clips": (sum(SPEECH), sum(SPEECH) + sum(SONG)),
        **{
            f"class {name}": tuple(dict.fromkeys((speech, speech + song)))
            for name, speech, song in zip(LABELS, SPEECH, SONG, strict=True)
        },
        "subjects": (24,),
    },
)
