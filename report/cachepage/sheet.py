"""The contact sheet: clips below each other as one PNG, the frames of each side by side."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np

from ...cache.schema import DETECTED, INTERPOLATED, NO_FACE
from ...errors import counted
from ..privacy import by_name
from .clipview import TILE, ClipView
from .clipwords import facts_line, mark_counts
from .marks import MARKS, bgr, condensed

ACROSS = 12  # tiles in a row
GAP, EDGE, MARGIN = 10, 3, 16  # pixels
HEAD, STRIP, FOOT = 44, 12, 20  # pixels above a clip's tiles, of the strip of states, and below each tile
LEGEND = 56
TALLEST = 30_000  # pixels: what image viewers open
INK, MUTED, EMPTY = (40, 35, 31), (106, 96, 87), (240, 238, 236)
FONT, SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


def contact_sheet(views: Sequence[ClipView]) -> tuple[bytes, int]:
    """Return a PNG of the clips, and how many of them are on it: as many as image viewers can show."""
    heights = np.cumsum([LEGEND + MARGIN, *(_height(view) for view in views)])
    drawn = max(1, int((heights[1:] <= TALLEST).sum())) if len(views) else 0
    widest = max((min(len(view.frames), ACROSS) for view in views[:drawn]), default=1)
    width = 2 * MARGIN + max(widest * (TILE + GAP) - GAP, 7 * (TILE + GAP))
    sheet = np.full((int(heights[drawn]) + MARGIN, width, 3), 255, np.uint8)
    _legend(sheet, len(views), drawn)
    for view, top in zip(views[:drawn], heights.tolist(), strict=False):
        _draw(sheet, view, int(top))
    done, data = cv2.imencode(".png", sheet)
    assert done
    return data.tobytes(), drawn


def _height(view: ClipView) -> int:
    rows = max(1, -(-len(view.frames) // ACROSS))
    return HEAD + STRIP + GAP + rows * (TILE + FOOT + GAP) + MARGIN


def _legend(sheet: np.ndarray, count: int, drawn: int) -> None:
    left = MARGIN
    for state in (DETECTED, INTERPOLATED, NO_FACE):
        _tile(sheet, left, MARGIN, 24, state)
        _write(sheet, left + 32, MARGIN + 17, MARKS[state].words)
        left += 150
    more = f"; {drawn} of {counted(count, 'clip')}" if drawn < count else ""
    _write(sheet, left, MARGIN + 17, f"below each tile: frame, seconds, step of the box in sides{more}", MUTED)


def _draw(sheet: np.ndarray, view: ClipView, top: int) -> None:
    room = sheet.shape[1] - 2 * MARGIN
    _write(sheet, MARGIN, top + 16, view.id, scale=0.52)
    _write(sheet, MARGIN, top + 35, f"{facts_line(view)}; {mark_counts(view.state)}", MUTED)
    _strip(sheet, view.state, MARGIN, top + HEAD, room)
    if not view.frames:
        _write(sheet, MARGIN, top + HEAD + STRIP + 30, "no frames", MUTED)
    if view.trouble:
        _write(
            sheet, MARGIN, top + HEAD + STRIP + 10, by_name(view.trouble, view.row["path"]), bgr(MARKS[NO_FACE].colour)
        )
    for place, frame in enumerate(view.frames):
        left = MARGIN + place % ACROSS * (TILE + GAP)
        y = top + HEAD + STRIP + GAP + place // ACROSS * (TILE + FOOT + GAP)
        crop = view.crops.get(frame)
        if crop is not None:
            small = cv2.resize(
                crop, (TILE, TILE), interpolation=cv2.INTER_AREA if len(crop) > TILE else cv2.INTER_LINEAR
            )
            sheet[y : y + TILE, left : left + TILE] = small
        _tile(sheet, left, y, TILE, int(view.state[frame]), empty=crop is None)
        step = view.step(frame)
        words = f"{frame}  {view.time[frame]:.2f} s" + ("" if step is None else f"  {step:.3f}")
        _write(sheet, left, y + TILE + 14, words, MUTED, scale=0.36)


def _tile(sheet: np.ndarray, left: int, top: int, side: int, state: int, *, empty: bool = True) -> None:
    """Draw a frame's edge and its symbol."""
    mark, colour = MARKS[state], bgr(MARKS[state].colour)
    if empty:
        sheet[top : top + side, left : left + side] = EMPTY
    on, off = map(int, mark.dash.split()) if mark.dash else (side, 0)
    for place in range(0, side, on + off):
        end = min(place + on, side)
        for across in (top, top + side - EDGE):
            sheet[across : across + EDGE, left + place : left + end] = colour
        for down in (left, left + side - EDGE):
            sheet[top + place : top + end, down : down + EDGE] = colour
    x, y, half = left + EDGE + 7, top + EDGE + 7, 4
    if side > 30:
        sheet[top + EDGE : top + EDGE + 15, left + EDGE : left + EDGE + 15] = 255
    else:
        x, y = left + side // 2, top + side // 2
    match state:
        case 1:
            cv2.circle(sheet, (x, y), half, colour, -1, cv2.LINE_AA)
        case 2:
            corners = np.array([[x, y - 5], [x + 5, y], [x, y + 5], [x - 5, y]])
            cv2.polylines(sheet, [corners], True, colour, 1, cv2.LINE_AA)
        case _:
            cv2.line(sheet, (x - half, y - half), (x + half, y + half), colour, 2, cv2.LINE_AA)
            cv2.line(sheet, (x - half, y + half), (x + half, y - half), colour, 2, cv2.LINE_AA)


def _strip(sheet: np.ndarray, state: np.ndarray, left: int, top: int, room: int) -> None:
    """Draw the states of all frames: full height detected, half interpolated, a line along the bottom missing."""
    if not len(state):
        return
    heights = {DETECTED: STRIP, INTERPOLATED: STRIP // 2, NO_FACE: 2}
    shown = condensed(state, room)
    for column, place in enumerate((np.arange(room) * len(shown) // room).tolist()):
        kind = int(shown[place])
        sheet[top + STRIP - heights[kind] : top + STRIP, left + column] = bgr(MARKS[kind].colour)


def _write(
    sheet: np.ndarray, x: int, y: int, words: str, colour: tuple[int, int, int] = INK, *, scale: float = SIZE
) -> None:
    """Write words, cut at the sheet's edge; OpenCV's letters are ASCII."""
    plain = unicodedata.normalize("NFKD", words.replace("–", "-").replace("…", "..."))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter)).encode("ascii", "replace").decode()
    room = sheet.shape[1] - x - MARGIN
    while plain and cv2.getTextSize(plain, FONT, scale, 1)[0][0] > room:
        plain = plain[:-4] + "..." if len(plain) > 7 else ""
    cv2.putText(sheet, plain, (x, y), FONT, scale, colour, 1, cv2.LINE_AA)
