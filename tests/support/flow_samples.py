"""Textures that move by a known distance, clips of them, and a flow task without processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from est.extract.config import ExtractConfig
from est.extract.faces.detect.base import Detections
from est.extract.workers.flow_task import FlowTask
from est.extract.workers.messages import Crops, Failed, Found, Work
from est.inputs.input import Input

SIDE = 64
STEP = (0.4, -0.3)  # pixels right and down, from one frame to the next
FLOW = ExtractConfig(
    modality="flow", detector="none", weights="random", size=32, workers=1, precision="fp32", features=("gap", "flow")
)


def texture(right: float = 0.0, down: float = 0.0, side: int = SIDE) -> np.ndarray:
    """Return a smooth pattern, moved.  # (side, side, 3) uint8"""
    noise = np.random.default_rng(0).normal(size=(2 * side, 2 * side, 3))
    pattern = cv2.GaussianBlur(noise, (0, 0), 2.5)
    pattern = np.clip(127 + 400 * pattern, 0, 255).astype(np.uint8)
    matrix = np.array([[1, 0, right - side / 2], [0, 1, down - side / 2]])
    return cv2.warpAffine(pattern, matrix, (side, side), flags=cv2.INTER_CUBIC)


def moving(count: int, step: tuple[float, float] = STEP, side: int = SIDE) -> list[np.ndarray]:
    """Return frames of a pattern that moves evenly."""
    return [texture(number * step[0], number * step[1], side) for number in range(count)]


def write_frames(folder: Path, frames: list[np.ndarray]) -> Path:
    """Write a folder of frames."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number:03}.bmp"), frame)
    return folder


def middle(field: np.ndarray) -> np.ndarray:
    """Return the mean (u, v) of a field without its border.  # (S, S, 2) → (2,)"""
    edge = len(field) // 4
    return field[edge:-edge, edge:-edge].reshape(-1, 2).mean(0)


class FakeLine:
    """A line to nobody: it keeps pictures and answers where faces are."""

    is_full = False

    def __init__(self, faces: Detections | None = None) -> None:
        self.connection = self
        self.pictures: dict[tuple[int, int], np.ndarray] = {}  # (track, row) → RGB
        self.asked: list[int] = []
        self._faces = faces

    def poll(self) -> bool:
        return False

    def send(self, message) -> None:
        found = message.pictures.take()
        if isinstance(message, Crops):
            self.pictures |= {(message.track, row): one for row, one in zip(message.rows, found, strict=True)}
        else:
            self.asked += message.frames

    def receive(self) -> Found:
        return Found(index=0, frames=self.asked[-1:], detections=[self._faces])


def run_task(path: Path, *, faces: Detections | None = None, onset=-1, apex=-1, **changes):
    """Run a clip's task here; return what it says and the pictures that it sent."""
    line = FakeLine(faces)
    source = Input(id="clip", path=path, kind="frames", onset=onset, apex=apex)
    said = FlowTask(line, replace(FLOW, **changes), 8, Work(index=0, input=source)).run()
    return said, line


def why(path: Path, **changes) -> str:
    """Return why a clip failed."""
    said, _ = run_task(path, **changes)
    assert isinstance(said, Failed), said
    return f"{said.stage}: {said.error}"
