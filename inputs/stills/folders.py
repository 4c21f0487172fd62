"""A folder of images for each class, perhaps below train, val and test."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..splits import SPLIT_OF
from .stills import Stills, hard_target

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def read(root: Path) -> Stills | None:
    """Read the folders; none where no folder holds images."""
    folders = _folders(root)
    halves = {SPLIT_OF.get(folder.name.casefold(), ""): folder for folder in folders}
    divided = bool(folders) and all(halves) and len(halves) == len(folders)
    found: list[tuple[Path, str, str]] = []
    for split, folder in sorted(halves.items()) if divided else [("", root)]:
        for home in _folders(folder):
            found += [(file, home.name, split) for file in sorted(home.rglob("*")) if file.suffix.lower() in SUFFIXES]
    if not found:
        return None
    labels = sorted({label for _, label, _ in found})
    return Stills(
        layout="folders",
        root=root,
        names=[str(file.relative_to(root)) for file, _, _ in found],
        pictures=[file for file, _, _ in found],
        labels=tuple(labels),
        target=hard_target(np.array([labels.index(label) for _, label, _ in found], np.int64), len(labels)),
        split=[split for _, _, split in found] if divided else [],
    )


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
