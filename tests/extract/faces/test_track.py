"""Tracks: faces followed through misses, crossings and cuts; planted truth from rendered clips."""

import dataclasses
import itertools
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from est.cache.schema import DETECTED, INTERPOLATED, NO_FACE
from est.demo.clip import Clip
from est.demo.spec import RenderSpec, plan_set
from est.errors import UsageError
from est.extract.faces.cuts import CutDetector
from est.extract.faces.face_linking import area, iou
from est.extract.faces.track import TrackConfig, choose, tracks_of

SHAPE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])  # of the landmarks in a box
PLAIN = TrackConfig(smooth=0)


def faces(*boxes, scores=None):
    """Return detections with landmarks at fixed places in their boxes."""
    boxes = np.array(boxes, float).reshape(-1, 4)
    landmarks = boxes[:, None, :2] + SHAPE * (boxes[:, 2:] - boxes[:, :2])[:, None]
    return SimpleNamespace(
        boxes=boxes, scores=np.full(len(boxes), 0.9) if scores is None else scores, landmarks=landmarks
    )


def square(x, y, side=40.0):
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def main_of(detections, num_frames, cuts=(), config=PLAIN):
    (track,) = choose(tracks_of(detections, num_frames, cuts, config), config)
    return track


def centres(track):
    return (track.box[:, :2] + track.box[:, 2:]) / 2


def check_rows(track, num_frames):
    """Assert what holds for every chosen track."""
    assert track.state.shape == (num_frames,)
    assert track.state.dtype == np.uint8
    assert track.box.dtype == track.landmarks.dtype == track.score.dtype == np.float32
    away = track.state == NO_FACE
    assert np.isnan(track.box[away]).all()
    assert np.isnan(track.landmarks[away]).all()
    assert (track.score[away] == 0).all()
    assert np.isfinite(track.box[~away]).all()


@pytest.fixture(scope="module")
def clips():
    """Frames and truths of some clips, the hardest included."""
    plans = [
        plan_set(RenderSpec(subjects=2, clips_per_subject=3, seed=seed, size=(256, 144), difficulty=difficulty))
        for seed, difficulty in ((8, 0.4), (9, 1.0))
    ]
    rendered = []
    for plan in itertools.chain(*plans):
        plan = dataclasses.replace(plan, num_frames=40, apex=20)
        clip = Clip(plan)
        rendered.append([clip.frame(t) for t in range(plan.num_frames)])
    return rendered


def test_truth_on_every_third_frame_gives_the_truth_on_all(clips):
    overlaps, misses = [], []
    config = TrackConfig()
    for clip in clips:
        truths = [truth for _, truth in clip]
        runs = sorted({*range(0, len(truths), 3), len(truths) - 1})
        found = {
            t: SimpleNamespace(boxes=np.array([truths[t].box]), scores=np.ones(1), landmarks=truths[t].landmarks[None])
            for t in runs
        }
        track = main_of(found, len(truths), config=config)
        check_rows(track, len(truths))
        assert np.flatnonzero(track.state == DETECTED).tolist() == runs
        assert (track.state != NO_FACE).all()
        boxes = np.array([truth.box for truth in truths])
        overlaps.append(iou(track.box, boxes))
        width = (boxes[:, 2] - boxes[:, 0])[:, None, None]
        misses.append(np.abs(track.landmarks - np.stack([truth.landmarks for truth in truths])) / width)
    assert np.mean(overlaps) >= 0.99
    assert np.min([overlap.mean() for overlap in overlaps]) >= 0.98
    assert np.min(overlaps) >= 0.95
    assert np.mean(misses) < 0.003


def test_frames_between_runs_are_interpolated_linearly():
    track = main_of({t: faces(square(50 + 2 * t, 60 - t, 40 + t)) for t in (0, 4, 8, 9)}, 10)
    assert track.state.tolist() == [DETECTED if t in (0, 4, 8, 9) else INTERPOLATED for t in range(10)]
    expected = np.array([square(50 + 2 * t, 60 - t, 40 + t) for t in range(10)])
    np.testing.assert_allclose(track.box, expected, atol=1e-4)
    np.testing.assert_allclose(track.landmarks, faces(*expected).landmarks, atol=1e-4)
    np.testing.assert_allclose(track.score, 0.9, atol=1e-6)


@pytest.mark.parametrize(("gap", "bridged"), [(15, True), (16, False)])
def test_a_miss_is_bridged_up_to_the_gap(gap, bridged):
    """Two stretches of a still face, `gap` frames apart."""
    num_frames = 40 + gap
    seen = [t for t in range(num_frames) if t < 20 or t >= 20 + gap]
    found = {t: faces(*([square(50, 50)] if t in seen else [])) for t in range(num_frames)}
    tracks = tracks_of(found, num_frames, [], PLAIN)
    assert len(tracks) == (1 if bridged else 2)
    track = main_of(found, num_frames)
    between = track.state[20 : 20 + gap]
    assert (between == (INTERPOLATED if bridged else NO_FACE)).all()
    assert (track.state[:20] == DETECTED).all()
    assert (track.state[20 + gap :] == DETECTED).all()  # the same face, come back: the main track has both


def test_rare_runs_are_linked_whatever_the_gap():
    (track,) = tracks_of({t: faces(square(50, 50)) for t in (0, 30, 60)}, 61, [], PLAIN)
    assert (track.state != NO_FACE).all()


def test_a_face_that_moved_during_a_gap_is_not_linked():
    found = {t: faces(square(50 if t < 10 else 150, 50)) for t in [*range(10), *range(15, 25)]}
    found |= {t: faces() for t in range(10, 15)}
    assert len(tracks_of(found, 25, [], PLAIN)) == 2


def test_an_unseen_frame_goes_with_the_nearest_run():
    """The detector runs every fifth frame and sees the face at 10, 15 and 20 only."""
    found = {t: faces(*([square(50 + t, 50)] if 10 <= t <= 20 else [])) for t in range(0, 35, 5)}
    track = main_of(found, 31)
    assert np.flatnonzero(track.state).tolist() == list(range(8, 23))
    np.testing.assert_allclose(track.box[8], square(60, 50))  # held, not thrown on
    np.testing.assert_allclose(track.box[22], square(70, 50))


def test_without_a_run_further_out_a_face_is_held_for_a_gap_at_most():
    track = main_of({t: faces(square(50, 50)) for t in (40, 43)}, 100)
    assert np.flatnonzero(track.state).tolist() == list(range(25, 59))


def test_nothing_is_linked_or_interpolated_across_a_cut():
    found = {t: faces(square(50 if t < 10 else 60, 50)) for t in (0, 3, 6, 9, 10, 13, 16, 19)}
    assert [track.scene for track in tracks_of(found, 20, [10], PLAIN)] == [0, 1]
    sharp = main_of(found, 20, [10], TrackConfig(smooth=3))
    np.testing.assert_allclose(centres(sharp)[:, 0], [50] * 10 + [60] * 10, atol=1e-4)
    assert sharp.scene is None
    blurred = main_of(found, 20, [], TrackConfig(smooth=3))
    assert abs(centres(blurred)[9, 0] - 50) > 1


def test_runs_that_spare_the_sides_of_a_cut_do_not_reach_across():
    track = main_of({t: faces(square(50 if t < 10 else 90, 50)) for t in (0, 6, 14, 19)}, 20, [10])
    np.testing.assert_allclose(centres(track)[:, 0], [50] * 10 + [90] * 10, atol=1e-4)


@pytest.mark.parametrize("every", [1, 3])
def test_faces_that_cross_keep_their_own_track(every):
    """While one is behind the other the detector sees one face."""
    runs = sorted({*range(0, 60, every), 59})
    found = {}
    for t in runs:
        left, right = square(40 + 3 * t, 60), square(217 - 3 * t, 66)
        hidden = abs(40 + 3 * t - (217 - 3 * t)) < 24
        found[t] = faces(left) if hidden else faces(left, right)
    tracks = tracks_of(found, 60, [], PLAIN)
    assert len(tracks) == 2
    for track, speed in zip(tracks, (3, -3), strict=True):
        assert len(track.state) == 60
        moved = np.diff(centres(track)[:, 0])
        np.testing.assert_allclose(moved, speed, atol=1e-3)


def test_a_face_seen_once_is_dropped_beside_a_longer_one_only():
    found = {t: faces(*[square(50, 50), square(200, 50, 80)][: 2 if t == 6 else 1]) for t in range(0, 13, 3)}
    assert len(tracks_of(found, 13, [], PLAIN)) == 1
    alone = tracks_of({0: faces(square(50, 50))}, 1, [], PLAIN)
    assert [track.state.tolist() for track in alone] == [[DETECTED]]
    other_scene = tracks_of(found | {13: faces(square(90, 90))}, 14, [13], PLAIN)
    assert [track.scene for track in other_scene] == [0, 1]


def test_main_is_longest_times_largest():
    """A small face throughout, a large one for a while, larger in sum; then for a shorter while."""
    for stay, expected in ((20, 200), (5, 50)):
        found = {t: faces(*[square(50, 50, 30), square(200, 60, 60)][: 2 if t < stay else 1]) for t in range(40)}
        track = main_of(found, 40)
        check_rows(track, 40)
        assert set(centres(track)[:stay, 0].tolist()) == {expected}


def test_main_ignores_another_face_while_it_is_away():
    """The one behind is half as large; one of the same size is taken for the face that left."""
    for side, there in ((20, 20), (36, 40)):
        found = {t: faces(square(50, 50) if t < 20 else square(150, 50, side)) for t in range(40)}
        assert (main_of(found, 40).state != NO_FACE).sum() == there


def test_main_takes_each_scenes_own_face():
    found = {t: faces(square(50, 50), square(200, 50, 60)) if t < 20 else faces(square(90, 90, 20)) for t in range(40)}
    np.testing.assert_allclose(centres(main_of(found, 40, [20]))[:, 0], [200] * 20 + [90] * 20)


def test_largest_changes_from_frame_to_frame():
    config = TrackConfig(face="largest", smooth=0)
    found = {t: faces(square(50, 50, 40), square(200, 50, 30 + t)) for t in range(20)}
    track = main_of(found, 20, config=config)
    check_rows(track, 20)
    assert centres(track)[:, 0].tolist() == [50.0] * 11 + [200.0] * 9


def test_all_gives_every_lasting_track_in_order_of_appearance():
    config = TrackConfig(face="all", smooth=0, min_length=8)
    found = {}
    for t in range(30):
        there = [square(200, 50)] + [square(60, 50)] * (t >= 10) + [square(120, 120)] * (12 <= t < 16)
        found[t] = faces(*there)
    tracks = choose(tracks_of(found, 30, [], config), config)
    assert [track.state.nonzero()[0][0] for track in tracks] == [0, 10]
    for track in tracks:
        check_rows(track, 30)
    short = dataclasses.replace(config, min_length=31)
    (only,) = choose(tracks_of(found, 30, [], short), short)
    assert centres(only)[0, 0] == 200


def test_ten_faces_and_faces_at_the_border():
    """Boxes may reach beyond the frame."""
    config = TrackConfig(face="all")
    at = [(-10 + 50 * i, -8) for i in range(10)]
    found = {t: faces(*[square(x, y + 0.5 * t) for x, y in at]) for t in range(0, 31, 3)}
    tracks = choose(tracks_of(found, 31, [], config), config)
    assert len(tracks) == 10
    for track, (x, y) in zip(tracks, at, strict=True):
        assert (track.state != NO_FACE).all()
        expected = [square(x, y + 0.5 * t) for t in range(31)]
        np.testing.assert_allclose(track.box, expected, atol=1e-3)


@pytest.mark.parametrize("face", ["main", "largest", "all"])
def test_no_face_at_all_is_no_track(face):
    config = TrackConfig(face=face)
    assert choose(tracks_of({t: faces() for t in range(5)}, 5, [], config), config) == []
    assert choose(tracks_of({}, 5, [3], config), config) == []


def test_landmarks_may_be_missing():
    found = {t: faces(square(50, 50)) for t in (0, 3, 6, 9)}
    for t in (3, 6):
        found[t].landmarks = np.full((1, 5, 2), np.nan)
    track = main_of(found, 10, config=TrackConfig())
    np.testing.assert_allclose(track.box, [square(50, 50)] * 10, atol=1e-4)
    np.testing.assert_allclose(track.landmarks[[0, 9]], faces(square(50, 50)).landmarks.repeat(2, 0), atol=1e-4)
    assert np.isnan(track.landmarks[1:9]).all()


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_order_of_frames_and_faces_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    found, turned = {}, {}
    for t in rng.choice(30, 18, replace=False).tolist():
        # On a coarse grid, so that overlaps tie and boxes repeat.
        boxes = [square(*(20 * rng.integers(0, 5, 2)), side) for side in rng.choice([30, 40], rng.integers(0, 5))]
        scores = rng.uniform(0.5, 1, len(boxes))
        order = rng.permutation(len(boxes))
        found[t] = faces(*boxes, scores=scores)
        turned[t] = faces(*[boxes[i] for i in order], scores=scores[order])
    turned = {t: turned[t] for t in rng.permutation(list(turned)).tolist()}
    one, two = (tracks_of(detections, 30, [12], TrackConfig()) for detections in (found, turned))
    assert len(one) == len(two)
    for first, second in zip(one, two, strict=True):
        assert first.start == second.start
        for name in ("state", "box", "landmarks", "score"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_detections_outside_the_clip_are_refused():
    with pytest.raises(ValueError, match="frames 3 to 10 of a clip of 10"):
        tracks_of({3: faces(), 10: faces()}, 10, [], PLAIN)


@pytest.mark.parametrize(
    "wrong",
    [
        {"face": "first"},
        {"max_gap": -1},
        {"min_iou": 0.0},
        {"min_iou": 1.0},
        {"smooth": -1.0},
        {"smooth": np.nan},
        {"min_length": 0},
    ],
)
def test_config_is_checked(wrong):
    with pytest.raises(UsageError) as found:
        TrackConfig(**wrong)
    assert found.value.remedy


def test_overlap_of_boxes():
    assert iou(np.array([0, 0, 2, 2]), np.array([1, 0, 3, 2])) == pytest.approx(1 / 3)
    assert iou(np.zeros(4), np.zeros(4)) == 0
    assert iou(np.array([0, 0, 1, 1]), np.array([5, 5, 6, 6])) == 0
    assert area(np.array([[0, 0, 2, 3], [2, 2, 1, 1]])).tolist() == [6, 0]


def cuts_of(frames):
    """Return what the detector says at once, and in the end."""
    detector = CutDetector()
    return [t for t, frame in enumerate(frames) if detector.feed(frame)], list(detector.cuts)


def test_no_cut_within_a_clip(clips):
    for clip in clips:
        assert cuts_of([frame for frame, _ in clip]) == ([], [])


def test_every_cut_between_clips(clips):
    """Every clip borders on every other once, in stretches of 5 frames."""
    stretches = [clips[i] for pair in itertools.combinations(range(len(clips)), 2) for i in pair]
    stretches = [clip for clip, following in itertools.pairwise([*stretches, None]) if clip is not following]
    frames = [frame for number, clip in enumerate(stretches) for frame, _ in clip[number % 7 * 5 :][:5]]
    expected = list(range(5, len(frames), 5))
    assert cuts_of(frames) == (expected, expected)


def test_an_object_over_more_than_half_the_picture_is_no_cut():
    rng = np.random.default_rng(2)
    scene = np.repeat(np.repeat(rng.integers(0, 256, (9, 16, 3), np.uint8), 16, 0), 16, 1)
    covered = scene.copy()
    covered[:, :160] = 230  # ten columns of blocks of sixteen
    assert cuts_of([scene, scene, covered, covered, scene]) == ([], [])
    covered[:, :240] = 230
    assert cuts_of([scene, scene, covered, *[covered] * 4])[1] == [2]


def test_light_and_flashes_are_no_cuts(clips):
    frames = [frame for frame, _ in clips[0][:12]]
    lamp = [np.clip(frame * (1.0 if t < 6 else 1.3), 0, 255).astype(np.uint8) for t, frame in enumerate(frames)]
    assert cuts_of(lamp) == ([], [])
    for length in (1, 2):
        flash = list(frames)
        flash[6 : 6 + length] = [np.full_like(frames[0], 250)] * length
        said, kept = cuts_of(flash)
        assert said == [6]
        assert kept == []


def test_a_dissolve_is_no_succession_of_short_scenes():
    start, end = np.random.default_rng(0).uniform(0, 255, (2, 72, 128, 3))
    weights = [0.0] * 8 + [step / 8 for step in range(9)] + [1.0] * 8
    dissolve, turns = CutDetector(), CutDetector()
    for weight in weights:
        dissolve.feed(((1 - weight) * start + weight * end).astype(np.uint8))
    for number in range(20):
        turns.feed((start if number // 3 % 2 else end).astype(np.uint8))
    assert (dissolve.is_hurried, turns.is_hurried) == (False, True)


def test_a_flash_does_not_hide_a_cut(clips):
    one, two = ([frame for frame, _ in clip[:10]] for clip in clips[:2])
    assert cuts_of([*one, np.full_like(one[0], 250), *two])[1] == [10, 11]


def test_a_pan_is_measured_against_itself():
    """The camera turns over a wavy wall, crossing it in two seconds; then a cut."""
    waves = 128 + 110 * np.sin(2 * np.pi * np.arange(400)[:, None] / 100 + np.arange(3))
    wall = np.tile(waves.astype(np.uint8), (90, 1, 1))
    pan = [wall[:, 3 * t : 3 * t + 160] for t in range(40)]
    said, kept = cuts_of([*pan, *[255 - frame for frame in pan[:10]]])
    assert 40 in kept
    assert set(said) - {40} <= {1, 2}  # as the motion begins


def test_frames_of_any_size():
    tiny = [np.full((1, 1, 3), 80, np.uint8)] * 3 + [np.full((1, 1, 3), 150, np.uint8)]
    assert cuts_of(tiny) == ([], [])  # one colour that grows brighter is light
    rng = np.random.default_rng(4)
    scene = np.repeat(np.repeat(rng.integers(0, 256, (9, 16, 3), np.uint8), 40, 0), 40, 1)
    assert cuts_of([scene, np.ascontiguousarray(scene[::2, ::2]), 255 - scene])[1] == [2]


def test_workers_that_follow_faces_stay_light():
    modules = "est.extract.faces.track, est.crops.crop, est.crops.jpeg"
    code = f"import sys, {modules}; print([name for name in ('torch', 'onnxruntime', 'zarr') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
