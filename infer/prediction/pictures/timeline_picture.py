"""The timeline as a picture: of each face the probabilities over time as lines, and a strip with the likeliest class.

Faces that follow each other, as those of a film's shots, stand side by side in one diagram.

Legend: C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from ....cache.stores.disk import PARTIAL
from ....errors import EstError
from ..track import FaceTrack, PredictedVideo, lanes_of
from .overlay import TITLE, lane_means
from .palette import FAINT, INK, PAPER, clock, colours_of, shortened, text_width, write

WIDTH, LEFT, RIGHT = 1600, 90, 40
HEAD, PLOT, STRIP, GAP, FOOT = 150, 240, 26, 86, 40
LANES = 8  # diagrams that are drawn, those that show a face longest
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)  # seconds between ticks
TICKS = 12
GREY = (120, 120, 120)


def save_timeline(video: PredictedVideo, labels: Sequence[str], path: Path) -> None:
    """Draw the timeline of a video's faces."""
    lanes = sorted(lanes_of(video.tracks), key=lambda lane: -sum(len(track.state) for track in lane))[:LANES]
    lanes.sort(key=lambda lane: lane[0].number)
    shown = sum(map(len, lanes))
    head = HEAD + 30 * (-(-len(labels) // _legend_columns(labels)) - 1)
    picture = np.full((head + len(lanes) * (PLOT + STRIP + GAP) + FOOT, WIDTH, 3), PAPER, np.uint8)
    write(picture, shortened(video.id, 20, WIDTH - LEFT - RIGHT), (LEFT, 50), 20, INK)
    said = f"{TITLE}: what a model reads from the face, not what anybody feels"
    if shown < len(video.tracks):
        said += f"; {shown} of {len(video.tracks)} faces"
    write(picture, said if lanes else "no face was found", (LEFT, 84), 13, GREY)
    _draw_legend(picture, labels, 118)
    for place, lane in enumerate(lanes):
        _draw_lane(picture, video, lane, labels, head + place * (PLOT + STRIP + GAP) + 30)
    found, data = cv2.imencode(".png", picture)
    if not found:
        raise EstError(f"The timeline {path} could not be encoded.", remedy="--no-picture")
    partial = path.with_name(path.name + PARTIAL)
    partial.write_bytes(data.tobytes())
    partial.rename(path)


def _legend_columns(labels: Sequence[str]) -> int:
    widest = max(text_width(label, 13) for label in labels) + 60
    return max(1, (WIDTH - LEFT - RIGHT) // widest)


def _draw_legend(picture: np.ndarray, labels: Sequence[str], top: int) -> None:
    columns = _legend_columns(labels)
    widest = max(text_width(label, 13) for label in labels) + 60
    for place, (label, colour) in enumerate(zip(labels, colours_of(len(labels)), strict=True)):
        row, column = divmod(place, columns)
        x, y = LEFT + column * widest, top + 30 * row
        cv2.rectangle(picture, (x, y - 13), (x + 24, y + 1), colour, -1)
        write(picture, label, (x + 32, y), 13, INK)


def _draw_lane(
    picture: np.ndarray, video: PredictedVideo, lane: Sequence[FaceTrack], labels: Sequence[str], top: int
) -> None:
    width, time = WIDTH - LEFT - RIGHT, video.time - video.time[0]
    end = max(float(time[-1]), 1e-9)
    write(picture, _title(lane, labels, time), (LEFT, top - 10), 13, INK)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = round(top + (1 - share) * PLOT)
        cv2.line(picture, (LEFT, y), (LEFT + width, y), FAINT if share else GREY, 1)
        text = f"{100 * share:.0f}%"
        write(picture, text, (LEFT - 10 - text_width(text, 11), y + 5), 11, GREY)
    columns = lane_means(lane, time, width)
    by_frame = len(time) < width  # then lines go from frame to frame, and have no steps
    colours = colours_of(len(labels))
    order = np.argsort(np.nan_to_num(columns).max(axis=0))  # the likeliest on top
    for place in order.tolist():
        for run in _unbroken(columns[:, place]) if not by_frame else ():
            points = np.stack([LEFT + run, top + (1 - columns[run, place]) * PLOT], axis=1).round().astype(np.int32)
            cv2.polylines(picture, [points], False, colours[place], 2, cv2.LINE_AA)
        for track, run in _pieces(lane, place) if by_frame else ():
            x = LEFT + time[track.first + run] / end * (width - 1)
            points = np.stack([x, top + (1 - track.probabilities[run, place]) * PLOT], axis=1).round().astype(np.int32)
            cv2.polylines(picture, [points], False, colours[place], 2, cv2.LINE_AA)
    known = ~np.isnan(columns[:, 0])
    strip = np.full((width, 3), FAINT, np.uint8)
    strip[known] = np.array(colours, np.uint8)[columns[known].argmax(1)]
    below = top + PLOT + 10
    picture[below : below + STRIP, LEFT : LEFT + width] = strip[None]
    for track in lane[1:]:  # another face begins
        x = LEFT + round(float(time[track.first]) / end * (width - 1))
        cv2.line(picture, (x, top), (x, below + STRIP), PAPER, 3)
        cv2.line(picture, (x, top), (x, below + STRIP), GREY, 1)
    step = next((step for step in STEPS if end / step <= TICKS), STEPS[-1])
    for tick in np.arange(0, end + 1e-6, step).tolist():
        x = LEFT + round(tick / end * (width - 1))
        cv2.line(picture, (x, below + STRIP), (x, below + STRIP + 6), GREY, 1)
        text = clock(tick, tenths=step < 1)
        write(
            picture,
            text,
            (min(x - text_width(text, 11) / 2, WIDTH - text_width(text, 11)), below + STRIP + 24),
            11,
            GREY,
        )


def _pieces(lane: Sequence[FaceTrack], place: int) -> Iterator[tuple[FaceTrack, np.ndarray]]:
    """Yield the frames of each face that show it, in pieces without a gap."""
    for track in lane:
        for run in _unbroken(track.probabilities[:, place]):
            yield track, run


def _title(lane: Sequence[FaceTrack], labels: Sequence[str], time: np.ndarray) -> str:
    if len(lane) > 1:
        return f"faces {lane[0].number} to {lane[-1].number}, {len(lane)} of them one after the other"
    mean = lane[0].mean(time)
    best = int(mean.argmax())
    begins, ends = clock(time[lane[0].first], tenths=True), clock(time[lane[0].stop - 1], tenths=True)
    return f"face {lane[0].number}, {begins} to {ends}, on average {labels[best]} {100 * mean[best]:.0f}%"


def _unbroken(values: np.ndarray) -> list[np.ndarray]:
    """Return the places of numbers, in pieces without a gap."""
    places = np.flatnonzero(~np.isnan(values))
    return [piece for piece in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(piece)]
