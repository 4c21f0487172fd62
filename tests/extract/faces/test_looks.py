"""Looks: two pictures of one rendered person are nearer to each other than two people are, whatever the size and light."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from est.demo.action import EXPRESSIONS
from est.demo.clip import Clip, render_frame
from est.demo.identity import subject_identity
from est.demo.pose import Pose
from est.demo.relief import Light
from est.demo.scene import Scene
from est.demo.spec import ClipPlan
from est.extract.faces import looks
from est.extract.faces.detect.base import Detections
from est.extract.faces.detection_frames import shrink
from est.extract.faces.people import DIFFERENT, people_of

PLACES = {
    "one": (Scene(seed=1, background="wall"), Pose()),
    "two": (Scene(seed=2, background="shelf", light=Light(azimuth=0.6, gain=0.85)), Pose(yaw=0.12, x=0.4, scale=0.24)),
}


def draw_plan(rng: np.random.Generator, person: int) -> ClipPlan:
    label = str(rng.choice(EXPRESSIONS))
    return ClipPlan(
        path="shot.mp4", label=label, subject="s", split="", apex=int(rng.integers(12)), seed=int(rng.integers(2**31)), num_frames=12,
        fps=25, size=(320, 180), difficulty=0.9, identity_seed=(8, person), expressions=(label,),
    )  # fmt: skip


def distance(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.linalg.norm(one - two))


@pytest.fixture(scope="module")
def shown():
    """Return a picture and its landmarks for three people in two places."""
    return {
        (person, place): render_frame(subject_identity((8, person)), pose=pose, scene=scene, size=(320, 180))
        for person in range(3)
        for place, (scene, pose) in PLACES.items()
    }


def test_people_are_told_apart(shown):
    found = {key: looks.look_at(picture, truth.landmarks) for key, (picture, truth) in shown.items()}
    same = [distance(found[person, "one"], found[person, "two"]) for person in range(3)]
    apart = [distance(found[a, "one"], found[b, "two"]) for a in range(3) for b in range(3) if a != b]
    assert max(same) < DIFFERENT < min(apart)


def test_size_matters_little(shown):
    picture, truth = shown[0, "one"]
    half = cv2.resize(picture, (160, 90), interpolation=cv2.INTER_AREA)
    seen = looks.look_at(half, truth.landmarks / 2)
    assert distance(looks.look_at(picture, truth.landmarks), seen) < DIFFERENT / 2


def test_a_shrunk_picture_is_looked_at_where_the_face_is():
    """Detections lie in the pixels of the frame; the picture is what the detector was given of it."""
    frame, truth = render_frame(
        subject_identity((8, 0)), pose=PLACES["one"][1], scene=PLACES["one"][0], size=(320, 180)
    )
    large = cv2.resize(frame, (1280, 720), interpolation=cv2.INTER_CUBIC)
    picture, scale = shrink(large, 640)
    assert picture.shape[:2] == (360, 640)
    left, top, right, bottom = truth.box
    found = Detections(
        boxes=np.array([[left, top, right, bottom]], np.float32) * 4,
        scores=np.ones(1, np.float32),
        landmarks=truth.landmarks[None] * 4,
    )
    seen = looks.Looks()
    seen.see(3, picture, found, scale)
    (look,) = seen.of([(3, 0)])
    assert distance(look, looks.look_at(frame, truth.landmarks)) < DIFFERENT / 2
    seen.see(4, picture, found, (1.0, 1.0))
    (beside,) = seen.of([(4, 0)])
    assert distance(beside, look) > DIFFERENT  # so the place matters


def test_the_threshold_lies_between_shots_of_one_and_of_two():
    """Shots of other places, light and expression, as hard as the hardest of `benchmarks/identity.py`."""
    rng, shots = np.random.default_rng(7), []
    for person in range(10):
        for _ in range(2):
            clip = Clip(draw_plan(rng, person))
            frames = [clip.frame(number) for number in (0, 5, 11)]
            shots.append(np.array([looks.look_at(picture, truth.landmarks) for picture, truth in frames]))
    first, second = shots[::2], shots[1::2]
    same = [people_of([first[person], second[person]]) for person in range(10)]
    other = [people_of([first[one], second[two]]) for one in range(10) for two in range(10) if one != two]
    assert same == [[0, 0]] * 10  # with six tenths of the threshold three of them are two people
    assert other.count([0, 1]) >= 0.95 * len(other)  # with twice the threshold a quarter is one person


def test_a_close_up_shows_the_same_person(shown):
    """The hair is cut off by the picture's edge, whichever."""
    picture, truth = shown[1, "one"]
    whole, points = looks.look_at(picture, truth.landmarks), truth.landmarks
    top = int(points[:2, 1].mean() - (points[1, 0] - points[0, 0]))
    assert top > 0
    cut = np.ascontiguousarray(picture[top:])
    assert distance(looks.look_at(cut, points - [0, top]), whole) < DIFFERENT
    turned = np.ascontiguousarray(cut[::-1, ::-1])  # so that it is the other edge
    apart = np.abs(
        looks.upright(turned, cut.shape[1::-1] - np.array([1, 1]) - (points - [0, top])).astype(int)
        - looks.upright(cut, points - [0, top])
    )
    assert np.median(apart) <= 2


@pytest.mark.parametrize("landmarks", [np.zeros((5, 2)), np.full((5, 2), 1e6), np.tile([[3.0, 4.0]], (5, 1)) - 50])
def test_landmarks_that_no_face_has_give_numbers(landmarks):
    assert np.isfinite(looks.look_at(np.zeros((2, 2, 3), np.uint8), landmarks.astype(np.float32))).all()


def test_places_lie_in_the_upright_face():
    top, bottom, left, right = looks._corners()
    assert (top < bottom).all()
    assert (left < right).all()
    assert min(top.min(), left.min()) >= 0
    assert max(bottom.max(), right.max()) <= looks.SIDE
    assert len(looks.measure(np.zeros((9, 9, 3), np.uint8), np.eye(5, 2))) == len(looks._weights()[0])
