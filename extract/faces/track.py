"""From detections on some frames to a face on every frame: tracks, and the choice among them.

A detector runs on some frames only: every k-th, on both sides of each cut, on the last. In between, boxes and landmarks are interpolated
linearly (state 2), across misses too while they are short; then everything is smoothed over time, without lag and never across a cut.
Before a track's first and behind its last detection a frame goes with the nearest run of the detector: it shows the face if that run saw
it. Where the scene has no run further out, the face is held still to the scene's end, for as long as a gap may be.

Tracks never cross a cut, since nothing says whether the face behind it is the same one. `choose` makes of them what the user asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...cache.schema import DETECTED, INTERPOLATED, NO_FACE
from .cuts import CutDetector
from .face_linking import Chain, Detections, area, link
from .smooth import smooth
from .track_config import TrackConfig

__all__ = [
    "CutDetector",
    "Detections",
    "Track",
    "TrackConfig",
    "choose",
    "join",
    "join_trimmed",
    "main_tracks",
    "num_dropped",
    "select",
    "tracks_of",
]

SAME_FACE = 1.5  # the ratio of sides up to which a face that comes back may be the one that left


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """One face over time: the frames from its first to its last; of `choose` those of the whole clip (start = 0)."""

    num_frames: int  # of the clip
    start: int = 0
    scene: int | None = None  # None where scenes were joined
    state: np.ndarray  # (T,) uint8
    box: np.ndarray  # (T, 4) float32, NaN in state 0
    landmarks: np.ndarray  # (T, 5, 2) float32, NaN in state 0 and from a detector without landmarks
    score: np.ndarray  # (T,) float32: the detector's, interpolated like the boxes; 0 in state 0
    faces: tuple[tuple[int, int], ...] = ()  # the detections that it is made of: frame, place among the frame's faces

    @property
    def stop(self) -> int:
        """The frame behind the last."""
        return self.start + len(self.state)

    @property
    def areas(self) -> np.ndarray:
        """The face's area in each frame, 0 in state 0.  # (T,)"""
        return np.where(self.state != NO_FACE, area(np.nan_to_num(self.box.astype(float))), 0.0)

    @property
    def side(self) -> float:
        """The median of its boxes' longer sides, in pixels."""
        return float(np.nanmedian((self.box[:, 2:] - self.box[:, :2]).max(1)))

    @property
    def mass(self) -> float:
        """Its length times its mean area: what makes a track the main one."""
        return float(self.areas.sum())


def tracks_of(
    detections: Mapping[int, Detections], num_frames: int, cuts: Sequence[int], config: TrackConfig
) -> list[Track]:
    """Return every face's track, by first frame and then from left to right.

    `detections` has an entry for each frame on which the detector ran, an empty one where it saw nothing. A cut t lies between frames t − 1
    and t. A face that was seen once only is dropped where its scene has one that was seen more often.
    """
    if any(not 0 <= frame < num_frames for frame in detections):
        raise ValueError(f"detections on frames {min(detections)} to {max(detections)} of a clip of {num_frames}")
    chains = link(detections, cuts, min_iou=config.min_iou, max_gap=config.max_gap)
    confirmed = {chain.scene for chain in chains if len(chain.frames) > 1}
    chains = [chain for chain in chains if len(chain.frames) > 1 or chain.scene not in confirmed]
    borders = np.unique([0, *(cut for cut in cuts if 0 < cut < num_frames), num_frames])
    runs = np.array(sorted(detections), int)
    tracks = [_fill(chain, runs, borders, num_frames, config) for chain in chains]
    return sorted(tracks, key=lambda track: (track.start, *track.box[0].tolist()))


def choose(tracks: Sequence[Track], config: TrackConfig) -> list[Track]:
    """Return the tracks that become clips, each over all frames; none where there is no face."""
    return [track if len(track.state) == track.num_frames else join([track]) for track in select(tracks, config)]


def select(tracks: Sequence[Track], config: TrackConfig) -> list[Track]:
    """Return the tracks that become clips; those of `all` from their first frame to their last, as a film has thousands.

    main: one track, the main face of each scene. Scenes are joined: another shot may show another person (`people.py`).
    largest: one track, in each frame the largest face.
    all: each track that lasts and is large enough, in order of first appearance; where none lasts, the main one of those large enough.
    """
    if not tracks:
        return []
    if config.face == "largest":
        return [_largest(tracks)]
    if config.face == "all":
        tracks = [track for track in tracks if track.side >= config.min_side]
        lasting = [track for track in tracks if len(track.state) >= config.min_length]
        if lasting or not tracks:
            return lasting
        if config.trim:
            return [join_trimmed(main_tracks(tracks))]
    return [join(main_tracks(tracks))]


def num_dropped(tracks: Sequence[Track], config: TrackConfig) -> int:
    """Count the faces that `all` makes no clip of, because they are too small or do not last."""
    large = [track for track in tracks if track.side >= config.min_side]
    lasting = [track for track in large if len(track.state) >= config.min_length]
    return len(tracks) - len(lasting or main_tracks(large))


def main_tracks(tracks: Sequence[Track]) -> list[Track]:
    """Return the main face of each scene, in parts that share no frame.

    It is the one that is longest × largest, and with it, while it is away, one of about its size, because a face that was lost for long
    comes back as a new track.
    """
    scenes: dict[int, list[Track]] = {}
    for track in tracks:
        scenes.setdefault(track.scene or 0, []).append(track)
    return [track for scene in sorted(scenes) for track in _main(scenes[scene])]


def join_trimmed(tracks: Sequence[Track]) -> Track:
    """Return tracks that share no frame as one, from the first frame of the first to the last one of the last."""
    wide, start, stop = join(tracks), min(track.start for track in tracks), max(track.stop for track in tracks)
    return replace(
        wide, start=start, **{name: getattr(wide, name)[start:stop] for name in ("state", "box", "landmarks", "score")}
    )


def whole_track(detections: Sequence[Detections]) -> Track:
    """Return the track of frames that are face crops: the one face of each, neither followed nor smoothed."""
    return Track(
        num_frames=len(detections),
        state=np.full(len(detections), DETECTED, np.uint8),
        box=np.array([found.boxes[0] for found in detections], np.float32),
        landmarks=np.array([found.landmarks[0] for found in detections], np.float32),
        score=np.array([found.scores[0] for found in detections], np.float32),
    )


def _fill(chain: Chain, runs: np.ndarray, borders: np.ndarray, num_frames: int, config: TrackConfig) -> Track:
    """Give every frame of a chain its row, and smooth them."""
    first, last = chain.frames[0], chain.frames[-1]
    begin, end = _scene_of(first, borders)
    before, after = runs[(runs >= begin) & (runs < first)], runs[(runs > last) & (runs < end)]
    # Of two runs equally near, the earlier one speaks for the frame: so two tracks that follow each other never share one.
    start = (int(before[-1]) + first) // 2 + 1 if len(before) else max(begin, first - config.max_gap)
    stop = (last + int(after[0])) // 2 + 1 if len(after) else min(end, last + config.max_gap + 1)
    frames = np.arange(start, stop)
    seen = np.array(chain.frames) - start
    rows = np.concatenate(
        [np.stack(chain.boxes), np.stack(chain.landmarks).reshape(-1, 10), np.array(chain.scores)[:, None]], axis=1
    )
    filled = np.stack([np.interp(frames, chain.frames, column) for column in rows.T], axis=1)
    state = np.full(len(frames), INTERPOLATED, np.uint8)
    state[seen] = DETECTED
    return Track(
        num_frames=num_frames,
        start=start,
        scene=chain.scene,
        state=state,
        box=smooth(filled[:, :4], config.smooth).astype(np.float32),
        landmarks=smooth(filled[:, 4:14].reshape(-1, 5, 2), config.smooth).astype(np.float32),
        score=filled[:, 14].astype(np.float32),
        faces=tuple(zip(chain.frames, chain.places, strict=True)),
    )


def _scene_of(frame: int, borders: np.ndarray) -> tuple[int, int]:
    """Return the first frame of a frame's scene and the one behind its last."""
    place = int(np.searchsorted(borders, frame, side="right"))
    return int(borders[place - 1]), int(borders[place])


def _main(tracks: Sequence[Track]) -> list[Track]:
    """Return a scene's main track, and those that continue it while it is away, largest first."""
    by_mass = sorted(tracks, key=lambda track: -track.mass)
    chosen = by_mass[:1]
    side = np.sqrt(chosen[0].areas.mean())
    for track in by_mass[1:]:
        apart = all(track.stop <= other.start or track.start >= other.stop for other in chosen)
        if apart and side / SAME_FACE <= np.sqrt(track.areas.mean()) <= side * SAME_FACE:
            chosen.append(track)
    return chosen


def _largest(tracks: Sequence[Track]) -> Track:
    """Take from each frame the largest face."""
    best = np.zeros(tracks[0].num_frames)
    wide = _blank(tracks[0].num_frames)
    for track in tracks:
        rows = np.flatnonzero(track.areas > best[track.start : track.stop])
        best[rows + track.start] = track.areas[rows]
        _copy(track, rows, wide)
    return wide


def join(tracks: Sequence[Track]) -> Track:
    """Lay tracks that share no frame over one blank."""
    scenes = {track.scene for track in tracks}
    wide = _blank(tracks[0].num_frames, scenes.pop() if len(scenes) == 1 else None)
    for track in tracks:
        _copy(track, np.arange(len(track.state)), wide)
    return wide


def _blank(num_frames: int, scene: int | None = None) -> Track:
    """Return rows without a face."""
    return Track(
        num_frames=num_frames,
        scene=scene,
        state=np.full(num_frames, NO_FACE, np.uint8),
        box=np.full((num_frames, 4), np.nan, np.float32),
        landmarks=np.full((num_frames, 5, 2), np.nan, np.float32),
        score=np.zeros(num_frames, np.float32),
    )


def _copy(track: Track, rows: np.ndarray, wide: Track) -> None:
    """Copy rows of a track to their frames."""
    for name in ("state", "box", "landmarks", "score"):
        getattr(wide, name)[rows + track.start] = getattr(track, name)[rows]
