"""Flow of known motion, its colours, its frames and its square, and what computes it."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from flow_samples import middle, texture

from est.errors import UsageError
from est.extract.begun import computation_for
from est.extract.config import ExtractConfig
from est.extract.flow.colour import picture_of
from est.extract.flow.field import SIDE, flow, mirrored, mixed, row_of
from est.extract.flow.selection import FrameError, Moments, is_between, neighbours, positions
from est.extract.flow.square import cut, grey, square_of

ALONE = ExtractConfig(modality="flow", features=("flow",), size=32)


@pytest.mark.parametrize("step", [(3.0, 0.0), (0.0, -2.0), (1.5, 2.5)])
def test_flow_of_a_translation_is_that_translation(step):
    field = flow(grey(texture()), grey(texture(*step)))
    np.testing.assert_allclose(middle(field), step, atol=0.1)
    row = row_of(field)  # in pixels of 112 a side
    assert row.shape == (2, SIDE, SIDE)
    np.testing.assert_allclose(middle(row.transpose(1, 2, 0)), np.array(step) * SIDE / 64, atol=0.2)


def test_a_large_field_is_averaged_not_sampled():
    field = np.zeros((224, 224, 2), np.float32)
    field[::2] = 4.0
    np.testing.assert_allclose(row_of(field), 1.0)  # the mean of 4 and 0, in pixels half as many


@pytest.mark.parametrize("field", ["still", "alike"])
def test_pictures_in_which_nothing_stands_out_are_black(field):
    still = flow(grey(texture()), grey(texture()))
    assert not still.any()
    alike = np.full((32, 32, 2), 2.5, np.float32)
    assert not picture_of(still if field == "still" else alike, 48).any()


def test_mirrored_flow_is_that_of_mirrored_frames():
    onset, later = grey(texture()), grey(texture(2, 1))
    field = flow(onset, later)
    turned = flow(np.ascontiguousarray(onset[:, ::-1]), np.ascontiguousarray(later[:, ::-1]))
    np.testing.assert_allclose(middle(mirrored(field)), (-2, 1), atol=0.1)
    inside = slice(8, -8)
    assert np.abs(mirrored(field) - turned)[inside, inside].mean() < 0.02
    assert np.abs(field[:, ::-1] - turned)[inside, inside, 0].mean() > 3  # without its sign


def test_the_least_motion_is_black_and_pictures_are_resized_smoothly():
    field = np.zeros((4, 4, 2), np.float32)
    field[..., 0] = [2, 3, 4, 4]  # right: red
    np.testing.assert_array_equal(picture_of(field, 4)[0], [[0, 0, 0], [0, 0, 128], [0, 0, 255], [0, 0, 255]])
    wider = picture_of(field, 8)[3, :, 2].astype(int)
    np.testing.assert_allclose(wider, [0, 32, 96, 160, 223, 255, 255, 255], atol=1)  # a quarter and three of the way
    np.testing.assert_allclose(picture_of(field, 2)[0, :, 2], [64, 255], atol=1)  # means


def test_one_level_of_one_pixel_gives_a_bright_picture_of_little_flow():
    still = grey(texture())
    other = still.copy()
    other[30, 30] += 1
    field = flow(still, other)
    assert 0 < np.hypot(*field.transpose(2, 0, 1)).max() < 0.5
    assert picture_of(field, 64).max() == 255


def test_grey_is_bgr():
    pixels = np.array([[[200, 0, 0], [0, 200, 0], [0, 0, 200]]], np.uint8)
    np.testing.assert_allclose(grey(pixels)[0], [0.114 * 200, 0.587 * 200, 0.299 * 200], atol=1)


def test_colours_are_direction_and_distance():
    angles = np.deg2rad([0, 60, 120, 200, 300])
    field = np.zeros((1, 6, 2), np.float32)
    field[0, :5] = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array([[4], [4], [2], [3], [4]])
    picture = picture_of(np.repeat(field, 6, axis=0), 6)[0][..., ::-1] / 255  # RGB
    for pixel, angle, value in zip(picture, np.rad2deg(angles), (1, 1, 0.5, 0.75, 1), strict=False):
        hue, saturation, found = colorsys.rgb_to_hsv(*pixel)
        assert abs(hue * 360 - angle) < 3
        assert saturation == 1
        assert abs(found - value) < 0.01
    assert not picture[5].any()  # the least is black


def test_a_mirrored_picture_is_coloured_after_mirroring():
    field = np.zeros((8, 8, 2), np.float32)
    field[:, :4, 0] = 3.0  # the left half goes right: red
    picture = picture_of(mirrored(field), 8)
    assert (picture[:, 4:] == (255, 255, 0)).all()  # the right half goes left: cyan
    assert not picture[:, :4].any()


@pytest.mark.parametrize(
    ("onset", "apex", "frames", "expected"),
    [
        (2, 20, 60, range(15, 26)),  # apex − 5
        (2, 5, 60, range(3, 14)),  # onset + 1
        (0, 5, 12, range(1, 12)),  # just enough
        (0, 10, 11, np.linspace(5, 10, 11)),
        (0, 10, 15, [5, 6, 7, 8, 9, 9.5, 10, 11, 12, 13, 14]),  # one frame is missing, and one row is between two
        (0, 2, 3, np.linspace(1, 2, 11)),
        (3, 4, 5, [4] * 11),
        (4, 4, 30, range(5, 16)),  # the apex at the onset
    ],
)
def test_frames_begin_five_before_the_apex(onset, apex, frames, expected):
    found = positions(Moments(onset=onset, apex=apex), "apex", frames)
    np.testing.assert_allclose(found, list(expected))


@pytest.mark.parametrize(
    ("onset", "frames", "first", "last"), [(9, 200, 10, 199), (-1, 12, 1, 11), (-1, 5, 1, 4), (0, 2, 1, 1)]
)
def test_frames_over_the_whole_clip_are_even(onset, frames, first, last):
    found = positions(Moments(onset=onset), "whole", frames)
    assert (len(found), found[0], found[-1]) == (11, first, last)
    steps = np.diff(found)
    assert steps.max() - steps.min() <= 1
    assert set(range(first, last + 1)) <= set(found) or frames == 200, "each frame that there is keeps a row"
    whole = frames - first >= 11
    assert whole == (found == np.rint(found)).all() or frames == 2
    assert whole == (not is_between(found).any())


def test_rows_between_frames_are_mixed_by_nearness():
    assert neighbours(7.0) == [(7, 1.0)]
    (below, more), (above, less) = neighbours(7.25)
    assert (below, above, more, less) == (7, 8, 0.75, 0.25)
    one, two = np.zeros((4, 4, 2), np.float32), np.full((4, 4, 2), 8, np.float32)
    mean = mixed([(one, more), (two, less)])
    assert mean.dtype == np.float32
    np.testing.assert_array_equal(mean, 2.0)
    np.testing.assert_array_equal(is_between(np.array([4.0, 4.0, 4.5, 5.0])), [False, True, True, False])


@pytest.mark.parametrize(
    ("moments", "frames", "told"),
    [
        (Moments(), "apex", "onset is not known"),
        (Moments(onset=3), "apex", "apex is not known"),
        (Moments(onset=3, apex=2), "apex", "apex 2 is before its onset 3"),
        (Moments(onset=3, apex=3), "apex", ""),
        (Moments(), "whole", ""),
        (Moments(onset=3, apex=2), "whole", ""),
    ],
)
def test_moments_that_are_missing_are_named_before_decoding(moments, frames, told):
    problem = moments.problem(frames)
    assert told in problem
    assert bool(problem) == bool(told) == ("Try: " in problem)


@pytest.mark.parametrize(
    ("moments", "frames", "num_frames", "told"),
    [
        (Moments(onset=9, apex=12), "apex", 9, "onset 9 is beyond the end of the clip, which has 9 frames"),
        (Moments(onset=2, apex=9), "apex", 9, "apex 9 is beyond"),
        (Moments(onset=8, apex=8), "apex", 9, "ends with its onset, frame 8"),
        (Moments(), "whole", 1, "has 1 frame and ends"),
    ],
)
def test_moments_beyond_the_clip_are_refused(moments, frames, num_frames, told):
    with pytest.raises(FrameError, match=told) as refused:
        positions(moments, frames, num_frames)
    assert refused.value.remedy


def test_the_square_is_that_of_the_authors_on_the_mean_shape():
    """Heights of dlib's mean shape: chin, brow, lower lip, eyes, mouth's corners, tip of the nose, in faces of 200 pixels."""
    chin, brow, lip, eyes, mouth, nose = (200 * y for y in (1.0608, 0.1924, 0.8417, 0.3257, 0.7428, 0.5532))
    assert ((chin - brow) + (chin - lip)) / (mouth - eyes) == pytest.approx(2.607, abs=5e-4)
    landmarks = np.array([[60, eyes], [140, eyes], [100, nose], [70, mouth], [130, mouth]])
    x0, y0, x1, y1 = square_of(np.zeros(4), landmarks, 0.0)
    assert x1 - x0 == y1 - y0 == pytest.approx((chin - brow) + (chin - lip), rel=0.01)
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((100, nose), abs=1)
    wider = square_of(np.zeros(4), landmarks, 0.5)
    assert wider[2] - wider[0] == pytest.approx(1.5 * (x1 - x0), abs=1)


def test_without_points_the_square_is_around_the_box():
    square = square_of(np.array([10, 20, 50, 80]), np.full((5, 2), np.nan), 0.0)
    np.testing.assert_array_equal(square, [0, 20, 60, 80])


@pytest.mark.parametrize("square", [(4, 2, 12, 10), (-4, -2, 8, 10), (12, 9, 24, 21), (40, 0, 44, 4)])
def test_pixels_of_a_square_are_those_of_the_frame(square):
    frame = np.random.default_rng(0).integers(1, 255, (16, 20, 3), np.uint8)
    padded = cv2.copyMakeBorder(frame, 32, 32, 32, 32, cv2.BORDER_CONSTANT)
    x0, y0, x1, y1 = square
    np.testing.assert_array_equal(cut(frame, np.array(square)), padded[y0 + 32 : y1 + 32, x0 + 32 : x1 + 32])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"engine": "onnxruntime"}, "--engine"),
        ({"engine": "torch", "precision": "int8"}, "--engine and --precision"),
        ({"detector": "none", "precision": "fp32"}, "--precision"),
        ({"detector": "insightface:buffalo_l", "precision": "bf16"}, "--precision"),  # which is in fp32 always
    ],
)
def test_how_an_encoder_is_computed_is_refused_where_there_is_none(changes, named):
    with pytest.raises(UsageError, match=f"no encoder makes: {named} would have no effect") as refused:
        replace(ALONE, **changes)
    assert refused.value.remedy.startswith(f"leave out {named}; or")
    replace(ALONE, features=("gap", "flow"), **changes)


def test_without_an_encoder_the_precision_is_the_detectors(monkeypatch):
    monkeypatch.setattr("est.encoders.engines.choice.is_fast_here", lambda: True)
    monkeypatch.setattr("est.encoders.precision.fast_bf16_flags", list)
    for precision in ("auto", "fp32"):
        found = computation_for(replace(ALONE, precision=precision), None, [torch.device("cpu")])
        assert (found.engine, found.searching, found.hint) == ("torch", "fp32", "")
