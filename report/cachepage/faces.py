"""Thumbnails: one face of a clip, for pages that were asked to show faces."""

from __future__ import annotations

import base64
from html import escape

import cv2
import numpy as np

from ...cache.reading.listing import Listing
from ...cache.reading.reader import Cache
from ...cache.schema import DETECTED, NO_FACE
from ...cache.watch import Progress, Watch
from ..page import MISSING, Cell
from ..svg import clean
from .clipview import Viewer

SIDE, QUALITY = 64, 80  # pixels, JPEG


class Faces:
    """Makes thumbnails of clips, each once."""

    def __init__(self, cache: Cache, watch: Watch | None = None) -> None:
        self._listing, self._viewer, self._watch = Listing(cache), Viewer(cache), watch or Watch()
        self._known: dict[int, str] = {}

    def url(self, place: int) -> str:
        """Return a clip's thumbnail as a data URL; empty where it has none, or none can be cut."""
        if place not in self._known:
            clip = self._listing.cache.clip(place, features=[])
            frame = face_frame(clip.state)
            crop = None
            if frame is not None:
                (row,) = self._listing.rows([place])
                crop = self._viewer.view(row, [frame]).crops.get(frame)
            self._known[place] = "" if crop is None else _url(crop)
            done = Progress(what="Cutting faces", unit="clips", done=len(self._known), total=len(self._listing))
            self._watch.progress(done)
        return self._known[place]

    def cell(self, place: int) -> Cell:
        """Return a cell with the thumbnail."""
        url = self.url(place)
        alt = escape(clean(f"face of {self._listing.cache.ids[place]}"))
        html = f'<img src="{url}" alt="{alt}" width="{SIDE}" height="{SIDE}">' if url else ""
        return Cell(words=MISSING, html=html)


def face_frame(state: np.ndarray) -> int | None:
    """Return the frame with a face that is nearest to the middle: a detected one, where there is any."""
    for wanted in (state == DETECTED, state != NO_FACE):
        frames = np.flatnonzero(wanted)
        if len(frames):
            return int(frames[np.abs(frames - len(state) / 2).argmin()])
    return None


def _url(crop: np.ndarray) -> str:
    small = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
