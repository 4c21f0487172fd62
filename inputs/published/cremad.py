"""CREMA-D: 91 actors; a file's name tells everything: 1001_DFA_ANG_XX.flv is actor, sentence, emotion and intensity.

Some files are broken: extraction records them as failures. A clone without Git LFS holds pointers in place of the videos.
"""

from __future__ import annotations

import re
from pathlib import Path

from .base import Dataset, Entry, Finding, Reading, Request
from .clip_folder import ClipFolder, natural
from .tree import Tree

EMOTIONS = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
LABELS = tuple(EMOTIONS.values())
CLASSES = (1271, 1271, 1271, 1271, 1087, 1271)
NAME = re.compile(rf"(1\d{{3}})_([A-Z]{{3}})_({'|'.join(EMOTIONS)})_([A-Z]{{1,2}})", re.IGNORECASE)
PLACES = ("VideoFlash", "VideoMP4", "Video")


def read(request: Request) -> Reading:
    """Read the names of the videos."""
    tree = Tree("CREMA-D", request.root)
    folder = tree.find(*PLACES) or tree.root
    clips = ClipFolder(folder, "video")
    entries: list[Entry] = []
    strange: list[Path] = []
    for name in clips.clips():
        found, path = NAME.fullmatch(name), clips.place(name)
        if found:
            label = EMOTIONS[found[3].upper()]
            entries.append(Entry(id=name, path=path, kind="video", label=label, subject=found[1]))
        else:
            strange.append(path)
    if not entries:
        raise tree.lacks("videos named 1001_DFA_ANG_XX.flv", *PLACES)
    findings = []
    if len(LABELS) != len({entry.label for entry in entries}):
        absent = sorted(set(LABELS) - {entry.label for entry in entries})
        findings.append(Finding(kind="absent", text=f"no clips of {', '.join(absent)}", count=len(absent)))
    return Reading(
        layout=f"videos in {tree.show(folder)}",
        labels=LABELS,
        entries=tuple(entries),
        findings=tuple(findings),
        others=natural(strange),
    )


CREMA_D = Dataset(
    name="crema-d",
    aliases=("cremad",),
    title="CREMA-D",
    labels=LABELS,
    licence="Open Database License, as we understand it",
    layouts=("VideoFlash/1001_DFA_ANG_XX.flv",),
    protocol="5 folds by actor, as published lists have them: est train --cache CACHE --protocol crema-d",
    read=read,
    media=("videos",),
    published={
        "clips": (sum(CLASSES),),
        **{f"class {name}": (count,) for name, count in zip(LABELS, CLASSES, strict=True)},
        "subjects": (91,),
    },
)
