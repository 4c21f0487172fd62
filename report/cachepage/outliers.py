"""Clips far from the others in mean feature space: how far a clip is from its nearest neighbours, against how far clips are from theirs.

The mean of a feature over the frames with a face stands for the clip. Distances to neighbours, and not to the middle of all, because
classes and people form groups: a clip of a small group is no outlier as long as it has neighbours. What is usual is told by medians,
which outliers hardly move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...cache.reading.reader import Cache
from ...cache.watch import Progress, Watch

LEAST = 10  # clips, below which nothing is an outlier
NEIGHBOURS = 5
DEVIATIONS = 5.0  # of the logarithm of the distance, above its median; no clip of a normal distribution, or of three, lies so far (tests)
TIMES = 1.5  # as far as usual, at least: where all distances are nearly equal, deviations say little
COMPARED = 5_000  # clips among which neighbours are looked for, drawn at random where there are more
BLOCK = 1024  # clips at a time
NORMAL = 1.4826  # from a median absolute deviation to a standard deviation
SEED = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipMeans:
    """The mean features of clips that show a face."""

    places: np.ndarray  # (K,) of the clips
    means: np.ndarray  # (K, D)


def clip_means(cache: Cache, feature: str, watch: Watch | None = None) -> ClipMeans:
    """Read a feature once, in bounded memory."""
    watch = watch or Watch()
    places, means = [], []
    for clip in cache.iterate([feature]):
        if clip.mask.any():
            places.append(clip.index)
            means.append(clip.features[feature][clip.mask].mean(axis=0, dtype=np.float32))
        watch.progress(Progress(what="Reading", unit="clips", done=clip.index + 1, total=len(cache)))
    width = cache.schema.features[feature].shape[0]
    return ClipMeans(places=np.array(places, np.int64), means=np.reshape(means, (-1, width)))


def neighbour_distances(means: np.ndarray) -> np.ndarray:
    """Return each clip's distance to its fifth neighbour, among 5,000 clips at most.  # (K, D) → (K,)"""
    count = len(means)
    centred = (means - np.median(means, axis=0)).astype(np.float32)
    chosen = np.arange(count)
    if count > COMPARED:
        chosen = np.sort(np.random.default_rng(SEED).choice(count, COMPARED, replace=False))
    others, found = centred[chosen], np.empty(count, np.float32)
    lengths = (others**2).sum(axis=1)
    for start in range(0, count, BLOCK):
        block = centred[start : start + BLOCK]
        squares = (block**2).sum(axis=1)[:, None] + lengths - 2 * block @ others.T
        own = np.flatnonzero((chosen >= start) & (chosen < start + len(block)))
        squares[chosen[own] - start, own] = np.inf
        found[start : start + BLOCK] = np.partition(squares, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1]
    return np.sqrt(np.maximum(found, 0))


def outliers(found: ClipMeans) -> list[tuple[int, float]]:
    """Return the places of outliers and how many times as far from their neighbours as is usual they are, the furthest first."""
    if len(found.means) < LEAST:
        return []
    far = neighbour_distances(found.means).astype(np.float64)
    usual = float(np.median(far))
    if usual <= 0:  # more than half of the clips are alike
        return []
    times = far / usual
    logs = np.log(np.maximum(times, 1e-6))
    deviation = NORMAL * float(np.median(np.abs(logs)))
    order = np.argsort(-times, kind="stable")
    return [
        (int(found.places[row]), float(times[row]))
        for row in order
        if times[row] > TIMES and logs[row] > DEVIATIONS * deviation
    ]
