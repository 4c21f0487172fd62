"""Means of attention and α by class, and how they are read from the details of several parts."""

from __future__ import annotations

import numpy as np
import pytest

from est.report.runpage.attention import by_class
from est.report.runpage.decisions import frame_weights, snippet_attention
from est.report.runpage.embedding import same_class_share
from est.train.results.details import Details

TRUTH = {"a": 0, "b": 1, "c": 1}


def details(ids, attention, alpha):
    count = len(ids)
    return Details(
        ids=np.array(ids),
        shown=np.zeros((count, 2, 3), int),
        pooled=np.zeros((count, 4)),
        arrays={"attention": np.array(attention), "alpha": np.array(alpha)},
    )


@pytest.fixture
def parts():
    """Two seeds of two clips and one clip, with two heads."""
    return {
        "one": details(["a", "b"], [[[1, 0], [0, 1]], [[1, 0], [1, 0]]], np.ones((2, 2, 3))),
        "two": details(["c"], [[[0, 1], [0, 1]]], [[[2, 1, 1], [0.5, 0.25, 0.25]]]),
    }


def test_attention_is_the_mean_over_heads_and_clips(parts):
    means, counts = by_class(parts, snippet_attention, TRUTH, 3)
    np.testing.assert_allclose(means[:2], [[0.5, 0.5], [0.5, 0.5]])
    assert np.isnan(means[2]).all()
    np.testing.assert_allclose(means[3], [0.5, 0.5])
    assert counts.tolist() == [1, 2, 0, 3]


def test_alpha_has_a_sum_of_one_in_each_snippet(parts):
    weights = frame_weights(parts["two"])
    np.testing.assert_allclose(weights, [[[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]])
    means, _ = by_class(parts, frame_weights, TRUTH, 2)
    np.testing.assert_allclose(means.sum(axis=2), 1)


def test_neighbours_are_by_cosine():
    points = np.array([[1, 0], [10, 0.1], [0, 1], [0.1, 10]])
    assert same_class_share(points, np.array([0, 0, 1, 1])) == (4, 4)
    assert same_class_share(points, np.array([0, 1, 0, 1])) == (0, 4)
    assert same_class_share(points[:1], np.array([0])) == (0, 0)
