"""The beta distribution and Student's t: cumulative probabilities and quantiles, elementwise on arrays.

The incomplete beta function is its continued fraction, evaluated from the front (Lentz); quantiles are found by Newton's method inside a
bracket. scipy.special has the same; the package does not depend on it, the tests compare with it.
"""

from __future__ import annotations

import math

import numpy as np

_TERMS, _STEPS = 10_000, 200  # bounds that are not reached: some √(a + b) terms and ten steps are enough
_TINY = 1e-300
_log_gamma = np.frompyfunc(math.lgamma, 1, 1)


def beta_cdf(x: np.ndarray | float, a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    """Return the probability that a Beta(a, b) variable is at most x: the regularised incomplete beta function."""
    x, a, b = (np.array(value, float) for value in np.broadcast_arrays(x, a, b))
    inside = (x > 0) & (x < 1)
    swap = x > (a + 1) / (a + b + 2)  # the fraction converges fast below this point
    z, p, q = np.where(swap, 1 - x, x), np.where(swap, b, a), np.where(swap, a, b)
    z = np.where(inside, z, 0.5)
    front = np.exp(p * np.log(z) + q * np.log1p(-z) - _log_beta(p, q)) / p
    part = np.clip(front * _fraction(z, p, q), 0, 1)
    return np.where(inside, np.where(swap, 1 - part, part), np.where(x >= 1, 1.0, 0.0))


def beta_quantile(p: np.ndarray | float, a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    """Return the x below which a Beta(a, b) variable falls with probability p."""
    p, a, b = (np.array(value, float) for value in np.broadcast_arrays(p, a, b))
    ends, p = p, np.where((p > 0) & (p < 1), p, 0.5)
    low, high = np.zeros_like(p), np.ones_like(p)
    x, log_beta = a / (a + b), _log_beta(a, b)
    for _ in range(_STEPS):
        below = beta_cdf(x, a, b)
        low, high = np.where(below < p, x, low), np.where(below > p, x, high)
        with np.errstate(all="ignore"):  # log odds of the probability are nearly straight in the log odds of x
            slope = np.exp(a * np.log(x) + b * np.log1p(-x) - log_beta) / (below * (1 - below))
            miss = np.log(p / (1 - p)) - np.log(below / (1 - below))
            odds = x / (1 - x) * np.exp(np.clip(miss / slope, -50, 50))
            step = odds / (1 + odds)
        close = np.abs(step - x) <= 1e-9 * x  # the step after it would change nothing
        inside = close | ((step > low) & (step < high))
        x = np.where(inside, step, (low + high) / 2)
        if close.all():
            break
    return np.where((ends > 0) & (ends < 1), x, ends)


def t_cdf(t: np.ndarray | float, df: np.ndarray | float) -> np.ndarray:
    """Return the probability that a variable of Student's t distribution is at most t."""
    t, df = (np.array(value, float) for value in np.broadcast_arrays(t, df))
    beyond = beta_cdf(df / (df + t**2), df / 2, 0.5) / 2
    return np.where(t < 0, beyond, 1 - beyond)


def t_quantile(p: np.ndarray | float, df: np.ndarray | float) -> np.ndarray:
    """Return the t below which a variable of Student's t distribution falls with probability p."""
    p, df = (np.array(value, float) for value in np.broadcast_arrays(p, df))
    y = beta_quantile(np.abs(2 * p - 1), 0.5, df / 2)
    return np.sign(p - 0.5) * np.sqrt(df * y / (1 - y))


def _log_beta(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(_log_gamma(a) + _log_gamma(b) - _log_gamma(a + b), float)


def _fraction(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Evaluate the continued fraction of the incomplete beta function by Lentz's method."""
    c = np.ones_like(x)
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            change = c * d
            value = value * change
        if (np.abs(change - 1) < 1e-14).all():
            break
    return value


def _away_from_zero(value: np.ndarray) -> np.ndarray:
    return np.where(np.abs(value) < _TINY, _TINY, value)
