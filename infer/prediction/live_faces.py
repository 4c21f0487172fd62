"""Faces in front of a camera: detected in every picture, linked by position, each with the features of its last seconds.

A live picture cannot wait for those that follow it. So boxes are smoothed with a lag, not as extraction smooths them, and rows are not
those that a cache would hold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from ...cache.schema import DETECTED
from ...crops.crop import crop_face
from ...crops.jpeg import decode_crop, encode_crop
from ...extract.faces.detect.base import Detections
from ...extract.faces.detect.no_detector import WholeFrame
from ...extract.faces.detection_frames import shrink
from .encoders import ArraysDeviceWorker
from .pictures.overlay import Face
from .recipe import RunRecipe
from .sink import WindowModels
from .windows import Cutting

MIN_IOU = 0.3
FORGOTTEN = 1.0  # seconds without its face after which a face is another one
WEIGHT = 0.5  # of the newest box in the smoothed one


@dataclass(eq=False)
class LiveFace:
    """A face, and what is known of its last seconds."""

    number: int
    box: np.ndarray
    landmarks: np.ndarray
    seen: float  # when it was seen last
    told: float = -np.inf  # when it was predicted last
    times: deque[float] = field(default_factory=deque)
    rows: deque[Mapping[str, np.ndarray]] = field(default_factory=deque)
    probabilities: np.ndarray | None = None


class LiveFaces:
    """Follows and predicts the faces of one picture after the other."""

    def __init__(self, recipe: RunRecipe, cutting: Cutting) -> None:
        self._recipe, self._cutting, self._config = recipe, cutting, recipe.extraction
        (self._worker,) = recipe.device_workers(one_by_one=True)[:1]
        self._models = WindowModels(recipe)
        self._faces: list[LiveFace] = []
        self._number = 0

    def close(self) -> None:
        """Let the device's thread end."""
        self._worker.close()

    def see(self, frame: np.ndarray, moment: float) -> list[Face]:
        """Return the faces in a picture, each with what is predicted of its last seconds.  # (H, W, 3) BGR"""
        self._faces = [face for face in self._faces if moment - face.seen <= FORGOTTEN]
        found = self._detect(frame)
        free = list(self._faces)
        shown = []
        for place in range(len(found)):
            if found.scores[place] < self._config.score_threshold:
                continue
            face = self._known(free, found.boxes[place], found.landmarks[place], moment)
            self._remember(face, frame, moment)
            if moment - face.told >= self._cutting.stride or face.probabilities is None:
                face.told, face.probabilities = moment, self._predict(face)
            shown.append(Face(number=face.number, box=face.box.copy(), probabilities=face.probabilities))
        if self._config.face != "all":
            shown = sorted(shown, key=lambda face: -face.area)[:1]
        return shown

    def _detect(self, frame: np.ndarray) -> Detections:
        if self._config.frames_are_crops:
            return WholeFrame().detect(frame[None])[0]
        picture, scale = shrink(frame, self._config.detect_size)
        (found,) = self._worker.detect(picture[None]).result()
        return found.scaled(1 / scale[0], 1 / scale[1])

    def _known(self, free: list[LiveFace], box: np.ndarray, landmarks: np.ndarray, moment: float) -> LiveFace:
        """Return the face that was where this one is, or a new one."""
        best = max(free, key=lambda face: overlap(face.box, box), default=None)
        if best is None or overlap(best.box, box) < MIN_IOU:
            self._number += 1
            best = LiveFace(number=self._number, box=box.copy(), landmarks=landmarks.copy(), seen=moment)
            self._faces.append(best)
            return best
        free.remove(best)
        best.box = WEIGHT * box + (1 - WEIGHT) * best.box
        best.landmarks = WEIGHT * landmarks + (1 - WEIGHT) * best.landmarks
        best.seen = moment
        return best

    def _remember(self, face: LiveFace, frame: np.ndarray, moment: float) -> None:
        """Add the features of a picture, and forget those of long ago."""
        crop = crop_face(frame, face.box, face.landmarks, **self._config.cropping)[0]
        if self._config.crops:
            crop = decode_crop(encode_crop(crop, self._config.crop_quality))
        rows = _encode(self._worker, crop)
        typed = {name: rows[name].astype(spec.dtype) for name, spec in self._recipe.specs.items()}
        face.times.append(moment)
        face.rows.append(typed)
        while moment - face.times[0] > self._cutting.window:
            face.times.popleft()
            face.rows.popleft()

    def _predict(self, face: LiveFace) -> np.ndarray:
        rows = {name: np.stack([row[name] for row in face.rows]) for name in self._recipe.specs}
        count = len(face.times)
        state = np.full(count, DETECTED, np.uint8)
        return self._models.predict(rows, np.array([[0, count]]), state, np.array(face.times))[0]


def overlap(one: np.ndarray, two: np.ndarray) -> float:
    """Return the intersection of two boxes over their union.  # (4,), (4,)"""
    sides = np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    both = float(np.prod(one[2:] - one[:2]) + np.prod(two[2:] - two[:2]))
    return shared / max(both - shared, 1e-9)


def _encode(worker: ArraysDeviceWorker, crop: np.ndarray) -> dict[str, np.ndarray]:
    found = worker.encode(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)[None]).result()
    return {name: rows[0] for name, rows in found.items()}
