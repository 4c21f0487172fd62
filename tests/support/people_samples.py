"""Clips whose people are planted: faces where a test says, of whom the colour of the picture says who it is; no processes, no detector."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from cache_samples import sample_recipes

from est.cache import CacheWriter
from est.cache.interrupt import Stop
from est.extract.clip_pipeline import ClipPipeline
from est.extract.config import ExtractConfig
from est.extract.faces.detect.base import Detections
from est.extract.workers.clip_worker import ClipTask
from est.extract.workers.messages import Crops, Failed, Finished, Found, Work
from est.extract.workers.row_buffer import RowBuffer
from est.extract.workers.stages import InHand
from est.inputs.input import Input

COLOURS = {"A": (200, 40, 40), "B": (40, 200, 40), "C": (40, 40, 200), "-": (90, 90, 90)}  # "-": nobody is there
SHAPE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])  # of the landmarks in a box
SIDE = 32


def detections(*boxes) -> Detections:
    """Return faces with landmarks at fixed places in their boxes."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    landmarks = boxes[:, None, :2] + SHAPE * (boxes[:, 2:] - boxes[:, :2])[:, None]
    return Detections(boxes=boxes, scores=np.full(len(boxes), 0.9, np.float32), landmarks=landmarks.astype(np.float32))


def write_people(folder: Path, people: str) -> Path:
    """Write a frame for each letter, in that person's colour."""
    folder.mkdir(parents=True)
    for number, person in enumerate(people):
        picture = np.full((64, 96, 3), COLOURS[person], np.uint8)
        picture[8:40, 10:42] = number  # under the face: crops tell their frame
        cv2.imwrite(str(folder / f"{number:04d}.bmp"), picture)
    return folder


class Line:
    """A line to nobody: it finds a face in each picture that shows somebody, and keeps crops."""

    is_full = False

    def __init__(self, found: Detections) -> None:
        self.connection = self
        self.crops: dict[tuple[int, int], np.ndarray] = {}  # (track, frame) → RGB
        self._found = found
        self._answers: list[Found] = []

    def poll(self) -> bool:
        return bool(self._answers)

    def send(self, message) -> None:
        pictures = message.pictures.take()
        if isinstance(message, Crops):
            self.crops |= {(message.track, row): one for row, one in zip(message.rows, pictures, strict=True)}
            return
        nobody = detections()
        found = [nobody if tuple(one[0, 0]) == COLOURS["-"] else self._found for one in pictures]
        self._answers.append(Found(index=message.index, frames=message.frames, detections=found))

    def receive(self) -> Found:
        return self._answers.pop(0)


def look_of_colour(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Stand in for `look_at`: who it is stands in the picture's corner."""
    return picture[0, 0].astype(np.float32)


def run_task(
    path: Path, found: Detections | None = None, *, config: ExtractConfig | None = None, **told: Any
) -> tuple[Finished | Failed, Line, Input, ExtractConfig]:
    """Run a clip's task here; return what it says, the crops that it sent, its input and its settings."""
    config = config or ExtractConfig(size=SIDE)
    line = Line(detections((10, 8, 42, 40)) if found is None else found)
    source = Input(id=path.name, path=path, kind="frames", **told)
    return ClipTask(line, config, 8, Work(index=0, input=source)).run(), line, source, config


def recipes_for(config: ExtractConfig):
    """Return recipes of a small feature of such clips."""
    return sample_recipes(
        detector="retinaface",
        face=config.face,
        tracking=config.tracking.describe(),
        margin=config.crop_margin,
        size=config.size,
    )


def write_clips(writer: CacheWriter, done) -> ClipPipeline:
    """Write what a task has said into a cache, with empty rows; return the pipeline that counted."""
    said, line, source, config = done
    stop = Stop()
    stop.wanted = True
    worker: Any = SimpleNamespace(detect_batch=8, crop_batch=8)
    pipeline = ClipPipeline([source], writer, [worker], config, 1, stop)
    rows = RowBuffer(writer.features)
    for track, frame in line.crops:
        rows.put(track, frame, {"gap": np.full((1, 16), frame, np.float16)}, 0)
    pipeline._write_one(source, said if isinstance(said, Failed) else InHand(rows=rows, finished=said))
    return pipeline
