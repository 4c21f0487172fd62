"""Clips far from the others in mean feature space, by medians, which the outliers themselves hardly move.

The means of a feature over the frames with a face are centred by their median and turned to their principal directions. Two distances
count: within the first directions, each scaled by its median absolute deviation, and from the space of these directions. A clip is an
outlier where one of them lies many deviations above the median of all clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...cache.reader import Cache
from ...cache.watch import Progress, Watch

LEAST = 10  # clips, below which nothing is an outlier
DEVIATIONS = 5.0  # above the median; no clip of a normal distribution, or of three, lies so far (tests)
DIRECTIONS = 20
NORMAL = 1.4826  # from a median absolute deviation to a standard deviation


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


def outlyingness(means: np.ndarray) -> np.ndarray:
    """Return by how many deviations each clip lies further from the others than the median clip does.  # (K, D) → (K,)"""
    if len(means) < LEAST:
        return np.zeros(len(means))
    centred = means.astype(np.float64) - np.median(means, axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    first = vectors[:, ::-1][:, : min(DIRECTIONS, len(means) // 5)]
    first = first[:, values[::-1][: first.shape[1]] > values[-1] * 1e-9] if values[-1] > 0 else first[:, :0]
    inside = centred @ first
    scaled = (inside - np.median(inside, axis=0)) / _deviation(inside)
    rest = centred - inside @ first.T
    distances = np.stack([np.linalg.norm(scaled, axis=1), np.linalg.norm(rest, axis=1)], axis=1)
    return ((distances - np.median(distances, axis=0)) / _deviation(distances)).max(axis=1)


def outliers(found: ClipMeans) -> list[tuple[int, float]]:
    """Return the places of outliers with their deviations, the furthest first."""
    far = outlyingness(found.means)
    order = np.argsort(-far, kind="stable")
    return [(int(found.places[row]), float(far[row])) for row in order if far[row] > DEVIATIONS]


def _deviation(columns: np.ndarray) -> np.ndarray:
    """Return the deviation of each column, by its median; by its mean where more than half are equal; 1 where all are.  # (K, C) → (C,)"""
    robust = NORMAL * np.median(np.abs(columns - np.median(columns, axis=0)), axis=0)
    plain = columns.std(axis=0)
    floor = 1e-9 * max(float(np.abs(columns).max(initial=0.0)), 1e-12)
    return np.where(robust > floor, robust, np.where(plain > floor, plain, 1.0))
