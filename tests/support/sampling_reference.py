"""Snippet sampling as the words say it, in exact fractions and one frame at a time: what the package's index arithmetic is held against."""

from __future__ import annotations

import math
from fractions import Fraction


def snippet_starts(config, snippets, frames):
    """Return where snippets start in the window: evenly from its first frame to the last at which one fits; a lone one is centred."""
    span = max(config.snippet_window, frames)
    if snippets == 1:
        return [math.floor(Fraction(config.window - span, 2))]
    return [round(Fraction(i * (config.window - span), snippets - 1)) for i in range(snippets)]


def test_window(config, snippets, frames):
    """Return the frames of the window that the test view shows: those of a snippet lie at equal distances from its start."""
    span = max(config.snippet_window, frames)
    offsets = [math.floor(Fraction(k * span, frames)) for k in range(frames)]
    return [[begin + offset for offset in offsets] for begin in snippet_starts(config, snippets, frames)]


test_window.__test__ = False  # a view for the test half, no test


def nearest_index(place, count, slots):
    """Return the frame under the middle of part `place` of a clip that is cut into `slots` equal parts."""
    return math.floor((place + Fraction(1, 2)) * count / slots)


def native_frame(config, place, *, start, count, cut):
    """Return which native frame of a clip stands at a place in the window that begins at unified frame `start`.

    `cut` is where the 105 frames begin that `clip` keeps of a longer clip.
    """
    if config.unify == "native":
        if count < config.window:
            return nearest_index(place, count, config.window)
        share = Fraction(start, max(1, config.unified - config.window))
        return math.floor(share * (count - config.window)) + place
    if config.unify == "clip" and count > config.unified:
        return cut + start + place
    return nearest_index(start + place, count, config.unified)


def native_view(config, window, *, start, count, cut):
    """Return a view's native frames, given the places in the window that it shows."""
    return [[native_frame(config, place, start=start, count=count, cut=cut) for place in snippet] for snippet in window]


def median_distinct(view):
    """Return the median over snippets of the number of different frames."""
    numbers = sorted(len(set(snippet)) for snippet in view)
    half = len(numbers) // 2
    return numbers[half] if len(numbers) % 2 else Fraction(numbers[half - 1] + numbers[half], 2)


def stand_ins(face):
    """Return for each frame of a clip the nearest one with a face, the earlier of two; in a clip without any, itself."""
    found = []
    for frame in range(len(face)):
        with_face = [other for other in range(len(face)) if face[other]]
        found.append(min(with_face, key=lambda other: (abs(other - frame), other)) if with_face else frame)
    return found
