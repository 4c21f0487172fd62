"""What the cores do in an extraction, video by video: decode, crop. No torch, so that a process that starts here imports little."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np

from est.crops.crop import crop_face
from est.extract.video.source import open_source

HELD = 50  # frames that are cropped again and again


def decode_video(path: Path) -> int:
    """Decode a video; return its frames."""
    with open_source(path, "video") as video:
        return sum(1 for _ in video.frames())


def crop_video(path: Path, size: int, seconds: float) -> float:
    """Return the crops a second from a video's frames, cut as extraction does."""
    cv2.setNumThreads(1)
    with open_source(path, "video") as video:
        frames = [frame for frame, _ in video.frames()][:HELD]
    height, width = frames[0].shape[:2]
    box = np.float32([0.35 * width, 0.2 * height, 0.65 * width, 0.8 * height])
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for frame in frames:
            crop_face(frame, box, np.zeros((5, 2), np.float32), align="box", margin=0.2, size=size)
        done += len(frames)
    return done / (time.perf_counter() - start)
