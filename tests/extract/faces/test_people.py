"""Who is kept where people take turns: planted tracks whose looks are known, and crowds."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from est.cache.schema import NO_FACE
from est.errors import UsageError
from est.extract.faces import looks as looks_module
from est.extract.faces.face_linking import MOST_FACES
from est.extract.faces.looks import Looks
from est.extract.faces.people import DIFFERENT, LEAST_SEEN, MOST_SEEN, people_of, select_people
from est.extract.faces.track import TrackConfig, choose, select, tracks_of
from est.extract.faces.track_config import gives_parts, is_trimmed, tracking_options, without_people

SHAPE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
WHERE = {"A": 0.0, "B": 3 * DIFFERENT, "C": -3 * DIFFERENT, "a": 0.5 * DIFFERENT}  # "a" looks like A
SHOT = 12


def faces(*boxes):
    boxes = np.array(boxes, float).reshape(-1, 4)
    landmarks = boxes[:, None, :2] + SHAPE * (boxes[:, 2:] - boxes[:, :2])[:, None]
    return SimpleNamespace(boxes=boxes, scores=np.full(len(boxes), 0.9), landmarks=landmarks)


class Planted(Looks):
    """Looks by frame: a letter for each shot of a clip."""

    def __init__(self, shots: str, length: int = SHOT) -> None:
        super().__init__()
        self._shots, self._length = shots, length

    def of(self, faces):
        return np.array([[WHERE[self._shots[frame // self._length]], 1.0] for frame, _ in faces], np.float32)


def shots(people: str, length: int = SHOT):
    """Return the tracks of one face in each shot, on every third frame and on both sides of each cut."""
    found, cuts = {}, []
    for number in range(len(people)):
        start = number * length
        cuts += [start] if start else []
        for frame in {*range(start, start + length, 3), start + length - 1}:
            found[frame] = faces((10 + number % 5, 10, 50 + number % 5, 50))
    return tracks_of(found, len(people) * length, cuts, TrackConfig(smooth=0))


def chosen(people: str, across: str = "keep", length: int = SHOT):
    config = TrackConfig(smooth=0, across_cuts=across)
    return select_people(shots(people, length), Planted(people, length), config)


@pytest.mark.parametrize(
    ("people", "changes", "number"),
    [("A", 0, 1), ("Aa", 0, 1), ("AB", 1, 2), ("ABA", 2, 2), ("ABBaC", 3, 3), ("AAAA", 0, 1)],
)
def test_changes_are_counted_and_rows_stay_as_they_were(people, changes, number):
    found = chosen(people)
    assert (found.identity_changes, found.people, found.left_out) == (changes, number, 0)
    (before,) = choose(shots(people), TrackConfig(smooth=0))
    (track,) = found.tracks
    for name in ("state", "box", "landmarks", "score"):
        np.testing.assert_array_equal(getattr(track, name), getattr(before, name))


def test_the_person_who_is_there_longest_is_kept():
    found = chosen("ABA", "longest")
    (track,) = found.tracks
    shown = (track.state != NO_FACE).reshape(3, SHOT).all(1).tolist()
    assert shown == [True, False, True]
    assert not (track.state[SHOT : 2 * SHOT]).any()
    assert np.isnan(track.box[SHOT : 2 * SHOT]).all()
    assert (found.identity_changes, found.people, found.left_out) == (0, 2, SHOT)
    equal = chosen("BA", "longest")  # as long: who came first
    assert (equal.tracks[0].state != NO_FACE).tolist() == [True] * SHOT + [False] * SHOT


def test_a_track_for_each_person_in_turn():
    found = chosen("ABBA", "split")
    whole = chosen("ABBA").tracks[0]
    assert [(track.start, track.stop) for track in found.tracks] == [(0, 12), (12, 36), (36, 48)]
    assert (found.identity_changes, found.people) == (0, 2)
    for track in found.tracks:
        np.testing.assert_array_equal(track.box, whole.box[track.start : track.stop])
    (alone,) = chosen("A", "split").tracks
    assert (alone.start, alone.stop) == (0, SHOT)


def test_what_was_hardly_seen_goes_with_the_stretch_before():
    near, far = np.zeros((LEAST_SEEN, 2), np.float32), np.full((LEAST_SEEN, 2), 3 * DIFFERENT, np.float32)
    assert people_of([near, far[:-1], near]) == [0, 0, 0]
    assert people_of([far[:-1], near, far]) == [0, 0, 1]
    assert people_of([far[:-1], near[:0]]) is None
    found = select_people(shots("AB"), Looks(), TrackConfig(across_cuts="split"))  # nothing was looked at
    assert (found.identity_changes, found.people, len(found.tracks)) == (-1, -1, 1)


def test_one_odd_picture_changes_nobody():
    """A hand before the face in two of five pictures."""
    look = np.zeros((5, 2), np.float32)
    look[1:3] = 50 * DIFFERENT
    assert people_of([np.zeros((5, 2), np.float32), look]) == [0, 0]
    look[1:] = 50 * DIFFERENT  # in four of five: too little is left
    look[1:, 1] += np.arange(4)
    assert people_of([np.zeros((5, 2), np.float32), look]) == [0, 1]


def test_a_person_is_all_that_was_seen_of_them():
    """One odd stretch, in other light, does not become what the person looks like."""

    def stretch(where, length):
        return np.full((length, 2), [where * DIFFERENT, 0], np.float32)

    assert people_of([stretch(0, 9), stretch(0.8, 3), stretch(-0.4, 3)]) == [0, 0, 0]
    assert people_of([stretch(0, 9), stretch(0.8, 9), stretch(1.6, 9), stretch(2.4, 3)]) == [0, 0, 0, 0]  # by and by
    assert people_of([stretch(0, 9), stretch(2.4, 3)]) == [0, 1]
    assert people_of([stretch(0, 9), stretch(0.8, 10 * MOST_SEEN), stretch(-0.4, 3)]) == [
        0,
        0,
        0,
    ]  # nothing is crowded out
    assert people_of([stretch(0, 9), stretch(3, 9), stretch(0.8, 3), stretch(-0.4, 3), stretch(3.4, 3)]) == [
        0,
        1,
        0,
        0,
        1,
    ]


def test_two_hundred_cuts():
    people = "AB" * 100 + "C"
    found = chosen(people, length=9)
    assert (found.identity_changes, found.people) == (200, 3)
    assert len(chosen(people, "split", length=9).tracks) == 201


def test_other_policies_do_not_ask_who_it_is():
    for face in ("largest", "all"):
        config = TrackConfig(face=face, smooth=0)
        found = select_people(shots("AB"), Planted("AB"), config)
        assert found.identity_changes == found.people == -1
        assert len(found.tracks) == len(select(shots("AB"), config))
    assert select_people([], Looks(), TrackConfig()).tracks == []


def test_a_crowd_is_followed_by_its_largest():
    """Ten thousand faces in each of three frames, a larger one among them."""
    left, top = (axis.ravel() * 12.0 for axis in np.meshgrid(np.arange(100), np.arange(100)))
    small = np.stack([left, top, left + 10, top + 10], axis=1)
    crowd = faces(*small[:5000], (2000, 2000, 2100, 2100), *small[5000:])
    found = tracks_of(dict.fromkeys((0, 3, 6), crowd), 7, (), TrackConfig(smooth=0))
    assert len(found) == MOST_FACES
    (main,) = choose(found, TrackConfig())
    np.testing.assert_allclose(main.box[0], (2000, 2000, 2100, 2100))
    seen = Looks()
    crowd.landmarks = crowd.landmarks.astype(np.float32)
    seen.see(0, np.zeros((64, 64, 3), np.uint8), crowd, (1.0, 1.0))
    assert len(seen.of([(0, place) for place in range(10_001)])) == looks_module.MOST
    assert len(seen.of([(0, 5000)])) == 1


def test_faces_that_are_small_or_short_become_no_clips():
    found = {frame: faces((0, 0, 40, 30), (100, 0, 120, 20)) for frame in range(0, 30, 3)}
    found |= {frame: faces((0, 0, 40, 30), (100, 0, 120, 20), (200, 0, 260, 60)) for frame in (9, 12, 15)}
    tracks = tracks_of(found, 30, (), TrackConfig(smooth=0))

    def kept(**settings):
        config = TrackConfig(face="all", smooth=0, **settings)
        return [(int(track.box[0, 0]), len(track.state)) for track in select(tracks, config)]

    assert kept() == [(0, 30), (100, 30)]
    assert kept(min_length=5) == [(0, 30), (100, 30), (200, 9)]
    assert kept(min_side=40) == [(0, 30)]
    assert kept(min_side=41, min_length=5) == [(200, 9)]
    assert kept(min_side=41) == [(200, 9)]  # none lasts: the main one of those that are large enough
    assert kept(min_side=200) == []


def test_recipes_tell_the_settings():
    assert TrackConfig().describe() == "gap 15, iou 0.3"  # as earlier caches have it
    assert TrackConfig(face="all", trim=False).describe() == "gap 15, iou 0.3, length 10"
    text = TrackConfig(face="all", min_length=25, min_side=40).describe()
    assert text == "gap 15, iou 0.3, length 25, side 40, trimmed"
    assert tracking_options(text) == {"across_cuts": "keep", "min_track": 25, "min_face_size": 40}
    assert is_trimmed(text)
    assert gives_parts(text)
    split = TrackConfig(across_cuts="split").describe()
    assert tracking_options(split)["across_cuts"] == "split"
    assert f" above {DIFFERENT:g}" in split
    assert gives_parts(split)
    assert without_people(split) == TrackConfig().describe()
    assert not gives_parts(TrackConfig(across_cuts="longest").describe())
    assert tracking_options("gap 15, iou 0.3") == {"across_cuts": "keep", "min_track": 10, "min_face_size": 0}


@pytest.mark.parametrize(
    ("settings", "message", "remedy"),
    [
        ({"face": "all", "across_cuts": "split"}, "needs --face main, found --face all", "--face main"),
        ({"across_cuts": "drop"}, "keep, longest or split", "--across-cuts"),
        ({"min_length": 5}, "--min-track 5 needs --face all", "--face all"),
        ({"min_side": 5}, "--min-face-size 5", "--face all"),
        ({"face": "all", "min_side": -1}, "0 pixels or more", "--min-face-size"),
        ({"face": "all", "min_length": 0}, "at least one frame", "--min-track"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message, remedy):
    with pytest.raises(UsageError) as caught:
        TrackConfig(**settings)
    assert message in caught.value.message
    assert remedy in str(caught.value.remedy)
