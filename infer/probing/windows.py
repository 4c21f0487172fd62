"""Windows of a clip, each of 15 % of it and 5 % after the one before: which places of a view lie in each, and how much planted evidence.

Legend: N clips, W windows, P places of a view.
"""

from __future__ import annotations

import numpy as np

LENGTH, STEP = 0.15, 0.05  # of a clip
STARTS = np.arange(round((1 - LENGTH) / STEP) + 1) * STEP  # (W,)
MOST = (
    0.8  # of a window's frames, or of the clip's that show the planted expression: from there on the window is evidence
)


def window_bounds(counts: np.ndarray) -> np.ndarray:
    """Return the first frame of each window, and the first behind it.  # (N,) → (N, W, 2)"""
    first = np.ceil(STARTS * counts[:, None] - 0.5 - 1e-9)
    behind = np.ceil((STARTS + LENGTH) * counts[:, None] - 0.5 - 1e-9)
    return np.stack([first, behind], 2).clip(0, counts[:, None, None]).astype(int)


def in_windows(position: np.ndarray, valid: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return which places show a frame of each window.  # (N, P), (N, P), (N, W, 2) → (N, W, P)"""
    there = position[:, None]
    return (bounds[..., :1] <= there) & (there < bounds[..., 1:]) & valid[:, None]


def evidence_share(inside: np.ndarray, planted: np.ndarray) -> np.ndarray:
    """Return how much of the evidence each window is; NaN of windows of which nothing is shown.  # (N, W, P), (N, P) → (N, W)

    It is the share of its frames that show the planted expression, or the share of the frames which show it that are its own, whichever
    is larger: a window that deletes all of a brief expression is evidence, and one that lies within a held expression.
    """
    shown, both = inside.sum(-1), (inside & planted[:, None]).sum(-1)
    share = np.maximum(both / np.maximum(shown, 1), both / np.maximum(planted.sum(-1), 1)[:, None])
    return np.where(shown > 0, share, np.nan)
