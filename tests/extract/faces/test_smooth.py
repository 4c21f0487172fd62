"""Smoothing over time: lines stay lines, jitter goes, nothing lags."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from est.extract.faces.smooth import smooth


@settings(max_examples=40)
@given(st.integers(1, 60), st.floats(0.2, 20), st.integers(0, 2**32 - 1))
def test_smoothing_keeps_lines(length, strength, seed):
    rng = np.random.default_rng(seed)
    line = rng.uniform(-500, 4000, (1, 4)) + rng.uniform(-8, 8, (1, 4)) * np.arange(length)[:, None]
    np.testing.assert_allclose(smooth(line, strength), line, atol=1e-6)


def test_smoothing_takes_jitter_without_lag():
    rng = np.random.default_rng(0)
    time = np.arange(400)
    path = 100 + 20 * np.sin(2 * np.pi * time / 100)
    noise = rng.normal(0, 1, 400)
    smoothed = smooth(path + noise, 2)
    assert np.std(smoothed - path) < 0.45  # white noise through a Gaussian of deviation 2 keeps 0.38
    wave = smooth(path, 2)
    lags = [np.abs(wave[20:-20] - path[20 + lag : 380 + lag]).mean() for lag in (-1, 0, 1)]
    assert np.argmin(lags) == 1
    np.testing.assert_allclose(smooth(path[::-1], 2), wave[::-1], atol=1e-9)
    np.testing.assert_array_equal(smooth(path + noise, 0), path + noise)


def test_smoothing_against_a_line_fitted_by_hand():
    values = np.random.default_rng(1).normal(0, 1, 15)
    for place in (0, 1, 7, 14):
        away = np.arange(15) - place
        slope_and_value = np.polyfit(
            away, values, 1, w=np.exp(-0.25 * (away / 1.5) ** 2)
        )  # polyfit squares its weights
        assert smooth(values, 1.5)[place] == pytest.approx(
            slope_and_value[1], abs=2e-3
        )  # the kernel ends at 4 deviations


def test_smoothing_stops_at_rows_that_are_unknown():
    values = np.concatenate([np.full(10, 1.0), [np.nan] * 2, np.full(10, 5.0)])[:, None]
    np.testing.assert_allclose(smooth(values, 3), values, atol=1e-9)
