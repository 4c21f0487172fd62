"""Who a clip shows: the tracks of its main face told apart into people, and what is kept of them.

Nothing is known of who a person is; what is told apart is how two stretches of a face look (`looks.py`). A stretch belongs to the known
person whom it looks most like, if a quarter of its pictures look like any of that person, else a new person begins. So a hand before the
face in most of its pictures does not make a person another one, and two people of one look are one person here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...cache.schema import NO_FACE
from .looks import Looks, digest
from .track import Track, join, join_trimmed, main_tracks, num_dropped, select
from .track_config import TrackConfig

DIFFERENT = 7.5  # distance of pictures from which on they show two people; benchmarks/identity.py --development
ALIKE = 0.25  # of a stretch's pictures that look like one of the person whom it shows
LEAST_SEEN, MOST_SEEN = 3, 256  # pictures of a stretch that say who it is, and of a person that are compared
UNKNOWN = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """The tracks that become clips, and what is known of who they show."""

    tracks: list[Track]
    identity_changes: int = UNKNOWN  # in what the tracks show, each by itself
    people: int = UNKNOWN  # whom the main face of the source was
    dropped: int = 0  # faces that are too small or too short to be clips of their own
    left_out: int = 0  # frames that show the main face of the scene, and are no part of any track


def select_people(tracks: Sequence[Track], looks: Looks, config: TrackConfig) -> Selection:
    """Choose tracks as `select` does, and of the main one say whether another person takes over, and keep those that are wanted."""
    if config.face != "main" or not tracks:
        dropped = num_dropped(tracks, config) if config.face == "all" else 0
        return Selection(tracks=select(tracks, config), dropped=dropped)
    parts = sorted(main_tracks(tracks), key=lambda track: track.start)
    people = people_of([looks.of(track.faces) for track in parts])
    if people is None:
        return Selection(tracks=[join(parts)])
    runs = _runs(parts, people)
    if config.across_cuts == "split":
        return Selection(tracks=[join_trimmed(run) for run, _ in runs], identity_changes=0, people=max(people) + 1)
    if config.across_cuts == "longest":
        frames = np.bincount(people, [_num_faces(part) for part in parts])
        longest = int(frames.argmax())  # of equal ones the person who came first
        return Selection(
            tracks=[join([part for part, person in zip(parts, people, strict=True) if person == longest])],
            identity_changes=0,
            people=max(people) + 1,
            left_out=int(frames.sum() - frames[longest]),
        )
    return Selection(tracks=[join(parts)], identity_changes=len(runs) - 1, people=max(people) + 1)


def people_of(looks: Sequence[np.ndarray]) -> list[int] | None:
    """Return for each stretch of a face the number of its person, in order of appearance; None where too little was seen of each.

    A stretch of which too little was seen goes with the one before it.  # each (n, D)
    """
    known: list[np.ndarray] = []  # what was seen of each person
    found: list[int] = []
    for seen in looks:
        if len(seen) < LEAST_SEEN:
            found.append(found[-1] if found else 0)
            continue
        seen = _some(seen)
        away = np.array([distance(seen, person) for person in known] or [np.inf])
        person = int(away.argmin())
        if away[person] > DIFFERENT:
            person = len(known)
            known.append(seen)
        else:
            known[person] = _some(np.concatenate([known[person], seen]))
        found.append(person)
    return found if known else None


def distance(seen: np.ndarray, person: np.ndarray) -> float:
    """Return how far the quarter of pictures that look most like a person are from the nearest of that person.  # (n, D), (m, D)"""
    apart = np.linalg.norm(seen[:, None] - person[None], axis=2)
    return float(np.quantile(apart.min(1), ALIKE))


def _some(seen: np.ndarray) -> np.ndarray:
    """Return at most so many pictures as are compared, from all that there are.  # (n, D)"""
    return seen[:: -(-len(seen) // MOST_SEEN)]


def method() -> str:
    """Return what tells people apart, for recipes whose rows depend on it."""
    return f"looks {digest()} above {DIFFERENT:g} in {ALIKE:g}"


def _runs(parts: Sequence[Track], people: Sequence[int]) -> list[tuple[list[Track], int]]:
    """Join tracks of one person that follow each other."""
    starts = [0, *(place for place, (before, after) in enumerate(pairwise(people), start=1) if before != after)]
    return [(list(parts[a:b]), people[a]) for a, b in pairwise([*starts, len(parts)])]


def _num_faces(track: Track) -> int:
    return int((track.state != NO_FACE).sum())
