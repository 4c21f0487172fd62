"""Beta and Student's t beside scipy's, which comes with scikit-learn."""

import numpy as np
import pytest
from scipy import stats

from est.train.results.distributions import beta_cdf, beta_quantile, t_cdf, t_quantile


def test_the_beta_distribution_is_that_of_scipy():
    rng = np.random.default_rng(0)
    a, b = 10 ** rng.uniform(-1, 4, (2, 1000))
    x = rng.beta(a, b)
    np.testing.assert_allclose(beta_cdf(x, a, b), stats.beta.cdf(x, a, b), rtol=1e-9, atol=1e-10)
    b = np.maximum(b, 1)
    for p in (0.025, 0.5, 0.975):
        np.testing.assert_allclose(beta_quantile(p, a, b), stats.beta.ppf(p, a, b), rtol=1e-8)


def test_the_ends_of_the_beta_distribution():
    np.testing.assert_array_equal(beta_cdf(np.array([-1, 0, 1, 2]), 2.0, 3.0), [0, 0, 1, 1])
    assert beta_cdf(0.3, 1.0, 1.0) == pytest.approx(0.3)
    np.testing.assert_array_equal(beta_quantile(np.array([0, 1]), 2.0, 3.0), [0, 1])


def test_students_t_is_that_of_scipy():
    df = np.array([1, 1.5, 4, 11, 100, 1e5])
    for p in (0.025, 0.2, 0.5, 0.8, 0.975):
        np.testing.assert_allclose(t_quantile(p, df), stats.t.ppf(p, df), rtol=1e-8, atol=1e-12)
    t = np.linspace(-6, 6, 13)
    np.testing.assert_allclose(t_cdf(t, 3.3), stats.t.cdf(t, 3.3), rtol=1e-9)
    assert t_quantile(0.975, 4.0) == pytest.approx(2.776445)
