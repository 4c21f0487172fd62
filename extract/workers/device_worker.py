"""One device at work: its detector and its encoders, in a thread of their own, one batch after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...cache import current_environment
from ...encoders.device import num_cores
from ...encoders.encoder import PART, kernels_of
from ...encoders.engines.preparation import PreparedEncoder
from ...encoders.lanes import num_lanes
from ..config import ExtractConfig
from ..faces.detect import build_detector
from ..faces.detect.base import PART as IMAGES
from ..faces.detect.base import Detector

FLIP = "_flip"  # behind a tap's name: of mirrored crops
DETECT_BATCH = {"cpu": 8, "cuda": 64, "mps": 32}
CROP_BATCH = {"cpu": 32, "cuda": 128, "mps": 64}
PACKAGES = (
    "torch",
    "torchvision",
    "opencv-python",
    "opencv-python-headless",
    "av",
    "onnxruntime",
)  # on which rows depend
MOST_LANES = 16  # that batches are cut for: more of them fill memory, and the processes that decode take cores too


def batches_of(device: torch.device) -> tuple[int, int]:
    """Return how many crops and how many frames go to a device at once: on a processor a part for each lane, of up to 16."""
    crops, frames = CROP_BATCH[device.type], DETECT_BATCH[device.type]
    if device.type != "cpu":
        return crops, frames
    lanes = min(num_lanes(), MOST_LANES)
    return max(crops, PART * lanes), max(frames, IMAGES * lanes)


def fewer_threads() -> None:
    """Let this thread, and those that torch meets later, share an operation among no more threads than there are cores."""
    if torch.get_num_threads() > num_cores():
        torch.set_num_threads(num_cores())


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """What is to be made of a crop; a batch is of crops of one encoding."""

    encoder: int = 0  # which of the device worker's
    names: tuple[str, ...] | None = None  # taps, and taps + FLIP; None: all that the device worker knows


class DeviceWorker:
    """Detects and encodes on one device."""

    def __init__(
        self,
        device: torch.device,
        precision: str,
        config: ExtractConfig,
        encoders: Sequence[PreparedEncoder],
        *,
        one_by_one: bool = False,
    ) -> None:
        """Load what is computed with; `precision` is the detector's.

        `one_by_one` is for pictures that cannot wait for a batch to be full, as a camera's.
        """
        self.device = device
        self.crop_batch, self.detect_batch = (1, 1) if one_by_one else batches_of(device)
        self.detector: Detector = build_detector(
            config.detector,
            device=str(device),
            precision=precision,
            score_threshold=config.score_threshold,
            models_dir=config.models_dir,
            batch_size=self.detect_batch,
        )
        self.encoders = [encoder.build(config.encoded, device, self.crop_batch) for encoder in encoders]
        self.seconds = {"detect": 0.0, "encode": 0.0}
        self._flip = config.flip
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"est-{device}", initializer=fewer_threads)

    @property
    def kernels(self) -> str:
        """Return how the encoders are computed, as far as rows depend on it."""
        return kernels_of(self.encoders)

    @property
    def environment(self) -> dict[str, Any]:
        """Describe where rows are computed, as caches record it."""
        return current_environment(PACKAGES, device=[str(self.device)], kernels=self.kernels)

    def slow(self) -> Iterator[str]:
        """Return what runs at half its speed, and why."""
        parts = [("the detector", getattr(self.detector, "why_plain", ""))]
        parts += [("ResNet-18", encoder.why_plain) for encoder in self.encoders]
        yield from (f"{part} runs at half its speed: {why}" for part, why in parts if why)

    def detect(self, pictures: np.ndarray) -> Future[list[Any]]:
        """Find the faces in BGR pictures of one size."""
        return self._thread.submit(self._timed, "detect", self.detector.detect, pictures)

    def encode(self, crops: np.ndarray, encoding: Encoding = Encoding()) -> Future[dict[str, np.ndarray]]:
        """Compute the feature rows of RGB crops."""
        return self._thread.submit(self._timed, "encode", self._encode, crops, encoding)

    def close(self) -> None:
        """Let the thread end after the batch in hand."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _encode(self, crops: np.ndarray, encoding: Encoding) -> dict[str, np.ndarray]:
        encoder, names = self.encoders[encoding.encoder], encoding.names
        rows = {}
        for suffix in ("", FLIP) if self._flip else ("",):
            taps = [tap for tap in encoder.taps if names is None or tap + suffix in names]
            if taps:
                found = encoder.encode(crops, taps, mirrored=suffix == FLIP)
                rows |= {tap + suffix: values for tap, values in found.items()}
        return rows

    def _timed(self, stage: str, function: Any, *arguments: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            self.seconds[stage] += time.perf_counter() - start
