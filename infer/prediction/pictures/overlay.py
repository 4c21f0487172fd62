"""What is drawn into a picture: a box and a label on each face, and below the picture the probabilities and a strip of the timeline.

The panel stands below the picture, so that nothing of it is covered; a label stands above its box, or below it where there is no room.

Legend: C classes, W × H pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..track import FaceTrack
from .palette import DARK, Colour, clock, colours_of, contrasting, shortened, text_width, write

NARROW = 640  # pixels: smaller pictures are enlarged, so that words can be read
STRIPS = 4  # faces whose timeline the panel has room for
TITLE = "apparent expression"
LIGHT, DIM = (235, 235, 235), (150, 150, 150)
EMPTY = (60, 56, 52)


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """A face in a picture."""

    number: int
    box: np.ndarray  # (4,)
    probabilities: np.ndarray  # (C,)
    weight: float = 0.0  # of several faces the panel tells of the one with the largest weight, then of the largest one

    @property
    def area(self) -> float:
        """Return the size of its box."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Strip:
    """The timeline of a face, or of several that follow each other: a colour for each column of pixels."""

    name: str
    columns: np.ndarray  # (width, 3)


class Overlay:
    """Draws into pictures of one size."""

    def __init__(self, labels: Sequence[str], size: tuple[int, int], *, strips: int = 1) -> None:
        width, height = size
        self.labels, self.colours = list(labels), colours_of(len(labels))
        self.zoom = max(1, -(-NARROW // width) if width < NARROW else 1)
        self._shown = (width * self.zoom, height * self.zoom)
        self.unit = max(1.0, self._shown[0] / NARROW)
        self.num_strips = min(strips, STRIPS)
        self._columns = 2 if len(labels) <= 12 else 3
        self._rows = -(-len(labels) // self._columns)
        panel = round(self.unit * (34 + 24 * self._rows + 12 + 20 * self.num_strips + 26))
        self.size = (_even(self._shown[0]), _even(self._shown[1] + panel))
        self._pad = round(14 * self.unit)

    @property
    def strip_width(self) -> int:
        """Return how many columns of pixels a strip has."""
        return self.size[0] - 2 * self._pad - round(28 * self.unit)

    def draw(
        self, frame: np.ndarray, faces: Sequence[Face], strips: Sequence[Strip], *, moment: float, end: float
    ) -> np.ndarray:
        """Return a picture with its panel.  # (H, W, 3) BGR"""
        canvas = np.empty((self.size[1], self.size[0], 3), np.uint8)
        canvas[:] = DARK
        width, height = self._shown
        if self.zoom == 1:
            canvas[:height, :width] = frame
        else:
            canvas[:height, :width] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC)
        picture = canvas[:height, :width]
        for face in sorted(faces, key=lambda face: face.area):
            self._draw_face(picture, face, several=len(faces) > 1)
        self._draw_panel(canvas, height, faces, strips, moment, end)
        return canvas

    def _draw_face(self, picture: np.ndarray, face: Face, *, several: bool) -> None:
        best = int(face.probabilities.argmax())
        colour, unit = self.colours[best], self.unit
        x0, y0, x1, y1 = (round(float(edge) * self.zoom) for edge in face.box)
        cv2.rectangle(picture, (x0, y0), (x1, y1), colour, max(2, round(2 * unit)), cv2.LINE_AA)
        text = f"{self.labels[best]} {100 * face.probabilities[best]:.0f}%"
        text = f"{face.number}: {text}" if several else text
        size = 11 * unit
        tag_width, tag_height = text_width(text, size) + round(14 * unit), round(24 * unit)
        left = min(max(x0 - round(unit), 0), max(picture.shape[1] - tag_width, 0))
        top = y0 - tag_height - round(2 * unit)
        if top < 0:
            top = y1 + round(2 * unit) if y1 + tag_height <= picture.shape[0] else 0
        cv2.rectangle(picture, (left, top), (left + tag_width, top + tag_height), colour, -1)
        write(picture, text, (left + 7 * unit, top + 17 * unit), size, contrasting(colour))

    def _draw_panel(
        self,
        canvas: np.ndarray,
        top: int,
        faces: Sequence[Face],
        strips: Sequence[Strip],
        moment: float,
        end: float,
    ) -> None:
        unit, pad = self.unit, self._pad
        focus = max(faces, key=lambda face: (face.weight, face.area), default=None)
        title = TITLE if focus is None else f"{TITLE}, face {focus.number}"
        write(canvas, title, (pad, top + 23 * unit), 11 * unit, LIGHT)
        time = clock(moment, tenths=True)
        write(canvas, time, (self.size[0] - pad - text_width(time, 11 * unit), top + 23 * unit), 11 * unit, DIM)
        self._draw_bars(canvas, top + 34 * unit, focus)
        line = top + (34 + 24 * self._rows + 12) * unit
        for strip in strips[: self.num_strips]:
            self._draw_strip(canvas, line, strip)
            line += 20 * unit
        if strips:
            self._draw_playhead(canvas, line, len(strips[: self.num_strips]), moment / end if end > 0 else 0.0)
            write(canvas, "0:00", (pad + 28 * unit, line + 16 * unit), 9 * unit, DIM)
            last = clock(end)
            write(canvas, last, (self.size[0] - pad - text_width(last, 9 * unit), line + 16 * unit), 9 * unit, DIM)

    def _draw_bars(self, canvas: np.ndarray, top: float, focus: Face | None) -> None:
        unit, pad = self.unit, self._pad
        cell = (self.size[0] - 2 * pad) / self._columns
        for place, (label, colour) in enumerate(zip(self.labels, self.colours, strict=True)):
            column, row = divmod(place, self._rows)
            x, y = pad + column * cell, top + 24 * unit * row
            share = 0.0 if focus is None else float(focus.probabilities[place])
            strong = focus is not None and place == int(focus.probabilities.argmax())
            name_width = 0.34 * cell
            ink = LIGHT if strong else DIM
            write(canvas, shortened(label, 10 * unit, name_width - 6 * unit), (x, y + 16 * unit), 10 * unit, ink)
            begin, end = round(x + name_width), round(x + cell - 52 * unit)
            edges = (round(y + 5 * unit), round(y + 18 * unit))
            cv2.rectangle(canvas, (begin, edges[0]), (end, edges[1]), EMPTY, -1)
            if share > 0:
                cv2.rectangle(canvas, (begin, edges[0]), (round(begin + share * (end - begin)), edges[1]), colour, -1)
            if focus is not None:
                write(canvas, f"{100 * share:.0f}%", (end + 7 * unit, y + 16 * unit), 10 * unit, ink)

    def _draw_strip(self, canvas: np.ndarray, top: float, strip: Strip) -> None:
        unit, left = self.unit, self._pad + round(28 * self.unit)
        write(canvas, strip.name, (self._pad, top + 12 * unit), 9 * unit, DIM)
        edges = (round(top), round(top + 15 * unit))
        canvas[edges[0] : edges[1], left : left + self.strip_width] = strip.columns[None]

    def _draw_playhead(self, canvas: np.ndarray, below: float, count: int, share: float) -> None:
        x = self._pad + round(28 * self.unit) + round(min(share, 1.0) * (self.strip_width - 1))
        top = round(below - 20 * self.unit * count - 3 * self.unit)
        cv2.line(canvas, (x, top), (x, round(below - 2 * self.unit)), (255, 255, 255), max(1, round(1.6 * self.unit)))


def strip_of(lane: Sequence[FaceTrack], time: np.ndarray, width: int, colours: Sequence[Colour]) -> Strip:
    """Return the strip of faces that follow each other: in each column the likeliest class, the surer the brighter.  # (F,)"""
    columns = np.full((width, 3), EMPTY, np.float64)
    mean = lane_means(lane, time, width)
    known = ~np.isnan(mean[:, 0])
    best = mean[known].argmax(1)
    sure = 0.35 + 0.65 * mean[known].max(1, initial=0.0)[:, None]
    columns[known] = sure * np.array(colours, float)[best] + (1 - sure) * np.array(EMPTY)
    name = str(lane[0].number) if len(lane) == 1 else ""
    return Strip(name=name, columns=columns.round().astype(np.uint8))


def lane_means(lane: Sequence[FaceTrack], time: np.ndarray, width: int) -> np.ndarray:
    """Return the mean probabilities of a lane's faces in each of so many equal parts of a video's time.  # (F,) → (width, C)"""
    found = column_means(lane[0], time, width)
    for track in lane[1:]:
        other = column_means(track, time, width)
        known = ~np.isnan(other[:, 0])
        found[known] = other[known]
    return found


def column_means(track: FaceTrack, time: np.ndarray, width: int) -> np.ndarray:
    """Return a face's; parts between two frames take the one before.  # (F,) → (width, C)"""
    frames, probabilities = np.arange(track.first, track.stop), track.probabilities
    end = max(float(time[-1]), 1e-9)
    known = ~np.isnan(probabilities[:, 0])
    place = np.minimum((time[frames] / end * (width - 1)).round().astype(int), width - 1)
    total, count = np.zeros((width, probabilities.shape[1])), np.zeros(width)
    np.add.at(total, place[known], probabilities[known])
    np.add.at(count, place[known], 1)
    mean = np.full_like(total, np.nan)
    filled = count > 0
    mean[filled] = total[filled] / count[filled, None]
    # a short video has fewer frames than the strip has columns: each frame lasts until the next
    shown = np.interp(np.arange(width) / (width - 1) * end, time, np.arange(len(time))) if width > 1 else np.zeros(1)
    rows = shown.astype(int) - int(frames[0])
    inside = ~filled & (rows >= 0) & (rows < len(frames))
    mean[inside] = probabilities[rows[inside]]
    return mean


def _even(number: int) -> int:
    return number + number % 2
