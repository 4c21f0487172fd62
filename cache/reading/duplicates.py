"""Clips that are there twice: the same frames of the same video, under other ids, in one cache or in several.

Two clips are the same if the digests of their sources are known and equal, they share frames of it, and their face boxes agree there.
Clips of several faces of one video (`--face all`), and neighbouring parts of one, are different clips. A digest is of a file's bytes: a
video that was encoded again has another one (near_duplicates.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from ..schema import NO_FOLD
from ..trained import hex_digest
from .reader import Cache

SAME_FACE = 0.5  # median overlap (intersection over union) of the boxes of one face
TELLING = {
    "subject": "",
    "label": None,
    "split": "",
    "fold": NO_FOLD,
}  # what copies may contradict each other in; unknown


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipList:
    """The clips of caches, one cache after the other, and which frames of which content each shows."""

    caches: tuple[Cache, ...]
    cache: np.ndarray  # (N,) which of them
    place: np.ndarray  # (N,) in its table of clips
    digest: np.ndarray  # (N,) text: of the source's content, empty when unknown
    span: np.ndarray  # (N, 2) its first frame in the source, and the one behind its last

    @classmethod
    def of(cls, caches: Sequence[Cache]) -> Self:
        """List the clips of caches."""
        first = np.concatenate([np.asarray(cache.clips.first_frame, np.int64) for cache in caches])
        count = np.concatenate([np.asarray(cache.clips.count, np.int64) for cache in caches])
        return cls(
            caches=tuple(caches),
            cache=np.repeat(np.arange(len(caches)), [len(cache) for cache in caches]),
            place=np.concatenate([np.arange(len(cache)) for cache in caches]),
            digest=np.array([hex_digest(one) for cache in caches for one in cache.clips.source_digest], str),
            span=np.stack([first, first + count], axis=1),
        )

    def __len__(self) -> int:
        return len(self.place)

    def id(self, row: int) -> str:
        """Return a clip's id."""
        return self.caches[self.cache[row]].ids[self.place[row]]

    def told(self, row: int) -> dict[str, Any]:
        """Return what a cache tells of a clip."""
        cache = self.caches[self.cache[row]]
        known = cache.clips.row(int(self.place[row]))
        first, stop = self.span[row].tolist()
        named = {name: known[name] for name in ("id", *TELLING)}
        return {"cache": str(cache.path), **named, "first": first, "stop": stop}

    def boxes(self, row: int, first: int, stop: int) -> np.ndarray:
        """Return the face boxes of a clip in frames of its source, NaN where it has no face."""
        start = int(self.caches[self.cache[row]].clips.start[self.place[row]]) - int(self.span[row, 0])
        return self._boxes[self.cache[row]][start + first : start + stop]

    @cached_property
    def _boxes(self) -> list[np.ndarray]:
        """Return all boxes of each cache: 16 bytes a frame."""
        return [cache.load_column("box") for cache in self.caches]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Clips that are one: the rows of a list."""

    rows: tuple[int, ...]
    similarity: float | None = None  # the lowest of its pairs; None where frames and faces are known to be the same

    def contradictions(self, clips: ClipList) -> list[str]:
        """Name what the caches tell differently of these clips; what is unknown contradicts nothing."""
        told = [clips.told(row) for row in self.rows]
        return [
            name for name, unknown in TELLING.items() if len({one[name] for one in told if one[name] != unknown}) > 1
        ]


def find_duplicates(clips: ClipList) -> list[Group]:
    """Return the groups of clips that show the same frames and the same face."""
    pairs = overlapping(clips)
    return [Group(rows=rows) for rows in joined(pairs[of_one_face(clips, pairs)])]


def overlapping(clips: ClipList) -> np.ndarray:
    """Return the pairs of rows, lower ones first, (P, 2), that share frames of one content, whatever face they show."""
    first, stop = clips.span.T
    known = np.flatnonzero((clips.digest != "") & (first < stop))
    order = known[np.lexsort((first[known], clips.digest[known]))]
    pairs: list[tuple[int, int]] = []
    still: list[int] = []  # earlier ones of the same content that have not ended
    for row in order.tolist():
        still = [one for one in still if clips.digest[one] == clips.digest[row] and stop[one] > first[row]]
        pairs += [(min(one, row), max(one, row)) for one in still]
        still.append(row)
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def of_one_face(clips: ClipList, pairs: np.ndarray) -> np.ndarray:
    """Return which overlapping pairs show the same face: their boxes agree in the frames that both have, or neither has a face there."""
    return np.array([_agree(clips, one, other) for one, other in pairs.tolist()], bool)


def joined(pairs: np.ndarray) -> list[tuple[int, ...]]:
    """Join pairs of rows that have one in common to groups."""
    group: dict[int, set[int]] = {}
    for one, other in pairs.tolist():
        merged = group.get(one, {one}) | group.get(other, {other})
        group |= dict.fromkeys(merged, merged)
    return sorted({tuple(sorted(rows)) for rows in group.values()})


def _agree(clips: ClipList, one: int, other: int) -> bool:
    first = int(max(clips.span[one, 0], clips.span[other, 0]))
    stop = int(min(clips.span[one, 1], clips.span[other, 1]))
    a, b = clips.boxes(one, first, stop), clips.boxes(other, first, stop)
    has_a, has_b = ~np.isnan(a[:, 0]), ~np.isnan(b[:, 0])
    both = has_a & has_b
    if not both.any():
        return not has_a.any() and not has_b.any()
    return float(np.median(_overlap(a[both].astype(np.float64), b[both].astype(np.float64)))) >= SAME_FACE


def _overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes, row by row; equal boxes, empty ones too, overlap fully."""
    shared = np.prod(np.maximum(np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2]), 0), axis=1)
    area = [np.prod(box[:, 2:] - box[:, :2], axis=1) for box in (one, other)]
    union = area[0] + area[1] - shared
    share = np.divide(shared, union, out=np.zeros(len(one)), where=union > 0)
    return np.where((one == other).all(axis=1), 1.0, share)
