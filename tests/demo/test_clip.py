"""Rendered clips: seekable, pure functions of their plans, and truthful frame by frame."""

import dataclasses
import itertools

import numpy as np
import pytest

from est.demo.clip import Clip, render_clip
from est.demo.course import plan_course
from est.demo.sheet import contact_sheet
from est.demo.spec import RenderSpec, plan_set

SIZE = (192, 128)


def short(plan, num_frames=30):
    """Return the plan with fewer frames, so that a test renders a whole clip."""
    return dataclasses.replace(plan, num_frames=num_frames, apex=plan.apex * (num_frames - 1) // (plan.num_frames - 1))


@pytest.fixture(scope="module")
def plans():
    return [short(plan) for plan in plan_set(RenderSpec(subjects=2, seed=5, size=SIZE, difficulty=0.6))]


def test_rendering_twice_gives_the_same_frames(plans):
    for (one, truth), (two, again) in zip(render_clip(plans[0]), render_clip(plans[0]), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(truth.landmarks, again.landmarks)
        assert truth.action == again.action


def test_a_frame_rendered_alone_is_the_frame_in_its_clip(plans):
    frames = [frame for frame, _ in render_clip(plans[1])]
    assert len(frames) == 30
    for number in (17, 3, 29):
        np.testing.assert_array_equal(Clip(plans[1]).frame(number)[0], frames[number])
    for number in (-1, 30):
        with pytest.raises(IndexError, match=f"frame {number} of a clip of 30"):
            Clip(plans[1]).frame(number)


def test_rendering_leaves_global_random_state_alone(plans):
    before = np.random.get_state()[1].copy()
    next(render_clip(plans[2]))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_frames_do_not_depend_on_opencvs_threads(plans):
    import cv2

    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        alone = Clip(plans[3]).frame(7)[0]
        cv2.setNumThreads(4)
        np.testing.assert_array_equal(Clip(plans[3]).frame(7)[0], alone)
    finally:
        cv2.setNumThreads(threads)


def test_frames_change_and_stay_images(plans):
    frames = [frame for frame, _ in itertools.islice(render_clip(plans[0]), 6)]
    assert all(frame.shape == (SIZE[1], SIZE[0], 3) and frame.dtype == np.uint8 for frame in frames)
    assert all((one != two).any() for one, two in itertools.pairwise(frames))


def test_truth_is_consistent(plans):
    for plan in plans[:4]:
        for _, truth in render_clip(plan):
            left, top, right, bottom = truth.box
            assert (truth.landmarks[:, 0] > left).all()
            assert (truth.landmarks[:, 0] < right).all()
            assert (truth.landmarks[:, 1] > top).all()
            assert (truth.landmarks[:, 1] < bottom).all()
            left_eye, right_eye, nose, left_corner, right_corner = truth.landmarks
            assert left_eye[0] < right_eye[0]
            assert left_corner[0] < right_corner[0]
            assert left_eye[1] < nose[1] < left_corner[1]
            assert truth.label == truth.expression == plan.label
            if not truth.visible:
                assert truth.evidence == 0
            else:
                assert truth.evidence == (1.0 if plan.label == "neutral" else truth.intensity)


def test_occluders_hide_and_the_truth_says_so():
    plans = plan_set(RenderSpec(subjects=12, seed=1, size=SIZE, difficulty=1.0))
    hidden = seen = 0
    for plan in plans:
        occluders = plan_course(plan).occluders
        present = [number for number, occluder in enumerate(occluders) if occluder is not None]
        if not present or plan.reverse or hidden >= 6:
            continue
        clip = Clip(plan)
        bare = dataclasses.replace(clip.course, occluders=[None] * plan.num_frames)
        middle = present[len(present) // 2]
        with_it, truth = clip.frame(middle)
        clip.course = bare
        without, clear = clip.frame(middle)
        assert clear.visible
        hidden += not truth.visible
        # What is hidden differs from the bare picture around some landmark.
        near = [tuple(np.clip(p.round().astype(int), 3, (SIZE[0] - 4, SIZE[1] - 4))) for p in truth.landmarks]
        apart = max(
            np.abs(with_it[y - 3 : y + 4, x - 3 : x + 4].astype(int) - without[y - 3 : y + 4, x - 3 : x + 4]).mean()
            for x, y in near
        )
        if truth.visible:
            seen += 1
        else:
            assert apart > 3
    assert hidden >= 4


def test_temporal_pairs_hold_the_same_frames_in_opposite_order():
    spec = RenderSpec(subjects=1, clips_per_subject=2, seed=2, size=SIZE, temporal_pairs=True)
    forward, backward = (short(plan, 40) for plan in plan_set(spec))
    backward = dataclasses.replace(backward, apex=39 - forward.apex)
    one, two = ([frame for frame, _ in render_clip(plan)] for plan in (forward, backward))
    assert len(one) == 40
    for first, second in zip(one, reversed(two), strict=True):
        np.testing.assert_array_equal(first, second)
    truths = [truth for _, truth in render_clip(forward)]
    mirrored = [truth for _, truth in render_clip(backward)][::-1]
    assert [t.intensity for t in truths] == [t.intensity for t in mirrored]
    assert truths[0].label != mirrored[0].label
    assert {t.expression for t in truths} == set(forward.label.split("-then-"))


def test_the_expression_shows_at_the_apex():
    for plan in plan_set(RenderSpec(subjects=1, seed=6, size=SIZE, difficulty=0.0)):
        clip = Clip(plan)
        intensity = [float(value) for value in clip.course.intensity]
        assert intensity.index(max(intensity)) == (0 if plan.label == "neutral" else plan.apex)
        _, truth = clip.frame(plan.apex)
        shown = truth.action
        sign = {
            "anger": shown.brow_lower,
            "disgust": shown.nose_wrinkle,
            "fear": min(shown.lid_raise, shown.lip_stretch),
            "happiness": shown.lip_corner_up,
            "sadness": min(shown.lip_corner_down, shown.inner_brow_raise),
            "surprise": min(shown.outer_brow_raise, shown.jaw_drop),
        }
        for label, strength in sign.items():
            assert (strength > 0.5) == (label == plan.label), (plan.label, label)


def test_the_contact_sheet_is_a_figure():
    sheet = contact_sheet(RenderSpec(seed=1), people=2)
    assert sheet.dtype == np.uint8
    assert 1200 <= sheet.shape[1] <= 1600
    assert sheet.std() > 30
    np.testing.assert_array_equal(sheet, contact_sheet(RenderSpec(seed=1), people=2))
