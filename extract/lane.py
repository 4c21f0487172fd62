"""One device at work: its detector and its encoder, in a thread of their own, one batch after the other."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from .backbone import Backbone
from .config import ExtractConfig
from .detect import build_detector
from .detect.base import Detector
from .encoder import Encoder

LOOK_BATCH = {"cpu": 8, "cuda": 64, "mps": 32}
CROP_BATCH = {"cpu": 32, "cuda": 128, "mps": 64}


class Lane:
    """Detects and encodes on one device."""

    def __init__(self, device: torch.device, precision: str, config: ExtractConfig, backbone: Backbone) -> None:
        self.device = device
        self.crop_batch = CROP_BATCH[device.type]
        self.look_batch = LOOK_BATCH[device.type]
        self.detector: Detector = build_detector(
            config.detector,
            device=str(device),
            precision=precision,
            score_threshold=config.score_threshold,
            models_dir=config.models_dir,
            batch_size=self.look_batch,
        )
        self.encoder = Encoder(backbone, config.features, device=device, precision=precision, batch=self.crop_batch)
        self.seconds = {"detect": 0.0, "encode": 0.0}
        self._flip = config.flip
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"est-{device}")

    def look(self, pictures: np.ndarray) -> Future[list[Any]]:
        """Find the faces in BGR pictures of one size."""
        return self._thread.submit(self._timed, "detect", self.detector.detect, pictures)

    def encode(self, crops: np.ndarray) -> Future[dict[str, np.ndarray]]:
        """Compute the feature rows of RGB crops."""
        return self._thread.submit(self._timed, "encode", self._encode, crops)

    def close(self) -> None:
        """Let the thread end after the batch in hand."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _encode(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        rows = self.encoder.encode(crops)
        if self._flip:
            rows |= {f"{name}_flip": values for name, values in self.encoder.encode(crops, mirrored=True).items()}
        return rows

    def _timed(self, stage: str, function: Any, pictures: np.ndarray) -> Any:
        start = time.perf_counter()
        try:
            return function(pictures)
        finally:
            self.seconds[stage] += time.perf_counter() - start
