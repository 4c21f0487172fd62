"""How well the faces of all clips of a cache were followed: whole runs of clips at once, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..quality import box_steps
from ..schema import NO_FACE
from .reader import Cache

FRAMES = 2**20  # read at a time: 17 MB of boxes and states


def clip_quality(cache: Cache) -> dict[str, np.ndarray]:
    """Return coverage and box jitter of every clip of a cache.  # (N,)"""
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
