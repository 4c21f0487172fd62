"""Smoothing over time without lag: a straight line fitted around each frame, with Gaussian weights.

A plain Gaussian average pulls the ends of a moving track towards its middle; the fitted line leaves steady motion as it is, at the ends
too.
"""

from __future__ import annotations

import numpy as np


def smooth(values: np.ndarray, strength: float) -> np.ndarray:
    """Smooth rows over time; `strength` is the Gaussian's deviation in frames, 0 changes nothing.  # (T, ...) → (T, ...)

    Rows with a NaN stay as they are and part what lies on either side of them.
    """
    rows = np.array(values, float).reshape(len(values), -1)
    if strength > 0:
        known = np.isfinite(rows).all(1)
        borders = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
        for start, stop in borders.reshape(-1, 2).tolist():
            rows[start:stop] = _fit_lines(rows[start:stop], strength)
    return rows.reshape(np.shape(values))


def _fit_lines(rows: np.ndarray, strength: float) -> np.ndarray:
    """Return, for each row, the value there of the line fitted to the rows around it.  # (T, C) → (T, C)"""
    if len(rows) < 3:  # a line through two rows is those rows
        return rows
    reach = min(int(np.ceil(4 * strength)), len(rows) - 1)
    away = np.arange(-reach, reach + 1, dtype=float)
    weight = np.exp(-0.5 * (away / strength) ** 2)
    # Moments of the weights that lie inside the track, and of the values under them. convolve() turns its kernel round: hence −away.
    ones = np.ones(len(rows))
    s0, s1, s2 = (_around(ones, weight * (-away) ** power) for power in range(3))
    middle = rows.mean(0)  # large coordinates would cost digits
    fitted = np.empty_like(rows)
    for column, values in enumerate((rows - middle).T):
        t0, t1 = (_around(values, weight * (-away) ** power) for power in range(2))
        fitted[:, column] = (s2 * t0 - s1 * t1) / (s0 * s2 - s1 * s1)
    return fitted + middle


def _around(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve, with nothing beyond the ends.  # (T,)"""
    reach = len(kernel) // 2
    return np.convolve(values, kernel)[reach : reach + len(values)]
