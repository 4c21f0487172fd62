"""From detections frame by frame to chains: which of them show the same face.

Faces are linked by the overlap of their boxes, best pair first. A chain is expected where its motion carries it, so that two faces that
pass each other keep their own; a face found in none of those places is looked for where it was last. Nothing is linked across a cut. The
result depends neither on the order in which frames are given nor on that of the faces in a frame. Of a crowd the largest faces are
followed: to compare ten thousand with ten thousand takes gigabytes, and a face that small is no clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

MOST_FACES = 256  # of a frame that are followed
MOTION_DETECTIONS = 4  # the last ones, from which a face's speed is read: fewer follow jitter, more lag behind a turn


class Detections(Protocol):
    """The faces found in one frame."""

    @property
    def boxes(self) -> np.ndarray:
        """x0, y0, x1, y1 in pixels, at the edges of the face.  # (n, 4)"""
        ...

    @property
    def scores(self) -> np.ndarray:
        """How sure the detector is.  # (n,)"""
        ...

    @property
    def landmarks(self) -> np.ndarray:
        """Eyes, nose tip, mouth corners; NaN from a detector that has none.  # (n, 5, 2)"""
        ...


@dataclass(eq=False)
class Chain:
    """Detections of one face, in order."""

    scene: int
    frames: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    landmarks: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    places: list[int] = field(default_factory=list)  # among the faces of its frame, as the detector gave them

    def add(self, frame: int, face: Face) -> None:
        """Append one detection."""
        box, landmarks, score, place = face
        self.frames.append(frame)
        self.places.append(place)
        self.boxes.append(box)
        self.landmarks.append(landmarks)
        self.scores.append(score)

    def expected(self, frame: int) -> np.ndarray:
        """Return the box to look in: the last one, moved on at the speed of the last few.  # (4,)"""
        frames = np.array(self.frames[-MOTION_DETECTIONS:], float)
        boxes = np.array(self.boxes[-MOTION_DETECTIONS:])
        if len(frames) < 2:
            return boxes[-1]
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        away = frames - frames.mean()
        speed = away @ centres / (away @ away)
        return boxes[-1] + np.tile(speed * (frame - frames[-1]), 2)


Face = tuple[np.ndarray, np.ndarray, float, int]  # box, landmarks, score, place among the frame's faces


def link(detections: Mapping[int, Detections], cuts: Sequence[int], *, min_iou: float, max_gap: int) -> list[Chain]:
    """Return the chains of a clip, by first frame and then from left to right.

    A chain continues after at most `max_gap` frames without its face; where the detector runs more rarely, from one run to the next.
    """
    borders = np.unique(np.asarray(cuts, int))
    done: list[Chain] = []
    active: list[Chain] = []
    scene, before = -1, -1
    for frame in sorted(detections):
        now = int(np.searchsorted(borders, frame, side="right"))
        going = [now == scene and (c.frames[-1] == before or frame - c.frames[-1] - 1 <= max_gap) for c in active]
        done += [chain for chain, goes_on in zip(active, going, strict=True) if not goes_on]
        alive = [chain for chain, goes_on in zip(active, going, strict=True) if goes_on]
        active, scene, before = alive, now, frame
        faces = _faces(detections[frame])
        chains, free = list(active), list(range(len(faces)))
        for place in (Chain.expected, _last_box):
            pairs = _pairs([place(chain, frame) for chain in chains], [faces[i][0] for i in free], min_iou)
            for row, column in pairs:
                chains[row].add(frame, faces[free[column]])
            rows, columns = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
            chains = [chain for row, chain in enumerate(chains) if row not in rows]
            free = [i for column, i in enumerate(free) if column not in columns]
        for i in free:
            active.append(Chain(scene))
            active[-1].add(frame, faces[i])
    return sorted(done + active, key=lambda chain: (chain.frames[0], *chain.boxes[0].tolist()))


def iou(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return the overlap of boxes: intersection over union, 0 where there is no area.  # (..., 4), (..., 4) → (...)"""
    one, two = np.asarray(one, float), np.asarray(two, float)
    common = np.maximum(np.minimum(one[..., 2:], two[..., 2:]) - np.maximum(one[..., :2], two[..., :2]), 0).prod(-1)
    union = area(one) + area(two) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def area(boxes: np.ndarray) -> np.ndarray:
    """Return the area of boxes.  # (..., 4) → (...)"""
    return np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(-1)


def _faces(found: Detections) -> list[Face]:
    """Return a frame's faces from left to right, whatever order the detector gave them in."""
    boxes, scores = np.asarray(found.boxes, float), np.asarray(found.scores, float)
    landmarks = np.asarray(found.landmarks, float)
    order = np.lexsort((-scores, *boxes.T[::-1]))
    if len(order) > MOST_FACES:
        order = order[np.sort(np.argsort(-area(boxes[order]), kind="stable")[:MOST_FACES])]
    return [(boxes[i], landmarks[i], float(scores[i]), int(i)) for i in order]


def _last_box(chain: Chain, _: int) -> np.ndarray:
    return chain.boxes[-1]


def _pairs(rows: list[np.ndarray], columns: list[np.ndarray], min_iou: float) -> list[tuple[int, int]]:
    """Pair boxes greedily, the best overlap first; of equal ones the earlier."""
    if not rows or not columns:
        return []
    overlap = iou(np.stack(rows)[:, None], np.stack(columns)[None])
    pairs: list[tuple[int, int]] = []
    used: tuple[set[int], set[int]] = (set(), set())
    for place in np.argsort(-overlap, axis=None, kind="stable").tolist():
        row, column = divmod(place, len(columns))
        if overlap[row, column] < min_iou:
            break
        if row not in used[0] and column not in used[1]:
            pairs.append((row, column))
            used[0].add(row)
            used[1].add(column)
    return pairs
