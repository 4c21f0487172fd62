"""FER2013: one CSV with the pixels of 35,887 grey faces of 48 × 48; and FER+, ten people's votes on each of them.

The votes stand in another file, line by line in the order of the first. Their soft labels are the way to the backbone of EST's paper. A
face on which most agree that it is none, or that they cannot tell, is left out, as is one on which no emotion has a vote.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import UsageError
from .stills import Stills, hard_target
from .tables import header_of, read_table

LISTS = ("fer2013.csv", "icml_face_data.csv")
SIDE = 48
LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")  # 0 to 6
VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
NOTHING = ("unknown", "NF")
SPLITS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
LICENCE = "FER2013: pictures from the web, for research, as we understand it"
LICENCE_OF_VOTES = "; the votes of FER+ have a licence of their own (MIT, as we understand it)"


def read(path: Path, votes: Path | None) -> Stills:
    """Read faces, and the votes on them where they are given."""
    pixels, codes, split = [], [], []
    for line, cells in read_table(path, ["emotion", "pixels", "Usage"]):
        pixels.append(_face(cells["pixels"], path, line))
        codes.append(_code(cells["emotion"], path, line))
        split.append(_split(cells["Usage"], path, line))
    names = [f"fer{number:07d}" for number in range(len(pixels))]
    faces = np.array(pixels, np.uint8).reshape(len(pixels), SIDE, SIDE)
    if votes is None:
        return Stills(
            layout="FER2013",
            root=path,
            names=names,
            pictures=faces,
            labels=LABELS,
            target=hard_target(np.array(codes, np.int64), len(LABELS)),
            split=split,
            licence=LICENCE,
        )
    target, kept, notes = _shares(votes, split)
    return Stills(
        layout="FER2013 with the votes of FER+",
        root=path,
        names=[names[number] for number in kept.tolist()],
        pictures=faces[kept],
        labels=VOTES,
        target=target,
        soft=True,
        split=[split[number] for number in kept.tolist()],
        licence=LICENCE + LICENCE_OF_VOTES,
        notes=notes,
    )


def _shares(path: Path, split: list[str]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Turn votes into shares; return those that say something, which images these are, and how many say nothing.  # (N, C), (N,)"""
    if not path.is_file():
        raise UsageError(f"There are no votes at {path}.", remedy="--votes fer2013new.csv, of FER+")
    usage = next((name for name in header_of(path) if name.casefold() == "usage"), "Usage")
    rows, found = [], []
    for line, cells in read_table(path, [usage, *VOTES, *NOTHING]):
        try:
            rows.append([float(cells[name]) for name in (*VOTES, *NOTHING)])
        except ValueError as error:
            raise UsageError(
                f"{path}, line {line}: votes are numbers.", remedy="give fer2013new.csv as released"
            ) from error
        found.append(_split(cells[usage], path, line))
    if found != split:
        raise UsageError(
            f"{path} and the images do not belong together: {len(found)} lines for {len(split)} images"
            f"{', in other splits' if len(found) == len(split) else ''}.",
            remedy="give both lists as released: their lines are in the same order",
        )
    votes = np.array(rows, np.float64).reshape(len(rows), len(VOTES) + len(NOTHING))
    emotions, nothing = votes[:, : len(VOTES)], votes[:, len(VOTES) :]
    says = (emotions.sum(1) > 0) & (emotions.max(1) > nothing.max(1))
    kept = np.flatnonzero(says)
    target = (emotions[kept] / emotions[kept].sum(1, keepdims=True)).astype(np.float32)
    dropped = len(says) - len(kept)
    return target, kept, (f"{dropped} images are left out: most votes say unknown or no face",) if dropped else ()


def _face(text: str, path: Path, line: int) -> np.ndarray:
    try:
        found = np.frombuffer(bytes(map(int, text.split())), np.uint8)  # bytes are from 0 to 255
    except ValueError:
        found = np.empty(0, np.uint8)
    if len(found) != SIDE**2:
        raise UsageError(
            f"{path}, line {line}: pixels are {SIDE**2} numbers from 0 to 255, found {len(text.split())} words.",
            remedy="give fer2013.csv as released",
        )
    return found


def _code(text: str, path: Path, line: int) -> int:
    if text not in map(str, range(len(LABELS))):
        raise UsageError(f"{path}, line {line}: an emotion is 0 to {len(LABELS) - 1}, found {text!r}.")
    return int(text)


def _split(text: str, path: Path, line: int) -> str:
    if text not in SPLITS:
        raise UsageError(f"{path}, line {line}: usage is {', '.join(SPLITS)}; found {text!r}.")
    return SPLITS[text]
