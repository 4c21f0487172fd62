"""Calibration: bins, the expected calibration error by hand, and what chance would show."""

from __future__ import annotations

import numpy as np
import pytest

from est.report.runpage.calibration import bins_of, calibration_error, expected_by_chance


def test_the_error_by_hand():
    confidence, right = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55]), np.array([1, 1, 1, 0, 0, 1])
    # bins: 0.9 to 1: 3 of 4 right at 0.95; 0.5 to 0.6: 1 of 2 at 0.55
    assert calibration_error(confidence, right) == pytest.approx(4 / 6 * 0.20 + 2 / 6 * 0.05)
    bins = bins_of(confidence, right)
    assert [(one.number, one.right) for one in bins if one.number] == [(2, 1), (4, 3)]
    assert bins[9].accuracy == 0.75
    assert bins[0].accuracy is bins[0].confidence is None


def test_certainty_lies_in_the_last_bin():
    assert bins_of(np.array([1.0, 0.0]), np.array([True, True]))[9].number == 1
    assert calibration_error(np.ones(3), np.ones(3)) == 0
    assert np.isnan(calibration_error(np.zeros(0), np.zeros(0)))


def test_few_predictions_look_miscalibrated_by_chance():
    rng = np.random.default_rng(1)
    few, many = rng.uniform(0.3, 1, 40), rng.uniform(0.3, 1, 20_000)
    assert expected_by_chance(few) > 0.05 > 0.01 > expected_by_chance(many, draws=20)
    found = calibration_error(few, rng.random(40) < few)
    assert abs(found - expected_by_chance(few)) < 0.1
