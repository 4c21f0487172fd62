"""What stands in for deleted frames: the features of a person's resting face, the mean over frames outside onset to offset.

Legend: N clips, D feature width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...cache import Cache

MOMENTS = ("onset", "apex", "offset")


def moments(cache: Cache, ids: Sequence[str]) -> np.ndarray:
    """Return onset, apex and offset of clips, −1 where one is not known.  # → (N, 3)"""
    columns = cache.clips.columns
    unknown = np.full(len(cache), -1)
    place = {name: number for number, name in enumerate(cache.ids)}
    rows = np.array([place.get(name, -1) for name in ids], int)
    found = np.stack([np.asarray(columns.get(name, unknown))[rows] for name in MOMENTS], 1)
    return np.where(rows[:, None] >= 0, found, -1)


def resting_faces(cache: Cache, feature: str, subjects: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the resting face of each clip's person, and of which clips it is that of all people instead.  # (N,) → (N, D), (N,)

    Of a person all clips of the cache count whose onset and offset are known: their frames with a face outside of these.
    """
    known = moments(cache, cache.ids)
    which = np.flatnonzero((known[:, 0] >= 0) & (known[:, 2] >= known[:, 0]))
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for place, clip in zip(which.tolist(), cache.iterate([feature], which=which), strict=True):
        onset, _, offset = known[place].tolist()
        frame = np.arange(len(clip.mask))
        resting = np.asarray(clip.mask, bool) & ((frame < onset) | (frame > offset))
        who = cache.clips.subject[place]
        total = clip.features[feature][resting].astype(np.float64).sum(0)
        sums[who] = sums.get(who, 0.0) + total
        counts[who] = counts.get(who, 0) + int(resting.sum())
    everybody = sum(sums.values()) / max(sum(counts.values()), 1)
    own = [bool(name) and counts.get(name, 0) > 0 for name in subjects]
    rows = [sums[name] / counts[name] if has else everybody for name, has in zip(subjects, own, strict=True)]
    return np.stack(rows).astype(np.float32), ~np.array(own, bool)
