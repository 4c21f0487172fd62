"""Points of many dimensions drawn in two: principal components, and exact t-SNE (van der Maaten and Hinton 2008).

Exact t-SNE compares every pair of points, so its cost grows with their square: `MOST` points take seconds. It starts from the principal
components and draws nothing at random: the same points give the same picture. Distances between far clusters, and the sizes of clusters,
mean nothing in it.

Legend: N points, D dimensions.
"""

from __future__ import annotations

import numpy as np

MOST = 600  # points; twice as many cost four times as much
PERPLEXITY = 30.0
STEPS, EARLY, FACTOR = 500, 100, 12.0  # so many steps, the first of them with attractions so many times as strong
TINY = 1e-12


def principal_components(points: np.ndarray) -> np.ndarray:
    """Return the first two principal components (N, 2); each points towards its largest loading."""
    centred = points.astype(float) - points.mean(axis=0, dtype=float)
    _, scale, axes = np.linalg.svd(centred, full_matrices=False)
    found = np.zeros((len(points), 2))
    for place in range(min(2, len(scale))):
        axis = axes[place]
        sign = 1.0 if axis[np.abs(axis).argmax()] >= 0 else -1.0  # the sign that a decomposition returns is arbitrary
        found[:, place] = sign * (centred @ axis)
    return found


def tsne(points: np.ndarray, *, perplexity: float = PERPLEXITY, steps: int = STEPS) -> np.ndarray:
    """Return points (N, D) in two dimensions (N, 2), neighbours near one another."""
    num = len(points)
    if num < 5:
        return principal_components(points)
    joint = _joint(points.astype(float), min(perplexity, (num - 1) / 3)).astype(np.float32)
    placed = principal_components(points)
    placed *= 1e-2 / max(float(placed.std()), TINY)
    placed += 1e-4 * np.stack([np.cos(np.arange(num)), np.sin(np.arange(num))], axis=1)  # equal points must part
    placed = placed.astype(np.float32)  # half the bytes, twice the speed, the same picture
    speed, gain = np.zeros_like(placed), np.ones_like(placed)
    rate = np.float32(max(num / FACTOR / 4, 50.0))
    near, weight = np.empty_like(joint), np.empty_like(joint)
    for step in range(steps):
        strength, momentum = (FACTOR, 0.5) if step < EARLY else (1.0, 0.8)
        lengths = 1 + (placed**2).sum(axis=1)
        np.matmul(placed, placed.T, out=near)
        near *= -2
        near += lengths[:, None]
        near += (lengths - 1)[None]
        np.reciprocal(near, out=near)
        np.fill_diagonal(near, 0)
        np.multiply(near, -1 / max(float(near.sum()), TINY), out=weight)
        weight += joint if strength == 1 else np.float32(strength) * joint
        weight *= near
        slope = 4 * (weight.sum(axis=1)[:, None] * placed - weight @ placed)
        gain = np.maximum(np.where(slope * speed < 0, gain + np.float32(0.2), gain * np.float32(0.8)), np.float32(0.01))
        speed = np.float32(momentum) * speed - rate * gain * slope
        placed = placed + speed
        placed -= placed.mean(axis=0)
    return placed.astype(float)


def squared_distances(points: np.ndarray) -> np.ndarray:
    """Return the squared distance of every pair (N, N)."""
    lengths = (points**2).sum(axis=1)
    found = lengths[:, None] + lengths[None] - 2 * points @ points.T
    np.fill_diagonal(found, 0)
    return np.maximum(found, 0)


def spread_sample(num: int, most: int = MOST) -> np.ndarray:
    """Return the places of at most so many of `num` points, evenly taken."""
    return np.arange(num) if num <= most else np.linspace(0, num - 1, most).round().astype(int)


def _joint(points: np.ndarray, perplexity: float) -> np.ndarray:
    """Return how near every pair is, as a symmetric distribution (N, N); each point has about `perplexity` neighbours."""
    distances = squared_distances(points)
    num = len(points)
    distances /= max(float(distances.mean()), TINY)
    low, high = np.zeros(num), np.full(num, np.inf)
    beta = np.ones(num)
    target = np.log(perplexity)
    for _ in range(40):
        share, entropy = _conditional(distances, beta)
        wide = entropy > target
        low, high = np.where(wide, beta, low), np.where(wide, high, beta)
        beta = np.where(np.isinf(high), 2 * beta, (low + np.where(np.isinf(high), low, high)) / 2)
    share, _ = _conditional(distances, beta)
    joint = share + share.T
    return np.maximum(joint / joint.sum(), TINY)


def _conditional(distances: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each point's distribution over the others (N, N), and its entropy (N,)."""
    own = distances + np.where(np.eye(len(distances), dtype=bool), np.inf, 0)
    weight = np.exp(-beta[:, None] * (own - own.min(axis=1, keepdims=True)))
    share = weight / weight.sum(axis=1, keepdims=True)
    logs = np.log(np.where(share > 0, share, 1))
    return share, -(share * logs).sum(axis=1)
