"""Crops: exact to a part of a pixel, averaged where they shrink, black where there is nothing, and true to the planted face."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from est.crops.crop import BOX_MARGIN, TEMPLATE_112, box_matrix, crop_face, points_matrix, warp
from est.crops.jpeg import decode_crop, encode_crop, library
from est.demo.clip import Clip
from est.demo.spec import RenderSpec, plan_set
from est.errors import CacheDamaged, UsageError

NOWHERE = np.full((5, 2), np.nan)


def apply(matrix, points):
    return np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]


def ramp(height, width):
    """Return a float picture whose channels are x, y and x + y: what a map does to it is known in closed form."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([x, y, x + y], axis=2)


def area_mean(frame, box, size):
    """Return the crop of a box by brute force: every pixel the mean of what it covers, black outside the frame.

    Each covered place is weighed by its exact share: the integral over a rectangle, from summed areas.
    """
    x0, y0, x1, y1 = box
    height, width = frame.shape[:2]
    sums = np.zeros((height + 1, width + 1, frame.shape[2]))
    sums[1:, 1:] = frame.astype(float).cumsum(0).cumsum(1)

    def integral(places, axis, values):
        places = np.clip(places, 0, values.shape[axis] - 1)
        low = np.minimum(np.floor(places).astype(int), values.shape[axis] - 2)
        part = (places - low).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
        return np.take(values, low, axis) * (1 - part) + np.take(values, low + 1, axis) * part

    grid = integral(np.linspace(y0, y1, size + 1), 0, integral(np.linspace(x0, x1, size + 1), 1, sums))
    return np.diff(np.diff(grid, axis=0), axis=1) * size * size / ((x1 - x0) * (y1 - y0))


def test_a_box_goes_to_the_edges_of_its_crop():
    matrix = box_matrix(np.array([10.5, 20, 50.5, 50]), 0.25, 100)  # side 50 around (30.5, 35)
    edges = np.array([[5.5, 10], [55.5, 60]])
    np.testing.assert_allclose(apply(matrix, edges - 0.5) + 0.5, [[0, 0], [100, 100]], atol=1e-9)


def test_a_pictures_own_box_gives_the_picture():
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    crop, matrix = crop_face(frame, np.array([0, 0, 64, 64]), NOWHERE, align="box", margin=0.0, size=64)
    np.testing.assert_array_equal(crop, frame)
    np.testing.assert_allclose(matrix, [[1, 0, 0], [0, 1, 0]], atol=1e-12)


@pytest.mark.parametrize("side", [30.0, 50.5, 89.75])
def test_the_crop_of_a_mirrored_picture_is_the_mirrored_crop(side):
    frame = np.random.default_rng(0).integers(0, 256, (180, 200, 3), np.uint8)
    box = np.array([11.25, 5, 11.25 + side, 5 + side])
    mirrored = np.array([200 - box[2], box[1], 200 - box[0], box[3]])
    one, two = (warp(f, box_matrix(b, 0.1, 48), 48) for f, b in ((frame, box), (frame[:, ::-1].copy(), mirrored)))
    assert np.abs(one[:, ::-1].astype(int) - two).max() <= 1


@settings(max_examples=60)
@given(st.floats(20, 60), st.floats(20, 60), st.floats(8, 110), st.floats(-40, 40), st.sampled_from([16, 48, 112]))
def test_a_ramp_is_cropped_as_the_formula_says(x, y, side, degrees, size):
    """Enlarged, shrunk and averaged, turned too: inside, each pixel holds the place that it shows."""
    frame = ramp(240, 260)
    scale, angle = size / side, np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([x + 70, y + 70])
    matrix = np.column_stack([linear, (size - 1) / 2 - linear @ centre])
    crop = warp(frame, matrix, size)
    v, u = np.mgrid[:size, :size]
    places = (np.stack([u, v], axis=2) - matrix[:, 2]) @ np.linalg.inv(linear).T
    expected = np.stack([places[..., 0], places[..., 1], places.sum(2)], axis=2)
    assert (
        np.abs(crop - expected).max() < 0.07
    )  # OpenCV's maps are exact to a 32nd of a pixel, of the picture or of its reduction


@pytest.mark.parametrize("factor", [2, 3, 5, 8])
@pytest.mark.parametrize("corner", [(24, 16), (-21, -7), (101, 90)])
def test_whole_factors_average_exactly(factor, corner):
    """Inside, over the upper left and over the lower right border."""
    frame = np.random.default_rng(1).integers(0, 256, (150, 170, 3), np.uint8)
    box = np.array([*corner, corner[0] + 16 * factor, corner[1] + 16 * factor], float)
    crop = warp(frame, box_matrix(box, 0.0, 16), 16)
    assert np.abs(crop - area_mean(frame, box, 16)).max() <= 0.51
    assert crop.any()


@pytest.mark.parametrize("side", [101.0, 133.7, 222.2, 310.5, 390.0])
def test_other_factors_average_nearly(side):
    """Noise, which sampling alone keeps at full strength, and a picture without any, which comes out as it should."""
    rng = np.random.default_rng(2)
    box = np.array([1.3, 0.9, 1.3 + side, 0.9 + side])
    matrix = box_matrix(box, 0.0, 48)
    noise = rng.integers(0, 256, (400, 400, 3), np.uint8)
    expected = area_mean(noise, box, 48)
    error = np.abs(warp(noise, matrix, 48) - expected).mean()
    sampled = np.abs(cv2.warpAffine(noise, matrix, (48, 48), flags=cv2.INTER_LINEAR) - expected).mean()
    assert error < 0.6 * sampled
    waves = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), side / 24)
    calm = cv2.normalize(waves, waves, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    assert np.abs(warp(calm, matrix, 48) - area_mean(calm, box, 48)).mean() < 1.5


@pytest.mark.parametrize("size", [8, 60, 100])
def test_outside_the_frame_is_black(size):
    """A box half outside, at scales below, at and above one."""
    frame = np.full((50, 50, 3), 200, np.uint8)
    crop = warp(frame, box_matrix(np.array([-30, 10, 30, 70]), 0.0, size), size)
    inside = crop[: size * 40 // 60 - 1, size // 2 + 1 :]
    assert (inside == 200).all()
    assert not crop[:, : size // 2 - 1].any()
    assert not crop[size * 40 // 60 + 1 :].any()


@pytest.mark.parametrize("box", [(500, 500, 560, 560), (-5000, 0, -1000, 4000), (60, 0, 9000, 9000)])
def test_a_box_beyond_the_frame_is_a_black_crop(box):
    frame = np.full((50, 60, 3), 200, np.uint8)
    crop = warp(frame, box_matrix(np.array(box, float), 0.0, 32), 32)
    assert crop.shape == (32, 32, 3)
    assert not crop.any()


@pytest.mark.parametrize("side", [1.0, 3.0, 30.0, 1000.0, 1e7])
def test_a_face_larger_than_the_frame(side):
    """What the frame shows stays, as bright as its share of the crop."""
    frame = np.full((40, 50, 3), 240, np.uint8)
    box = np.array([25 - 25 * side, 20 - 25 * side, 25 + 25 * side, 20 + 25 * side])
    crop = warp(frame, box_matrix(box, 0.0, 64), 64)
    expected = 240 * 64 * 64 * (40 * 50) / (50 * side) ** 2
    assert crop.shape == (64, 64, 3)
    if side <= 30:
        assert crop.astype(float).sum() / 3 == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("box", [(10, 10, 10, 10), (10, 10, 10, 14), (12, 12, 10, 10)])
def test_a_box_without_area_is_still_a_crop(box):
    frame = np.random.default_rng(3).integers(50, 256, (20, 20, 3), np.uint8)
    crop, matrix = crop_face(frame, np.array(box), NOWHERE, align="box", margin=0.1, size=32)
    assert crop.shape == (32, 32, 3)
    assert crop.all()
    assert np.isfinite(matrix).all()


@pytest.mark.parametrize("size", [32, 224])
def test_frames_of_one_pixel(size):
    frame = np.full((1, 1, 3), 90, np.uint8)
    for box in ((0, 0, 1, 1), (-10, -10, 200, 200), (3, 3, 5, 5)):
        crop = warp(frame, box_matrix(np.array(box, float), 0.0, size), size)
        assert crop.shape == (size, size, 3)
        assert crop.max() <= 90
    assert warp(frame, box_matrix(np.array([0, 0, 1, 1.0]), 0.0, size), size)[size // 2, size // 2].min() >= 85


def test_what_is_not_known_is_not_cropped():
    frame = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(ValueError, match="needs landmarks"):
        crop_face(frame, np.array([0, 0, 9, 9]), NOWHERE, align="5point", margin=0.0, size=32)
    with pytest.raises(ValueError, match="needs box"):
        crop_face(frame, np.full(4, np.nan), NOWHERE, align="box", margin=0.0, size=32)


@settings(max_examples=40)
@given(
    st.floats(0.2, 6), st.floats(-180, 180), st.floats(-300, 900), st.sampled_from([112, 224, 100]), st.floats(0, 0.5)
)
def test_five_points_return_to_the_template(scale, degrees, shift, size, margin):
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = TEMPLATE_112 @ turn.T + [shift, -shift]
    matrix = points_matrix(landmarks, margin, size)
    expected = ((TEMPLATE_112 - 56) / (1 + margin) + 56) * size / 112
    np.testing.assert_allclose(apply(matrix, landmarks), expected, atol=1e-3)


@pytest.mark.parametrize("size", [112, 224])
@pytest.mark.filterwarnings(
    "ignore:.estimate. is deprecated:FutureWarning"
)  # insightface calls scikit-image's old name
def test_five_points_as_insightface_aligns_them(size):
    face_align = pytest.importorskip("insightface.utils.face_align")
    rng = np.random.default_rng(5)
    for _ in range(10):
        landmarks = TEMPLATE_112 * rng.uniform(0.5, 3) + rng.normal(0, 6, (5, 2)) + rng.uniform(0, 400, 2)
        expected = face_align.estimate_norm(landmarks, size)
        np.testing.assert_allclose(points_matrix(landmarks, 0.0, size), expected, rtol=1e-4, atol=1e-3)


def test_points_without_extent_still_give_a_map():
    matrix = points_matrix(np.full((5, 2), 7.0), 0.0, 112)
    np.testing.assert_allclose(matrix[:, :2], np.eye(2))
    np.testing.assert_allclose(apply(matrix, [[7, 7]]), [TEMPLATE_112.mean(0)], atol=1e-4)


@pytest.fixture(scope="module")
def portraits():
    """Frames and truths at every difficulty."""
    found = []
    for difficulty in (0.0, 0.4, 1.0):
        for plan in plan_set(
            RenderSpec(subjects=4, clips_per_subject=1, seed=21, difficulty=difficulty, size=(256, 144))
        ):
            clip = Clip(dataclasses.replace(plan, num_frames=30, apex=15))
            found += [clip.frame(t) for t in (3, 15, 27)]
    return found


def test_crops_hold_the_true_face(portraits):
    """With a detector's error on the box: 1.3 % of the face's height sidewards, 2.6 % up and down, as RetinaFace has on these faces."""
    rng = np.random.default_rng(6)
    for image, truth in portraits:
        box = np.array(truth.box)
        found = box + rng.normal(0, 1, 4) * [0.013, 0.026, 0.013, 0.026] * (box[3] - box[1])
        crop, matrix = crop_face(image, found, NOWHERE, align="box", margin=BOX_MARGIN, size=112)
        assert crop.shape == (112, 112, 3)
        edges = apply(matrix, box.reshape(2, 2) - 0.5) + 0.5
        assert (edges >= 0).all()
        assert (edges <= 112).all()
        marks = apply(matrix, truth.landmarks)
        assert ((marks > 0) & (marks < 112)).all()
        assert np.ptp(edges[:, 1]) > 0.7 * 112  # and not lost in it


def test_landmarks_land_on_what_they_mark(portraits):
    """Dots drawn at the true landmarks are found in the crop where the map says, with either alignment."""
    for image, truth in portraits[::4]:
        for align in ("box", "5point"):
            for mark in truth.landmarks:
                y, x = np.mgrid[: image.shape[0], : image.shape[1]]
                dot = 255 * np.exp(-((x - mark[0]) ** 2 + (y - mark[1]) ** 2) / (2 * 1.5**2))
                crop, matrix = crop_face(
                    dot.astype(np.float32)[..., None].repeat(3, 2),
                    truth.box,
                    truth.landmarks,
                    align=align,
                    margin=0.1,
                    size=112,
                )
                weight = crop[..., 0]
                v, u = np.mgrid[:112, :112]
                found = np.array([(weight * u).sum(), (weight * v).sum()]) / weight.sum()
                np.testing.assert_allclose(found, apply(matrix, mark), atol=0.1)


def test_five_point_crops_put_the_eyes_level(portraits):
    template = TEMPLATE_112 * 2
    misses = []
    for image, truth in portraits:
        _, matrix = crop_face(image, truth.box, truth.landmarks, align="5point", margin=0.0, size=224)
        marks = apply(matrix, truth.landmarks)
        misses.append(np.linalg.norm(marks - template, axis=1))
        assert abs(marks[0, 1] - marks[1, 1]) < 20
    assert np.mean(misses) < 12  # of 224: drawn faces differ in shape from the template


@pytest.fixture(scope="module")
def crop(portraits):
    image, truth = portraits[0]
    return crop_face(image, truth.box, truth.landmarks, align="box", margin=0.1, size=112)[0]


def test_jpeg_is_repeatable_and_near(crop):
    data = encode_crop(crop)
    assert data == encode_crop(crop.copy())
    back = decode_crop(data)
    assert back.shape == crop.shape
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, decode_crop(np.frombuffer(data, np.uint8)))
    assert np.abs(back.astype(int) - crop).mean() < 3
    assert len(encode_crop(crop, 50)) < len(encode_crop(crop, 95)) < crop.nbytes


def test_jpeg_keeps_the_order_of_colours():
    blue = np.zeros((16, 16, 3), np.uint8)
    blue[..., 0] = 200
    assert np.abs(decode_crop(encode_crop(blue)).astype(int) - blue).max() <= 3


@pytest.mark.parametrize("data", [b"", b"no picture"])
def test_damaged_jpeg_is_said_to_be(data):
    with pytest.raises(CacheDamaged, match=f"{len(data)} bytes"):
        decode_crop(data)


@pytest.mark.parametrize("quality", [0, 101])
def test_jpeg_quality_is_checked(crop, quality):
    with pytest.raises(UsageError, match=str(quality)):
        encode_crop(crop, quality)


def test_the_jpeg_library_is_named():
    assert "jpeg" in library()
    assert any(character.isdigit() for character in library())
