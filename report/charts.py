"""Charts that several pages have: bars by name, and histograms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from .svg import DARK, fitted, line, picture, text, text_width
from .ticks import linear_ticks

COLOUR = "#1f548c"
BAR, ROW, NAME = 420, 26, 260  # pixels: the longest bar, a row, the longest name
WIDTH, HEIGHT, LEFT, TOP, BELOW = 520, 180, 64, 16, 44  # of a histogram
BINS = 20


def bars(counts: Mapping[str, float], title: str, *, words: Mapping[str, str] | None = None) -> str:
    """Draw a bar per name, in their order; `words` are written behind the bars, by default the counts."""
    names = {key: fitted(key, NAME) for key in counts}
    left = max(map(text_width, names.values()), default=0) + 20
    largest = max(counts.values(), default=0)
    behind = {
        key: (words or {}).get(key, f"{count:,.4g}" if count % 1 else f"{int(count):,}")
        for key, count in counts.items()
    }
    parts = []
    for row, (key, count) in enumerate(counts.items()):
        y = 10 + ROW * row
        long = BAR * count / largest if largest > 0 else 0.0
        parts.append(text(left - 8, y + 15, names[key], anchor="end", colour=DARK, full=key))
        parts.append(
            f'<rect class="bar" x="{left:.1f}" y="{y}" width="{long:.1f}" height="{ROW - 8}" fill="{COLOUR}"/>'
        )
        parts.append(text(left + long + 6, y + 15, behind[key]))
    room = max(map(text_width, behind.values()), default=0)
    return picture(left + BAR + room + 24, 16 + ROW * len(counts), title, parts)


def histogram(values: Sequence[float] | np.ndarray, title: str, *, axis: str, share: bool = False) -> str:
    """Draw how often values occur, NaN left out; `share`: from 0 to 1. Values beyond the 99th percentile count with the last bar."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    low, high = (0.0, 1.0) if share else _range(known)
    counts, edges = np.histogram(np.clip(known, low, high), BINS, (low, high))
    most = max(int(counts.max()), 1)
    width = (WIDTH - LEFT - 16) / BINS
    bottom = TOP + HEIGHT
    parts = []
    for tick in linear_ticks(0, most, 4):
        if tick == int(tick):
            y = bottom - HEIGHT * tick / most
            parts += [
                line(LEFT, y, WIDTH - 16, y, colour="#ddd"),
                text(LEFT - 6, y + 4, f"{int(tick):,}", anchor="end"),
            ]
    for place, count in enumerate(counts.tolist()):
        high_ = HEIGHT * count / most
        words = f"{edges[place]:.4g} to {edges[place + 1]:.4g}: {count:,}"
        parts.append(
            f'<rect class="bar" x="{LEFT + width * place + 0.5:.1f}" y="{bottom - high_:.1f}" width="{width - 1:.1f}" '
            f'height="{high_:.1f}" fill="{COLOUR}"><title>{words}</title></rect>'
        )
    for tick in linear_ticks(low, high):
        x = LEFT + (WIDTH - LEFT - 16) * (tick - low) / (high - low)
        parts.append(text(x, bottom + 16, f"{tick:g}", anchor="middle"))
    parts.append(line(LEFT, bottom, WIDTH - 16, bottom, colour="#888"))
    parts.append(text(WIDTH - 16, bottom + 34, axis, anchor="end"))
    return picture(WIDTH, bottom + BELOW, title, parts)


def _range(known: np.ndarray) -> tuple[float, float]:
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(np.percentile(known, 99))
    low = 0.0 if 0 <= low < high / 2 or low == high >= 0 else low
    return (low, high) if high > low else (low, low + max(abs(low), 1.0) * math.ulp(1.0) * 2**50)
