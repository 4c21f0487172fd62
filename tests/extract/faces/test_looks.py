"""Looks: two pictures of one rendered person are nearer to each other than two people are, whatever the size and light."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from est.demo.clip import render_frame
from est.demo.identity import subject_identity
from est.demo.pose import Pose
from est.demo.relief import Light
from est.demo.scene import Scene
from est.extract.faces import looks
from est.extract.faces.people import DIFFERENT

PLACES = {
    "one": (Scene(seed=1, background="wall"), Pose()),
    "two": (Scene(seed=2, background="shelf", light=Light(azimuth=0.6, gain=0.85)), Pose(yaw=0.12, x=0.4, scale=0.24)),
}


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
