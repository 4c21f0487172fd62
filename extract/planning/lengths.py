"""How many frames inputs have, by what their files say of themselves: nothing is decoded, and only some inputs are looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...inputs.folders import list_images
from ...inputs.input import Input
from ..compare import evenly
from ..video.mp4 import read_movie

LOOKED_AT = 64  # inputs, evenly chosen


def known_lengths(inputs: Sequence[Input]) -> list[int]:
    """Return the numbers of frames of some inputs, those left out whose files do not tell."""
    found = [frames_of(source) for source in evenly(inputs, LOOKED_AT)] if inputs else []
    return [count for count in found if count is not None]


def frames_of(source: Input) -> int | None:
    """Return the number of frames of an MP4 or MOV file, of a segment of one, or of a folder; None where it is not known."""
    try:
        if source.kind == "frames":
            return len(list_images(source.path)) if source.start is None and source.end is None else None
        movie = read_movie(source.path)
    except OSError:
        return None
    times = movie.video.times if movie is not None and movie.video is not None else None
    if times is None:
        return None
    start, end = source.start or 0.0, np.inf if source.end is None else source.end
    return int(((times >= start) & (times < end)).sum())
