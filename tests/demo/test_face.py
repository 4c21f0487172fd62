"""The drawn face: action units move what they should, and pose carries pixels and truth alike."""

import itertools

import numpy as np
import pytest

from est.demo.action import EXPRESSIONS, PROTOTYPES, Action
from est.demo.canvas import BOTTOM, LEFT, RIGHT, TOP, Canvas
from est.demo.clip import render_frame
from est.demo.eyes import eye_shape
from est.demo.head import Head
from est.demo.identity import GLASSES, Identity, draw_identity
from est.demo.mouth import mouth_shape
from est.demo.pose import Pose, PoseWarp
from est.demo.relief import Light
from est.demo.scene import BACKGROUNDS, Scene
from est.errors import UsageError

PERSON = Identity(hair="short")


@pytest.fixture(scope="module")
def head():
    return Head(PERSON, Light(azimuth=-0.4), 70.0)


def changed(head, action, left, top, right, bottom):
    """Return the mean change of grey level between rest and action in a rectangle of face units."""
    window = head.canvas.window(left, top, right, bottom)
    rest, moved = (window.of(head.draw(a)[0]).astype(float) for a in (Action(), action))
    return np.abs(moved - rest).mean()


BROWS, FOREHEAD = (-0.75, -0.55, 0.75, -0.15), (-0.5, -0.8, 0.5, -0.4)
EYES, NOSE = (-0.7, -0.12, 0.7, 0.12), (-0.2, 0.05, 0.2, 0.45)
MOUTH, CHEEKS, CHIN = (-0.5, 0.8, 0.5, 1.2), (0.3, 0.5, 0.75, 1.0), (-0.3, 1.15, 0.3, 1.6)


@pytest.mark.parametrize(
    ("unit", "where", "untouched"),
    [
        ("inner_brow_raise", (BROWS, FOREHEAD), MOUTH),
        ("outer_brow_raise", (BROWS, FOREHEAD), MOUTH),
        ("brow_lower", (BROWS,), MOUTH),
        ("lid_raise", (EYES,), MOUTH),
        ("lid_tighten", (EYES,), MOUTH),
        ("cheek_raise", (EYES, (0.68, -0.15, 0.88, 0.2)), CHIN),
        ("nose_wrinkle", (NOSE, BROWS), CHIN),
        ("upper_lip_raise", (MOUTH,), FOREHEAD),
        ("lip_corner_up", (MOUTH, CHEEKS), FOREHEAD),
        ("lip_corner_down", (MOUTH,), FOREHEAD),
        ("lower_lip_down", (MOUTH,), FOREHEAD),
        ("chin_raise", (CHIN,), FOREHEAD),
        ("lip_pucker", (MOUTH,), FOREHEAD),
        ("lip_stretch", (MOUTH, CHEEKS), FOREHEAD),
        ("lip_press", (MOUTH,), FOREHEAD),
        ("lips_part", (MOUTH,), FOREHEAD),
        ("jaw_drop", (MOUTH, CHIN), FOREHEAD),
        ("blink", (EYES,), MOUTH),
    ],
)
def test_each_action_unit_shows_where_it_should_and_only_there(head, unit, where, untouched):
    # A lower lip cannot be seen to part from an upper one that it touches; the unit acts on parted lips.
    other = {"lips_part": 0.6} if unit == "lower_lip_down" else {}
    action = Action(**{unit: 1.0, **other})
    for area in where:
        assert changed(head, action, *area) > 1.5
    assert changed(head, action, *untouched) < 0.1


def test_lines_of_the_skin_are_seen_from_either_side():
    for azimuth in (-0.9, 0.9):
        head = Head(PERSON, Light(azimuth=azimuth), 70.0)
        assert changed(head, Action(lip_corner_up=1.0), 0.3, 0.55, 0.7, 0.85) > 2


def brow_height(head, action, side):
    """Return the mean y of the dark pixels of one brow."""
    x0, x1 = sorted((0.2 * side, 0.68 * side))
    window = head.canvas.window(x0, -0.58, x1, -0.17)
    grey = window.of(head.draw(action)[0]).astype(float).sum(2)
    dark = np.clip(np.percentile(grey, 60) * 0.6 - grey, 0, None).sum(1)
    return window.top + (np.arange(len(dark)) * dark).sum() / dark.sum() / head.canvas.scale


def test_brows_rise_and_sink_in_the_picture(head):
    for side in (-1, 1):
        rest = brow_height(head, Action(), side)
        assert brow_height(head, Action(inner_brow_raise=0.6, outer_brow_raise=0.6), side) < rest - 0.04
        assert brow_height(head, Action(brow_lower=1.0), side) > rest + 0.02


def test_mouth_corners_follow_their_units():
    rest = mouth_shape(PERSON, Action()).corners
    up, down, wide, round_ = (
        mouth_shape(PERSON, Action(**{unit: 1.0})).corners
        for unit in ("lip_corner_up", "lip_corner_down", "lip_stretch", "lip_pucker")
    )
    assert (up[:, 1] < rest[:, 1] - 0.1).all()
    assert (down[:, 1] > rest[:, 1] + 0.1).all()
    assert np.ptp(wide[:, 0]) > np.ptp(rest[:, 0]) + 0.15
    assert np.ptp(round_[:, 0]) < np.ptp(rest[:, 0]) - 0.15


def test_lips_never_cross_and_a_dropped_jaw_opens_them():
    for label in EXPRESSIONS:
        for prototype in PROTOTYPES[label]:
            shape = mouth_shape(PERSON, Action(**prototype))
            ys = [c[:, 1] for c in (shape.upper_outer, shape.upper_inner, shape.lower_inner, shape.lower_outer)]
            assert all((above <= below + 1e-9).all() for above, below in itertools.pairwise(ys))
    assert mouth_shape(PERSON, Action(jaw_drop=1.0)).gap > mouth_shape(PERSON, Action()).gap + 0.2


def test_lids_open_narrow_and_close():
    def opening(**units):
        shape = eye_shape(PERSON, Action(**units), 1)
        return float((shape.lower - shape.upper)[:, 1].max())

    assert opening(lid_raise=1.0) > opening() > opening(lid_tighten=1.0) > opening(blink=1.0)
    assert opening(blink=1.0) < 0.01


def test_asymmetry_is_stronger_on_its_side():
    corners = mouth_shape(PERSON, Action(lip_corner_up=1.0, asymmetry=0.3)).corners
    assert corners[1, 1] < corners[0, 1] - 0.05


POSES = [
    Pose(),
    Pose(yaw=0.45, roll=0.2, x=0.4, scale=0.21),
    Pose(yaw=-0.45, pitch=0.3, roll=-0.25, y=0.5, scale=0.19),
    Pose(pitch=-0.35, x=0.55, scale=0.23),
]


@pytest.mark.parametrize("pose", POSES)
def test_pose_carries_planted_markers_to_where_the_truth_says(pose):
    canvas, size = Canvas(80.0), (640, 360)
    warp = PoseWarp(pose, PERSON, size)
    for point in [(-0.43, 0.0), (0.43, 0.0), (0.0, 0.55), (-0.37, 0.97), (0.37, 0.97), (0.0, 1.5), (0.85, 0.3)]:
        colour = np.zeros((*canvas.shape, 3), np.uint8)
        canvas.whole.disc(colour, point, 0.03, (255, 255, 255))
        frame = np.zeros((size[1], size[0], 3), np.uint8)
        warp.paste(frame, canvas, colour, np.full(canvas.shape, 255, np.uint8))
        weight = frame[..., 0].astype(float)
        found = (
            np.array([(weight.sum(0) * np.arange(size[0])).sum(), (weight.sum(1) * np.arange(size[1])).sum()])
            / weight.sum()
        )
        np.testing.assert_allclose(found, warp.forward(np.array([point]))[0], atol=0.6)


def test_pose_is_undone_by_its_inverse():
    points = np.stack(np.meshgrid(np.linspace(LEFT, RIGHT, 9), np.linspace(TOP, BOTTOM, 9)), axis=-1).reshape(-1, 2)
    for pose in POSES:
        warp = PoseWarp(pose, PERSON, (640, 360))
        np.testing.assert_allclose(warp.backward(warp.forward(points)), points, atol=0.02)


def test_pose_out_of_reach_is_refused():
    with pytest.raises(UsageError, match=r"expected yaw and pitch within ±0\.5 radians, found 0\.9"):
        Pose(yaw=0.9)
    with pytest.raises(UsageError, match="expected a scale above 0"):
        Pose(scale=0.0)


def test_the_same_face_at_twice_the_size_is_the_same_picture():
    import cv2

    small, truth = render_frame(PERSON, size=(320, 180), scene=Scene(noise=0.0))
    large, double = render_frame(PERSON, size=(640, 360), scene=Scene(noise=0.0))
    np.testing.assert_allclose(np.array(double.box), 2 * np.array(truth.box), atol=0.01)
    shrunk = cv2.resize(large, (320, 180), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(float) - small).mean() < 2.5


def test_a_frame_is_a_function_of_its_parameters_alone():
    one, _ = render_frame(PERSON, Action(jaw_drop=0.5), noise_seed=9)
    render_frame(Identity(hair="long"), Action(blink=1.0))
    two, _ = render_frame(PERSON, Action(jaw_drop=0.5), noise_seed=9)
    np.testing.assert_array_equal(one, two)
    assert (render_frame(PERSON, Action(jaw_drop=0.5), noise_seed=10)[0] != one).mean() > 0.3


def test_people_differ_and_every_style_draws():
    people = [draw_identity(np.random.default_rng(seed)) for seed in range(40)]
    assert {person.glasses for person in people} == set(GLASSES)
    assert len({person.hair for person in people}) >= 9
    assert len({person.beard for person in people}) == 5
    for number, person in enumerate(people):
        scene = Scene(background=BACKGROUNDS[number % len(BACKGROUNDS)], noise=0.0)
        image, truth = render_frame(person, scene=scene, size=(192, 128))
        left, top, right, bottom = (round(side) for side in truth.box)
        face = image[max(top, 0) : bottom, left:right].astype(float)
        # The face is neither flat nor burnt out, and mostly of its skin's hue: more red than blue.
        assert face.std() > 12
        assert (face.min(2) > 250).mean() < 0.03
        assert np.median(face[..., 2] - face[..., 0]) > 5
