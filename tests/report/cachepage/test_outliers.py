"""Outliers among clips: a planted one is found, groups are none, and nothing is where all are alike."""

from __future__ import annotations

import numpy as np
import pytest

from est.report.cachepage.outliers import COMPARED, LEAST, ClipMeans, neighbour_distances, outliers


def found_in(means):
    return outliers(ClipMeans(places=np.arange(len(means)) * 2, means=means.astype(np.float32)))


def grouped(clips, width, groups=3, seed=0):
    rng = np.random.default_rng(seed)
    return 3 * rng.normal(size=(groups, width))[rng.integers(0, groups, clips)] + rng.normal(size=(clips, width))


@pytest.mark.parametrize(("clips", "width"), [(60, 16), (400, 512), (2000, 64)])
def test_classes_and_people_are_no_outliers_and_a_planted_one_is(clips, width):
    means = grouped(clips, width)
    assert found_in(means) == []
    means[7] += 8 * np.random.default_rng(1).normal(size=width)
    ((place, times),) = found_in(means)
    assert place == 14  # its place in the table, not its row
    assert times > 3


def test_distances_are_those_to_the_fifth_neighbour():
    means = grouped(50, 8).astype(np.float32)
    exact = np.sort(np.linalg.norm(means[:, None] - means, axis=2), axis=1)[:, 5]  # the first is the clip itself
    np.testing.assert_allclose(neighbour_distances(means), exact, rtol=1e-4)


def test_of_many_clips_some_are_compared():
    means = grouped(COMPARED + 300, 4)
    means[-1] += 100
    assert found_in(means)[0][0] == 2 * (COMPARED + 299)


@pytest.mark.parametrize("means", [np.zeros((40, 4)), np.zeros((0, 4)), grouped(LEAST - 1, 4) * 100])
def test_where_nothing_can_be_told_nothing_is_an_outlier(means):
    assert found_in(means) == []
