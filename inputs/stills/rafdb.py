"""RAF-DB, the single-label part: list_patition_label.txt (so spelt), and faces in Image/aligned, or else in Image/original.

basic/EmoLabel/list_patition_label.txt     lines: train_00001.jpg 5
basic/Image/aligned/train_00001_aligned.jpg
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import UsageError
from ..csvlist import read_text
from .stills import Stills, hard_target

LIST = "list_patition_label.txt"
PLACES = (".", "EmoLabel", "basic/EmoLabel")
LABELS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")  # 1 to 7
LICENCE = "RAF-DB: non-commercial research; a password from the authors"


def read(path: Path) -> Stills:
    """Read the list, and find the images that it names."""
    folder, ending = _images(path)
    names, codes = [], []
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        words = text.split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in map(str, range(1, 8)) or not words[0].startswith(("train_", "test_")):
            raise UsageError(
                f"{path}, line {line}: expected an image train_… or test_… and a number from 1 to 7, found {text.strip()!r}.",
                remedy="give the list as released",
            )
        names.append(words[0])
        codes.append(int(words[1]) - 1)
    return Stills(
        layout="RAF-DB",
        root=path,
        names=names,
        pictures=[folder / f"{Path(name).stem}{ending}{Path(name).suffix}" for name in names],
        labels=LABELS,
        target=hard_target(np.array(codes, np.int64), len(LABELS)),
        split=[name.split("_")[0] for name in names],
        licence=LICENCE,
    )


def _images(path: Path) -> tuple[Path, str]:
    """Return where the images lie, and how their names end."""
    for base in (path.parent, path.parent.parent):
        for name, ending in (("aligned", "_aligned"), ("original", "")):
            if (base / "Image" / name).is_dir():
                return base / "Image" / name, ending
    raise UsageError(
        f"{path} is the list of RAF-DB, and there is no Image/aligned beside or above it.",
        remedy="unpack Image/aligned.zip as released, beside EmoLabel",
    )
