"""Labelled single images: names, pictures, labels and what comes with them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from ...cache import checksum
from ...errors import SourceError, UsageError, some

HASHED_BYTES = 2**30  # of files whose content is looked at for the record


@dataclass(frozen=True, kw_only=True, eq=False)
class Stills:
    """Images, each with a share of every class."""

    layout: str  # "RAF-DB"
    root: Path
    names: Sequence[str]  # all different
    pictures: Sequence[Path] | np.ndarray  # files, or (N, h, w) uint8 grey
    labels: tuple[str, ...]
    target: np.ndarray  # (N, C) rows sum to 1
    soft: bool = False  # whether shares are other than all or nothing
    split: Sequence[str] = ()  # empty: there are none
    subject: Sequence[str] = ()
    box: np.ndarray | None = (
        None  # (N, 4) left, top, width, height of the face in the picture; the whole where a width is 0
    )
    licence: str = ""
    notes: tuple[str, ...] = ()  # what was left out

    def __post_init__(self) -> None:
        if not len(self.names):
            raise UsageError(f"{self.root} ({self.layout}) has no labelled image.", remedy="check the list")
        if len(set(self.names)) < len(self.names):
            raise UsageError(
                f"{self.root} names an image twice: {some(_repeated(self.names))}.", remedy="keep one line of each"
            )
        assert self.target.shape == (len(self.names), len(self.labels))
        assert np.allclose(self.target.sum(1), 1, atol=1e-4)
        if not isinstance(self.pictures, np.ndarray):
            missing = [str(path) for path in self.pictures if not os.path.isfile(path)]
            if missing:
                raise UsageError(
                    f"{len(missing)} of {len(self.names)} images of {self.root} are not there: {some(missing)}.",
                    remedy="restore them, or remove their lines from the list",
                )

    def lines(self) -> list[str]:
        """Return what was found."""
        kind = "soft labels" if self.soft else "labels"
        lines = [f"{self.layout}: {len(self.names)} images, {kind} of {len(self.labels)} classes"]
        lines += self.notes
        if self.licence:
            lines.append(f"licence of the images: {self.licence}")
        return lines

    @cached_property
    def digests(self) -> list[str]:
        """Return the digest of each file's content; none where there is too much to read, or there are no files."""
        if isinstance(self.pictures, np.ndarray) or self.num_bytes > HASHED_BYTES:
            return [""] * len(self.names)
        return [checksum.of_file(path).hex() for path in self.pictures]

    @cached_property
    def num_bytes(self) -> int:
        """Add the sizes of all pictures up."""
        if isinstance(self.pictures, np.ndarray):
            return self.pictures.nbytes
        return sum(path.stat().st_size for path in self.pictures)

    def picture(self, number: int, side: int) -> np.ndarray:
        """Bring one picture.  # → (S, S, 3) BGR"""
        found = self.pictures[number]
        if isinstance(found, np.ndarray):
            picture = cv2.cvtColor(found, cv2.COLOR_GRAY2BGR)
        else:
            picture = cv2.imread(str(found), cv2.IMREAD_COLOR)
            if picture is None:
                raise SourceError(
                    f"{found} is not an image that OpenCV can read.",
                    remedy="repair it, or remove its line from the list",
                )
        if self.box is not None and self.box[number, 2] > 0:
            left, top, width, height = self.box[number].tolist()
            part = picture[max(top, 0) : top + height, max(left, 0) : left + width]
            picture = part if part.size else picture
        shrinks = min(picture.shape[:2]) > side
        return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def hard_target(codes: np.ndarray, num_classes: int) -> np.ndarray:
    """Give each image's class the whole share.  # (N,) → (N, C)"""
    target = np.zeros((len(codes), num_classes), np.float32)
    target[np.arange(len(codes)), codes] = 1
    return target


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]
