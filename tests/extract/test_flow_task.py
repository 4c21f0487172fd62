"""A clip on its way to pictures of flow, without processes: which frames, one square, and what fails it."""

from __future__ import annotations

import numpy as np
import pytest
from flow_samples import SIDE, STEP, middle, moving, run_task, texture, why, write_frames

from est.crops.jpeg import decode_crop
from est.extract.faces.detect.base import Detections
from est.extract.flow import pictures
from est.extract.flow.colour import picture_of
from est.extract.flow.field import flow, mirrored, row_of
from est.extract.flow.square import grey
from est.extract.workers import flow_task
from est.extract.workers.flow_task import FlowTask

FRAMES = moving(20)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("clips") / "clip", FRAMES)


def detections(*boxes, points=True) -> Detections:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    share = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    landmarks = boxes[:, None, :2] + share * (boxes[:, None, 2:] - boxes[:, None, :2])
    landmarks = landmarks if points else np.full_like(landmarks, np.nan)
    return Detections(boxes=boxes, scores=np.full(len(boxes), 0.9, np.float32), landmarks=landmarks.astype(np.float32))


def test_rows_are_the_flow_from_the_onset(clip):
    said, line = run_task(clip, onset=2, apex=9, flip=True)
    track = said.tracks[0]
    np.testing.assert_array_equal(said.extra["flow_frames"], range(4, 15))
    assert (said.extra["flow_onset"], said.extra["flow_apex"]) == (2, 9)
    np.testing.assert_allclose(said.time, np.arange(4, 15) / 25)
    assert (said.decoded, said.missing, said.moments, said.misplaced) == (11, 0, {}, False)
    np.testing.assert_array_equal(track.box, [[0, 0, SIDE, SIDE]] * 11)
    np.testing.assert_array_equal(track.state, 1)
    means = np.stack([middle(row.transpose(1, 2, 0)) for row in track.features["flow"]])
    np.testing.assert_allclose(means, np.arange(2, 13)[:, None] * STEP * np.array(112 / SIDE), atol=0.3)
    assert set(line.pictures) == {(track, row) for track in (0, 1) for row in range(11)}
    moved = flow(grey(FRAMES[2]), grey(FRAMES[10]))
    np.testing.assert_array_equal(line.pictures[0, 6], picture_of(moved, 32)[..., ::-1])
    np.testing.assert_array_equal(line.pictures[1, 6], picture_of(mirrored(moved), 32)[..., ::-1])


def test_missing_frames_are_the_mean_of_their_neighbours(clip):
    said, _ = run_task(clip, onset=10, apex=17)
    track = said.tracks[0]
    np.testing.assert_allclose(said.extra["flow_frames"], [12, 13, 13.5, 14, 15, 15.5, 16, 17, 17.5, 18, 19])
    np.testing.assert_array_equal(track.state, [1, 1, 2, 1, 1, 2, 1, 1, 2, 1, 1])
    two = [flow(grey(FRAMES[10]), grey(FRAMES[frame])) for frame in (15, 16)]
    np.testing.assert_allclose(track.features["flow"][5], row_of(np.mean(two, axis=0)), atol=1e-5)  # at 15.5
    assert said.time[5] == pytest.approx(15.5 / 25)


def test_what_does_not_fit_is_decoded_twice(clip, monkeypatch):
    once, line = run_task(clip, flow_frames="whole")
    monkeypatch.setattr(flow_task, "FORWARD_BYTES", 3 * SIDE * SIDE)
    twice, again = run_task(clip, flow_frames="whole")
    np.testing.assert_array_equal(once.extra["flow_frames"], twice.extra["flow_frames"])
    assert once.extra["flow_frames"][-1] == 19
    for place, picture in line.pictures.items():
        np.testing.assert_array_equal(picture, again.pictures[place])


def test_one_square_from_the_largest_face_of_the_onset_frame(clip):
    faces = detections((0, 0, 10, 10), (20, 16, 44, 46), (50, 50, 60, 60))
    said, line = run_task(clip, faces=faces, detector="retinaface", onset=3, apex=8)
    track = said.tracks[0]
    assert line.asked == [3]
    assert said.num_tracks == 3
    eyes_to_mouth = 0.4 * 30
    x0, y0, x1, y1 = track.box[0]
    assert x1 - x0 == y1 - y0 == round(2.6 * eyes_to_mouth)
    assert (x0 + x1) / 2 == pytest.approx(32, abs=1)
    assert (track.box == track.box[0]).all()
    np.testing.assert_array_equal(track.landmarks[10], faces.landmarks[1])


def test_stored_pictures_are_those_that_are_encoded(clip):
    said, line = run_task(clip, onset=0, apex=3, crops=True)
    for row, jpeg in enumerate(said.tracks[0].crops):
        np.testing.assert_array_equal(decode_crop(jpeg)[..., ::-1], line.pictures[0, row])


def test_the_flow_alone_needs_no_pictures(clip):
    said, line = run_task(clip, onset=0, apex=3, features=("flow",), flip=True, precision="auto")
    assert not line.pictures
    assert said.tracks[0].features["flow"].shape == (11, 2, 112, 112)
    assert said.tracks[0].crops is None


def test_auto_takes_each_clip_by_what_is_known_of_it(clip):
    for moments, rule in (({"onset": 2, "apex": 9}, "apex"), ({"onset": 2}, "whole"), ({"apex": 9}, "whole")):
        (mine, line), (other, again) = (run_task(clip, flow_frames=name, **moments) for name in ("auto", rule))
        assert mine.extra == other.extra
        assert mine.extra["flow_apex"] == (9 if rule == "apex" else -1)
        for place, picture in line.pictures.items():
            np.testing.assert_array_equal(picture, again.pictures[place])


def test_a_margin_makes_the_square_larger(clip):
    faces = detections((20, 16, 44, 46))
    boxes = [
        run_task(clip, faces=faces, detector="retinaface", onset=3, apex=8, margin=margin)[0].tracks[0].box[0]
        for margin in (0.0, 0.5)
    ]
    small, large = (box[2] - box[0] for box in boxes)
    assert large == round(1.5 * 2.6 * 0.4 * 30) > small == round(2.6 * 0.4 * 30)


def test_frames_that_cannot_be_decoded_fail_a_clip_when_asked_to(clip, monkeypatch):
    opened = FlowTask._open

    def losing(task, source):
        video = opened(task, source)
        frames = video.frames

        def lose():
            yield from frames()
            video.missing = 2

        video.frames = lose
        return video

    monkeypatch.setattr(FlowTask, "_open", losing)
    assert run_task(clip, onset=0, apex=3)[0].missing == 2
    assert "2 of 22 frames could not be decoded" in why(clip, onset=0, apex=3, incomplete="fail")


def test_flow_that_half_numbers_cannot_hold_fails(clip, monkeypatch):
    monkeypatch.setattr(pictures, "row_of", lambda field: np.full((2, 112, 112), 7e4, np.float32))
    assert "flow of 70000 pixels" in why(clip, onset=0, apex=3)
    assert run_task(clip, onset=0, apex=3, dtype="float32")[0].tracks


@pytest.mark.parametrize(
    ("changes", "told", "mend"),
    [
        ({}, "flow: its onset is not known", "column onset"),
        ({"onset": 3}, "flow: its apex is not known", "--flow-frames auto"),
        ({"onset": 9, "apex": 8}, "flow: its apex 8 is before its onset 9", "correct the list"),
        (
            {"onset": 20, "apex": 30},
            "flow: its onset 20 is beyond the end of the clip, which has 20 frames",
            "correct the list",
        ),
        ({"onset": 3, "apex": 20}, "flow: its apex 20 is beyond the end of the clip", "correct the list"),
        ({"onset": 19, "apex": 19}, "flow: it has 20 frames and ends with its onset", "continues after its onset"),
        (
            {"onset": 3, "apex": 8, "faces": detections(), "detector": "retinaface"},
            "no face: no face was found in its onset frame, 3",
            "--detector none",
        ),
    ],
)
def test_a_clip_that_cannot_be_compared_says_why(clip, changes, told, mend):
    said = why(clip, **changes)
    assert told in said
    assert mend in said.partition("Try: ")[2]


def test_pictures_of_another_size_and_single_ones_fail(tmp_path):
    mixed = write_frames(tmp_path / "mixed", [*moving(6), texture(side=48)])
    told = why(mixed, onset=0, apex=2)
    assert "frame 6 is 48×48, and its onset frame is 64×64" in told
    assert "--detector none" not in told
    one = write_frames(tmp_path / "one", moving(1))
    assert "has 1 frame and ends with its onset" in why(one, flow_frames="whole")
