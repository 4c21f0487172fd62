"""Clips that look like copies of each other: a video that was encoded again has other bytes, and nearly the same features.

The measure, from -1 to 1: features of frames with a face are whitened over all clips that are compared, so that what tells classes or
people apart counts no more than what tells two takes of one scene apart. Pairs whose clip means have a cosine of at least the threshold
are then compared frame by frame: both at the lower of their frame rates, at the offset that suits them best and overlaps by 75 % of the
shorter; the cosine of the two courses, all frames as one long vector. benchmarks/duplicates.py measures what it finds, and what not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...errors import UsageError, expect_range
from ..watch import Progress, Watch
from .duplicates import ClipList, Group, joined

SIMILARITY = 0.5  # rendered copies at half the size reach 0.38 to 0.86, other clips of the person at most 0.64 (benchmarks/duplicates.py)
RIDGE = 0.1  # of the mean variance, and D / frames of it, added to every direction: what hardly varies, or was hardly seen to, is noise
SAMPLED = 16  # frames a clip from which variances are taken
OVERLAP = 0.75  # of the shorter clip
LONGEST = 1000  # steps of a clip that are compared
BLOCK = 1024  # clips against all others at a time
RANGE = (0.1, 1.0)  # of the threshold; below it most pairs of a large cache would be compared frame by frame
TINY = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Whitened:
    """What clips look like in a feature, whitened over all of them."""

    clips: ClipList
    feature: str
    rows: np.ndarray  # (K,) of the list: those that show a face
    means: np.ndarray  # (K, D) of their frames, of length 1
    centre: np.ndarray  # (D,) of all frames
    whitening: np.ndarray  # (D, D)

    def course(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a clip's frames with a face, whitened, and their times."""
        cache = self.clips.caches[self.clips.cache[row]]
        clip = cache.clip(int(self.clips.place[row]), [self.feature])
        rows = clip.features[self.feature][clip.mask].astype(np.float32)
        return (rows - self.centre) @ self.whitening, clip.time[clip.mask]


def find_near_duplicates(
    clips: ClipList,
    feature: str | None = None,
    *,
    similarity: float = SIMILARITY,
    known: Sequence[Group] = (),
    watch: Watch | None = None,
) -> list[Group]:
    """Return the groups of clips that look alike in a feature, by default `gap`; pairs within `known` groups are left out."""
    expect_range("--similarity", similarity, *RANGE, default=SIMILARITY)
    watch = watch or Watch()
    looks = whiten(clips, feature_of(clips, feature), watch)
    return compare(looks, unknown_pairs(looks, similarity, known), similarity, watch)


def unknown_pairs(looks: Whitened, similarity: float, known: Sequence[Group] = ()) -> np.ndarray:
    """Return the pairs of rows of the list, (P, 2), whose means are alike, those within `known` groups left out; the most alike first."""
    pairs = close_pairs(looks.means, similarity)
    alike = np.einsum("pd,pd->p", looks.means[pairs[:, 0]], looks.means[pairs[:, 1]])
    rows = looks.rows[pairs[np.argsort(-alike, kind="stable")]]
    group_of = np.full(len(looks.clips), -1)
    for number, group in enumerate(known):
        group_of[list(group.rows)] = number
    groups = group_of[rows]
    return rows[(groups[:, 0] < 0) | (groups[:, 0] != groups[:, 1])]


def compare(looks: Whitened, rows: np.ndarray, similarity: float, watch: Watch | None = None) -> list[Group]:
    """Return the groups of clips that look alike frame by frame, of pairs of rows, (P, 2)."""
    watch = watch or Watch()
    course = lru_cache(maxsize=256)(looks.course)
    pairs = sorted(map(tuple, rows.tolist()))  # neighbours share a clip, which is read once
    found: dict[tuple[int, int], float] = {}
    for done, (one, other) in enumerate(pairs, start=1):
        alike = course_similarity(*course(one), *course(other))
        if alike >= similarity:
            found[one, other] = alike
        watch.progress(Progress(what="Comparing", unit="pairs", done=done, total=len(pairs)))
    lowest: dict[tuple[int, ...], float] = {}
    groups = {row: group for group in joined(np.array(list(found), np.int64).reshape(-1, 2)) for row in group}
    for (one, _), alike in found.items():
        lowest[groups[one]] = min(alike, lowest.get(groups[one], alike))
    return [Group(rows=group, similarity=alike) for group, alike in sorted(lowest.items())]


def feature_of(clips: ClipList, feature: str | None = None) -> str:
    """Return the array to compare, which every cache has, made in one way."""
    first = clips.caches[0]
    flat = [name for name in first.features if len(first.schema.features[name].shape) == 1]
    name = feature or ("gap" if "gap" in flat else next(iter(flat), ""))
    if name not in flat:
        raise UsageError(
            f"{first.path} has the arrays of one row a frame {', '.join(flat) or 'none'}; asked for {name or 'one'!r}."
        )
    for cache in clips.caches[1:]:
        if cache.recipes.fingerprints().get(name) != first.recipes.fingerprints()[name]:
            raise UsageError(
                f"{cache.path} does not have the {name!r} of {first.path}: features of other weights are not comparable.",
                remedy="--feature with an array that all of them have, made in one way",
            )
    return name


def close_pairs(means: np.ndarray, similarity: float) -> np.ndarray:
    """Return the pairs of rows, lower ones first, (P, 2), whose cosine is at least so much; `means` are of length 1."""
    pairs = [np.empty((0, 2), np.int64)]
    for start in range(0, len(means), BLOCK):
        found = np.argwhere(means[start : start + BLOCK] @ means[start:].T >= similarity)
        pairs.append(found[found[:, 0] < found[:, 1]] + start)
    return np.concatenate(pairs)


def course_similarity(one: np.ndarray, time_one: np.ndarray, other: np.ndarray, time_other: np.ndarray) -> float:
    """Return the cosine of two courses, (frames, D) with their times, at the offset that suits them best."""
    gaps = [float(np.median(np.diff(time))) if len(time) > 1 else 0.0 for time in (time_one, time_other)]
    longest = max(float(time[-1] - time[0]) for time in (time_one, time_other))
    step = max(*gaps, longest / LONGEST) or 1.0
    a, b = _at_rate(one, time_one, step), _at_rate(other, time_other, step)
    products = a @ b.T
    size_a, size_b = (np.concatenate([[0.0], np.cumsum((x.astype(np.float64) ** 2).sum(axis=1))]) for x in (a, b))
    need = int(np.ceil(OVERLAP * min(len(a), len(b))))
    best = -1.0
    for offset in range(need - len(a), len(b) - need + 1):  # of the other against the one
        first, stop = max(0, -offset), min(len(a), len(b) - offset)
        length = (size_a[stop] - size_a[first]) * (size_b[stop + offset] - size_b[first + offset])
        best = max(best, float(np.trace(products, offset) / max(np.sqrt(max(length, 0.0)), TINY)))
    return best


def _at_rate(rows: np.ndarray, time: np.ndarray, step: float) -> np.ndarray:
    """Take the nearest frame every `step` seconds."""
    grid = np.arange(time[0], time[-1] + step / 2, step)
    right = np.searchsorted(time, grid).clip(1, max(len(time) - 1, 1)) if len(time) > 1 else np.zeros(len(grid), int)
    left = (right - 1).clip(0)
    return rows[np.where(np.abs(time[left] - grid) <= np.abs(time[right] - grid), left, right)]


def whiten(clips: ClipList, feature: str, watch: Watch | None = None) -> Whitened:
    """Look at all clips once, in bounded memory."""
    watch = watch or Watch()
    width = clips.caches[0].schema.features[feature].shape[0]
    rows, means, frames = [], [], 0
    total, products = np.zeros(width), np.zeros((width, width))
    first = np.searchsorted(clips.cache, np.arange(len(clips.caches)))
    for number, cache in enumerate(clips.caches):
        for clip in cache.iterate([feature]):
            row = int(first[number]) + clip.index
            seen = clip.features[feature][clip.mask].astype(np.float32)
            if len(seen):
                rows.append(row)
                means.append(seen.mean(axis=0))
                some = seen[np.unique(np.linspace(0, len(seen) - 1, SAMPLED).astype(int))].astype(np.float64)
                frames += len(some)
                total += some.sum(axis=0)
                products += some.T @ some
            watch.progress(Progress(what="Reading", unit="clips", done=row + 1, total=len(clips)))
    centre = total / max(frames, 1)
    variance, directions = np.linalg.eigh(products / max(frames, 1) - np.outer(centre, centre))
    ridge = max((RIDGE + width / max(frames, 1)) * float(variance.mean()), TINY)
    whitening = (directions / np.sqrt(np.maximum(variance, 0) + ridge)).astype(np.float32)
    middle = (np.reshape(means, (-1, width)) - centre).astype(np.float32) @ whitening
    return Whitened(
        clips=clips,
        feature=feature,
        rows=np.array(rows, np.int64),
        means=middle / np.maximum(np.linalg.norm(middle, axis=1, keepdims=True), TINY),
        centre=centre.astype(np.float32),
        whitening=whitening,
    )
