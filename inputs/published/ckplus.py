"""CK+: 593 sequences from neutral to the apex, 327 of them with an emotion; the others are kept without a label.

Layout as we understand it: `cohn-kanade-images/S005/001/*.png`, and in `Emotion/S005/001/` nothing or a text file whose last number is
0 (neutral) to 7.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import UsageError
from ..csvlist import read_text
from ..folders import key_of
from .base import Dataset, Entry, Finding, Reading, Request
from .clip_folder import ClipFolder
from .tree import Tree, names

LABELS = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
CLASSES = {"anger": 45, "contempt": 18, "disgust": 59, "fear": 25, "happy": 69, "sadness": 28, "surprise": 83}
IMAGES = ("cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images")
EMOTIONS = ("Emotion", "Emotion_labels/Emotion", "Emotion_labels")
DEPTH = 2  # subject, sequence


def read(request: Request) -> Reading:
    """Read the sequences and their emotions."""
    tree = Tree("CK+", request.root)
    images = ClipFolder(tree.expect("the sequences", *IMAGES), "frames", depth=DEPTH)
    emotions = ClipFolder(
        tree.expect("the emotions, without which nothing has a label", *EMOTIONS), "frames", depth=DEPTH
    )
    labels = {key_of(name): label for name in emotions.clips() if (label := _label(emotions.place(name)))}
    clips = {key_of(name): name for name in [*emotions.clips(), *images.clips()]}
    entries = tuple(
        Entry(
            id=name,
            path=images.place(name),
            kind="frames",
            where=f"{emotions.folder.name}/{name}",
            label=labels.get(key),
            subject=name.split("/")[0],
        )
        for key, name in clips.items()
        if key in labels or images.find(name)
    )
    unlabelled = len(entries) - len(labels)
    text = f"{unlabelled} sequences have no emotion; they are kept without a label, and training leaves them out"
    return Reading(
        layout=f"sequences in {tree.show(images.folder)}, emotions in {tree.show(emotions.folder)}",
        labels=LABELS,
        entries=entries,
        findings=(Finding(kind="unlabelled", text=text, count=unlabelled, is_expected=True),) if unlabelled else (),
    )


def _label(folder: Path) -> str | None:
    """Return the emotion that the last text in a folder gives, None where there is none."""
    texts = [name for name in names(folder) if name.lower().endswith(".txt")]
    if not texts:
        return None
    path = folder / texts[-1]
    words = read_text(path).split()
    try:
        number = float(words[-1]) if words else -1.0
    except ValueError:
        number = -1.0
    if number not in range(len(LABELS)):
        shown = words[-1] if words else "nothing"
        raise UsageError(
            f"{path}: an emotion of CK+ is a number from 0 ({LABELS[0]}) to {len(LABELS) - 1} ({LABELS[-1]}), found {shown!r}.",
            remedy="copy the folder Emotion again from the release",
        )
    return LABELS[int(number)]


CK_PLUS = Dataset(
    name="ck+",
    aliases=("ckplus", "ck"),
    title="CK+",
    labels=LABELS,
    licence="research; an agreement with the University of Pittsburgh",
    by_agreement=True,
    layouts=("cohn-kanade-images/S005/001/*.png and Emotion/S005/001/*_emotion.txt, as we understand it",),
    protocol="10 folds by subject: est train --cache CACHE --protocol ck+",
    read=read,
    media=("frames",),
    published={
        "clips": (593,),
        "labelled clips": (sum(CLASSES.values()),),
        **{f"class {name}": (count,) for name, count in CLASSES.items()},
        "subjects": (123,),
    },
)
