"""The packaged detector agrees with the renderer's truth."""

import numpy as np
import pytest

from est.demo.clip import Clip
from est.demo.spec import RenderSpec, plan_set

retinaface = pytest.importorskip("retinaface")


def survey(spec, frames_per_clip):
    """Detect faces in visible frames; return how many were found, landmark errors by face width, and overlaps."""
    rng = np.random.default_rng(0)
    counts, errors, overlaps = [], [], []
    for plan in plan_set(spec):
        clip = Clip(plan)
        for number in rng.integers(0, plan.num_frames, frames_per_clip):
            image, truth = clip.frame(int(number))
            if not truth.visible:
                continue
            faces = retinaface.detect_faces(np.ascontiguousarray(image[..., ::-1]))
            counts.append(len(faces))
            if len(faces) != 1:
                continue
            (face,) = faces
            found = np.array([(point.x, point.y) for point in face.landmarks])
            errors.append(np.linalg.norm(found - truth.landmarks, axis=1) / (truth.box[2] - truth.box[0]))
            overlaps.append(overlap(truth.box, (face.x, face.y, face.x + face.width, face.y + face.height)))
    return np.array(counts), np.array(errors), np.array(overlaps)


def overlap(one, two):
    """Return the intersection over the union of two boxes."""
    common = np.prod(np.maximum(np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2]), 0))
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two))
    return common / (area - common)


def check(counts, errors, overlaps):
    assert (counts == 1).mean() >= 0.99, np.bincount(counts)
    assert errors.mean() < 0.08
    assert (errors.mean(0) < 0.08).all(), errors.mean(0)
    assert overlaps.mean() > 0.85


def test_one_face_is_found_where_it_is():
    counts, errors, overlaps = survey(RenderSpec(subjects=40, clips_per_subject=1, seed=11, size=(320, 180)), 3)
    assert len(counts) >= 100
    check(counts, errors, overlaps)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "difficulty"),
    [((640, 360), 0.4), ((320, 180), 0.4), ((1280, 720), 0.4), ((640, 360), 0.0), ((640, 360), 1.0)],
)
def test_faces_are_found_at_every_size_and_difficulty(size, difficulty):
    spec = RenderSpec(subjects=64, clips_per_subject=3, seed=12, size=size, difficulty=difficulty)
    counts, errors, overlaps = survey(spec, 4)
    assert len(counts) >= 500
    check(counts, errors, overlaps)


def test_detected_mouth_corners_rise_in_a_smile_and_part_in_surprise():
    from est.demo.action import PROTOTYPES, Action
    from est.demo.clip import render_frame
    from est.demo.identity import draw_identity
    from est.demo.pose import Pose

    def corners(person, label):
        image, truth = render_frame(person, Action(**PROTOTYPES[label][0]), Pose(scale=0.3, y=0.4))
        (face,) = retinaface.detect_faces(np.ascontiguousarray(image[..., ::-1]))
        width = truth.box[2] - truth.box[0]
        return np.array([(point.x, point.y) for point in face.landmarks[3:]]).mean(0) / width

    risen = []
    for seed in range(8):
        person = draw_identity(np.random.default_rng((4, seed)))
        risen.append(corners(person, "sadness")[1] - corners(person, "happiness")[1])
    assert np.mean(risen) > 0.03
