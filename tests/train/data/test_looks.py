"""Looks at a picture: mirrored, moved, scaled and lit, each as it says and no more."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from extract_samples import face_frames

from est.train.data.pixels import augmented

SIDE = 64


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return cv2.resize(face_frames(1)[0], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def look(right=0.0, down=0.0, zoom=1.0, gain=1.0):
    return np.array([right, down, zoom, gain])


def test_a_picture_that_is_looked_at_as_it_is_stays_untouched(picture):
    assert augmented(picture, look(), mirrored=False) is picture
    np.testing.assert_array_equal(augmented(picture, look(), mirrored=True), picture[:, ::-1])


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, -7), (-11, 5), (SIDE // 2, SIDE // 2)])
def test_a_shift_by_whole_pixels_moves_them_and_goes_on_at_the_border(picture, right, down):
    for mirrored in (False, True):
        start = picture[:, ::-1] if mirrored else picture
        rows = np.clip(np.arange(SIDE) - down, 0, SIDE - 1)
        columns = np.clip(np.arange(SIDE) - right, 0, SIDE - 1)
        found = augmented(picture, look(right / SIDE, down / SIDE), mirrored=mirrored)
        np.testing.assert_array_equal(found, start[rows][:, columns])


def test_zooming_goes_about_the_middle(picture):
    xx = np.mgrid[:SIDE, :SIDE][1].astype(np.float64)
    middle = (SIDE - 1) / 2
    ramp = np.repeat(np.rint(40 + 2 * xx).astype(np.uint8)[..., None], 3, axis=2)
    for zoom in (0.9, 1.1, 1.5):
        expected = 40 + 2 * np.clip((xx - middle) / zoom + middle, 0, SIDE - 1)
        found = augmented(ramp, look(zoom=zoom), mirrored=False)[..., 0]
        assert np.abs(found - expected).max() <= 1
        turned = augmented(np.ascontiguousarray(ramp.transpose(1, 0, 2)), look(zoom=zoom), mirrored=False)
        assert np.abs(turned[..., 0].astype(int) - found.T).max() <= 1
        mirrored = augmented(picture, look(zoom=zoom), mirrored=True).astype(int)
        assert np.abs(mirrored - augmented(picture, look(zoom=zoom), mirrored=False)[:, ::-1]).max() <= 2
    both = augmented(ramp, look(right=4 / SIDE, zoom=1.25), mirrored=False)[..., 0]
    np.testing.assert_allclose(both[:, 4:], augmented(ramp, look(zoom=1.25), mirrored=False)[:, :-4, 0], atol=1)


def test_light_is_a_factor(picture):
    for gain in (0.5, 0.8, 1.3, 1.9):
        found = augmented(picture, look(gain=gain), mirrored=False).astype(float)
        assert np.abs(found - np.minimum(picture * gain, 255)).max() <= 0.5
    assert (augmented(picture, look(gain=1.9), mirrored=False) == 255).any()
