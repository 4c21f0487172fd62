"""AffectNet: numbered images with an annotation file each, or the lists of the full release.

    train_set/images/0.jpg, train_set/annotations/0_exp.npy; val_set/ alike
    training.csv, validation.csv     subDirectory_filePath, face_x, …, expression, …
    Manually_Annotated_Images/       the images that the lists name

In the lists a face is a box in a larger picture, and it is cut out. Expressions above 7 are none, uncertain, or no face: left out.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...cache.arrayfile import UNREADABLE
from ...errors import UsageError
from .stills import Stills, hard_target
from .tables import read_table

LABELS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")  # 0 to 7
LISTS = ("training.csv", "validation.csv")
HALVES = {"train_set": "train", "val_set": "val", ".": ""}
NAMES = {"train": "train", "training": "train", "val": "val", "validation": "val", "valid": "val"}
BELOW = (".", "Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images", "images")
BOX = ("face_x", "face_y", "face_width", "face_height")
SUFFIXES = (".jpg", ".jpeg", ".png")
LAYOUT = "AffectNet"
LICENCE = "AffectNet: non-commercial research; an agreement with the authors"


def is_list(header: Sequence[str]) -> bool:
    """Return whether a list is one of AffectNet's."""
    return {"subDirectory_filePath", "expression"} <= set(header)


def find_halves(root: Path) -> dict[Path, str]:
    """Return the folders with images and annotations, and the split of each."""
    return {
        root / name: split
        for name, split in HALVES.items()
        if (root / name / "annotations").is_dir() and (root / name / "images").is_dir()
    }


def read_halves(root: Path, halves: dict[Path, str]) -> Stills:
    """Read folders of images and annotations."""
    names, files, codes, split = [], [], [], []
    for folder, half in halves.items():
        for file in sorted((folder / "images").iterdir()):
            if file.suffix.lower() in SUFFIXES:
                names.append(str(file.relative_to(root)))
                files.append(file)
                codes.append(_expression(folder / "annotations" / f"{file.stem}_exp.npy"))
                split.append(half)
    return _stills(root, names, files, np.array(codes, np.int64), split if any(split) else [], None)


def read_lists(paths: Sequence[Path]) -> Stills:
    """Read the lists of the full release."""
    names, files, codes, split, box = [], [], [], [], []
    for path in paths:
        half = NAMES.get(path.stem.casefold(), "")
        below = _images(path)
        for line, cells in read_table(path):
            names.append(cells["subDirectory_filePath"])
            files.append(below / cells["subDirectory_filePath"])
            codes.append(_number(cells["expression"], f"{path}, line {line}: expression"))
            boxed = all(name in cells for name in BOX)
            box.append([_number(cells[name], f"{path}, line {line}: {name}") for name in BOX] if boxed else [0] * 4)
            split.append(half)
    return _stills(
        paths[0].parent if len(paths) > 1 else paths[0],
        names,
        files,
        np.array(codes, np.int64),
        split if len(paths) > 1 else [],
        np.array(box, np.int64).reshape(-1, 4),
    )


def _stills(
    root: Path, names: list[str], files: list[Path], codes: np.ndarray, split: list[str], box: np.ndarray | None
) -> Stills:
    kept = np.flatnonzero((codes >= 0) & (codes < len(LABELS)))
    dropped = len(codes) - len(kept)
    return Stills(
        layout=LAYOUT,
        root=root,
        names=[names[number] for number in kept.tolist()],
        pictures=[files[number] for number in kept.tolist()],
        labels=LABELS,
        target=hard_target(codes[kept], len(LABELS)),
        split=[split[number] for number in kept.tolist()] if split else [],
        box=None if box is None else box[kept],
        licence=LICENCE,
        notes=(f"{dropped} images are left out: none of the eight expressions",) if dropped else (),
    )


def _expression(path: Path) -> int:
    """Read what an annotation says: a number, as text."""
    try:
        with open(path, "rb") as file, warnings.catch_warnings(action="ignore"):  # of a head as Python 2 wrote it
            return int(str(np.load(file, allow_pickle=False)))
    except FileNotFoundError as error:
        raise UsageError(f"There is no annotation {path}.", remedy="unpack annotations/ as released") from error
    except UNREADABLE as error:
        raise UsageError(f"{path} is no number of an expression.", remedy="give annotations/ as released") from error


def _images(path: Path) -> Path:
    """Return the folder below which a list's first image is, the list's own where it is nowhere."""
    first = next((cells["subDirectory_filePath"] for _, cells in read_table(path)), "")
    return next((path.parent / name for name in BELOW if os.path.isfile(path.parent / name / first)), path.parent)


def _number(text: str, where: str) -> int:
    try:
        return int(float(text))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{where} is a whole number, found {text!r}.", remedy="give the list as released") from error
