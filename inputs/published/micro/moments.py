"""Onset, apex and offset as places among the frames that a clip's folder delivers.

Coding tables number the frames of the recording. Releases keep these numbers in the pictures' names (img46.jpg, 006_05562.jpg), and the
place of a picture among those of its folder is the frame of the clip. A folder that holds just onset to offset under new numbers, from 0
or from 1, is recognised by its length. A folder that counts from 0 or 1 and ends before the offset may be one of these that lacks pictures:
its moments are unknown. Elsewhere a moment whose picture is not there is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...folders import list_images
from .coding import Coded


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Frames of the clip, counted from 0; −1 where not known."""

    onset: int = -1
    apex: int = -1
    offset: int = -1
    problem: str = ""  # why something is unknown that the table tells


def whole_clip(folder: Path) -> Moments:
    """Return the moments of a clip that was cut from onset to offset."""
    count = len(_pictures(folder))
    return Moments(onset=0, offset=count - 1) if count else Moments()


def moments_in(folder: Path, coded: Coded) -> Moments:
    """Find the moments of a coding table among the pictures of a folder."""
    onset, apex, offset, problem = coded.onset, coded.apex, coded.offset, ""
    if onset >= 0 and 0 <= offset < onset:
        return Moments(problem=f"its onset {onset} is after its offset {offset}; none of its moments is used")
    if apex >= 0 and (apex < onset or (offset >= 0 and apex > offset)):
        problem = f"its apex {apex} lies outside of onset {onset} to offset {offset}, and is not used"
        apex = -1
    numbers = [_number(name) for name in _pictures(folder)]
    if not numbers:
        return Moments(problem=problem)
    first = _first_of_renumbered(numbers, onset, offset)
    place = {number: at for at, number in enumerate(numbers) if number is not None}
    if first is not None:
        place = {onset + at: at for at in range(len(numbers))}
    told = {"onset": onset, "apex": apex, "offset": offset}
    gone = [f"{name} {number}" for name, number in told.items() if number >= 0 and number not in place]
    if gone:
        held = [number for number in numbers if number is not None]
        shown = f"{min(held)} to {max(held)}" if held else "no numbers"
        problem = "; ".join(filter(None, (problem, f"its folder has no picture of its {', '.join(gone)} ({shown})")))
        if held and numbers[0] in (0, 1) and numbers[0] < onset and max(held) < offset:
            return Moments(problem=f"{problem}; its frames may be renumbered, and none of its moments is used")
    return Moments(**{name: place.get(number, -1) for name, number in told.items()}, problem=problem)


def _first_of_renumbered(numbers: Sequence[int | None], onset: int, offset: int) -> int | None:
    """Return the first number of a folder of exactly onset to offset that counts again; None where it does not."""
    if onset < 0 or offset < 0 or len(numbers) != offset - onset + 1 or onset in numbers[:1]:
        return None
    first = numbers[0]
    return first if first in (0, 1) and list(numbers) == list(range(first, first + len(numbers))) else None


def _pictures(folder: Path) -> list[str]:
    """Return the names of a folder's pictures in the order in which they are delivered; none where it cannot be read."""
    try:
        return list_images(folder)
    except OSError:
        return []


def _number(name: str) -> int | None:
    """Return the last number in a picture's name."""
    runs = re.findall(r"\d+", name.rpartition(".")[0])
    return int(runs[-1]) if runs else None
