"""The fields of a clip, row by row, and what is made of each: a picture for the encoder, one of the mirrored field, the field itself.

Flow is mirrored before it is coloured: a direction is a hue, and a picture that is turned over keeps its hues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...crops.jpeg import decode_crop, encode_crop
from . import field
from .colour import picture_of
from .field import row_of
from .selection import neighbours

PLAIN, MIRRORED = 0, 1  # tracks of pictures


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be made of each field."""

    tracks: tuple[int, ...] = (PLAIN,)  # PLAIN, MIRRORED
    encoded: bool = True  # pictures go to an encoder
    fields: bool = False  # rows of the flow itself
    quality: int = 0  # of the JPEG that pictures pass through; 0: none


class FlowPictures:
    """Takes one field after the other; pictures go to `encode`, with their track and row."""

    def __init__(self, size: int, encode: Callable[[int, int, np.ndarray], None], wanted: Wanted) -> None:
        self.wanted = wanted
        self.jpegs: list[bytes] = []  # of plain pictures
        self._size, self._encode = size, encode
        self._fields: list[np.ndarray] = []
        self._row = 0

    def add(self, moved: np.ndarray) -> None:
        """Take the next row's field.  # (S, S, 2)"""
        if self.wanted.fields:
            self._fields.append(row_of(moved))
        for track in self.wanted.tracks:
            picture = picture_of(field.mirrored(moved) if track == MIRRORED else moved, self._size)
            if self.wanted.quality:
                jpeg = encode_crop(picture, self.wanted.quality)
                picture = decode_crop(jpeg)
                self.jpegs += [jpeg] * (track == PLAIN)
            if self.wanted.encoded:
                self._encode(track, self._row, picture)
        self._row += 1

    @property
    def features(self) -> Mapping[str, np.ndarray]:
        """Return the rows that no encoder makes."""
        return {field.FIELD: np.stack(self._fields)} if self._fields else {}


def fields_of(onset: np.ndarray, later: Mapping[int, np.ndarray], places: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the flow from the onset to each place, between frames the mean of its neighbours'.  # each (S, S, 2)"""
    known: dict[int, np.ndarray] = {}
    for place in places.tolist():
        parts = neighbours(place)
        known = {frame: moved for frame, moved in known.items() if frame >= parts[0][0]}
        for frame, _ in parts:
            if frame not in known:
                known[frame] = field.flow(onset, later[frame])
        yield field.mixed([(known[frame], share) for frame, share in parts])
