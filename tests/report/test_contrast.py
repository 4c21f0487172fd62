"""Words in pictures have a contrast of 4.5 on light pages and in the inverted colours of dark ones: axe-core cannot see it there."""

from __future__ import annotations

import re

import numpy as np
import pytest

from est.report.plots import COLOURS, PALE
from est.report.style import STYLE
from est.report.svg import DARK, GREY

# hue-rotate(180deg) of the Filter Effects specification
HUE = np.array([0.213, 0.715, 0.072]) * 2 - np.eye(3)
SHARE = float(re.search(r"figure svg\{filter:invert\((\.\d+)\) hue-rotate\(180deg\)\}", STYLE)[1])


def channels(colour):
    """Return red, green and blue of #abc, #aabbcc or whole numbers."""
    if isinstance(colour, str):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        colour = [int(digits[at : at + 2], 16) for at in (0, 2, 4)]
    return np.array(colour) / 255


def inverted(colour):
    return np.clip(HUE @ (SHARE + colour * (1 - 2 * SHARE)), 0, 1)


def contrast(one, other):
    bright = []
    for colour in (one, other):
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        bright.append(linear @ [0.2126, 0.7152, 0.0722] + 0.05)
    return max(bright) / min(bright)


@pytest.mark.parametrize("colour", [*COLOURS, DARK, GREY])
def test_words_on_the_ground(colour):
    assert contrast(channels(colour), np.ones(3)) >= 4.5
    assert contrast(inverted(channels(colour)), inverted(np.ones(3))) >= 4.5


@pytest.mark.parametrize("share", np.linspace(0, 1, 11))
def test_words_on_shaded_cells(share):
    cell = 1 - share * (1 - channels(PALE))
    assert contrast(np.zeros(3), cell) >= 4.5
    assert contrast(inverted(np.zeros(3)), inverted(cell)) >= 4.5
