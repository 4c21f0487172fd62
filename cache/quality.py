"""How well a clip's face was followed: the share of frames that show it, and how far its box jumps from frame to frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .schema import NO_FACE

if TYPE_CHECKING:
    from .reader import Cache

FRAMES = 2**20  # read at a time: 17 MB of boxes and states


def coverage(state: np.ndarray) -> float:
    """Return the share of frames that show a face, 0 without frames.  # (T,)"""
    return float((np.asarray(state) != NO_FACE).mean()) if len(state) else 0.0


def box_jitter(box: np.ndarray, state: np.ndarray) -> float:
    """Return the median step of the box's middle between neighbouring frames with a face, in sides; NaN without two.  # (T, 4), (T,)"""
    face = np.asarray(state) != NO_FACE
    both = face[1:] & face[:-1]
    if not both.any():
        return float("nan")
    return float(np.median(box_steps(box)[both]))


def box_steps(box: np.ndarray) -> np.ndarray:
    """Return how far the box's middle moves from each frame to the next, in sides; NaN without a face.  # (T, 4) → (T − 1,)"""
    box = np.asarray(box, np.float64)
    middle = (box[:, :2] + box[:, 2:]) / 2
    side = np.maximum(box[:, 2:] - box[:, :2], 1.0).max(1)
    return np.linalg.norm(np.diff(middle, axis=0), axis=1) / side[:-1]


def clip_quality(cache: Cache) -> dict[str, np.ndarray]:
    """Return coverage and box jitter of every clip of a cache, whole runs of clips at once, in bounded memory.  # (N,)"""
    starts, counts = (np.asarray(cache.clips.columns[name], np.int64) for name in ("start", "count"))
    arrays = cache.schema.frame_arrays()
    found = {"coverage": np.zeros(len(cache)), "box_jitter": np.full(len(cache), np.nan)}
    for places in _runs(starts, counts):
        first = int(starts[places[0]])
        stop = int((starts[places] + counts[places]).max())
        state, box = (cache.snapshot.rows(arrays[name], first, stop) for name in ("state", "box"))
        values = _quality(state, box, starts[places] - first, counts[places])
        for name, column in zip(("coverage", "box_jitter"), values, strict=True):
            found[name][places] = column
    return found


def _runs(starts: np.ndarray, counts: np.ndarray) -> Iterator[np.ndarray]:
    """Cut clips, by where their rows begin, into runs of at most so many frames, or of one clip."""
    run: list[int] = []
    for place in np.argsort(starts, kind="stable").tolist():
        if run and starts[place] + counts[place] - starts[run[0]] > FRAMES:
            yield np.array(run)
            run = []
        run.append(place)
    if run:
        yield np.array(run)


def _quality(
    state: np.ndarray, box: np.ndarray, starts: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return coverage and jitter of clips whose rows lie in these; the same numbers as of each by itself."""
    face = np.asarray(state) != NO_FACE
    seen = np.concatenate([[0], np.cumsum(face)])
    covered = np.divide(seen[starts + counts] - seen[starts], counts, out=np.zeros(len(counts)), where=counts > 0)
    owner = np.full(len(face), -1)
    rows = np.repeat(starts - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
    owner[rows] = np.repeat(np.arange(len(counts)), counts)
    pairs = np.flatnonzero(face[1:] & face[:-1] & (owner[1:] == owner[:-1]) & (owner[1:] >= 0))
    steps = box_steps(box)[pairs]
    order = np.lexsort((steps, owner[pairs]))
    steps, number = steps[order], np.bincount(owner[pairs], minlength=len(counts))
    begin, some = np.concatenate([[0], np.cumsum(number)[:-1]]), np.flatnonzero(number)
    jitter = np.full(len(counts), np.nan)
    low, high = begin[some] + (number[some] - 1) // 2, begin[some] + number[some] // 2
    jitter[some] = (steps[low] + steps[high]) / 2
    return covered, jitter
