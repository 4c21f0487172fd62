"""Round numbers on the axes of pictures."""

from __future__ import annotations

import math

TICKS = 5  # at most about so many numbers on an axis


def linear_ticks(low: float, high: float, most: int = TICKS) -> list[float]:
    """Return round numbers from low to high."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{step * n:.12g}") for n in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten from low to high; with 2 and 5 times them where that leaves few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [
            float(f"{factor}e{power}")
            for power in powers
            for factor in factors
            if low * (1 - 1e-9) <= float(f"{factor}e{power}") <= high * (1 + 1e-9)
        ]
        if len(found) >= 3:
            every = math.ceil(len(found) / (2 * TICKS))
            return found[::every]
    return found
