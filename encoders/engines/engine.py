"""What every engine offers, and the names of engines and of the precisions that they compute in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

EngineName = Literal["torch", "onnxruntime"]
EncoderPrecision = Literal["fp32", "bf16", "fp16", "int8"]

ENGINES: tuple[EngineName, ...] = ("torch", "onnxruntime")
PRECISIONS: tuple[EncoderPrecision, ...] = ("fp32", "bf16", "fp16", "int8")


class FrameEngine(Protocol):
    """Turns crops into feature rows."""

    taps: tuple[str, ...]
    batch: int
    why_plain: str  # where it could be twice as fast by its device: why it is not

    @property
    def kernels(self) -> str:
        """Return how the network is computed, as far as rows depend on it and no recipe says it."""
        ...

    def encode(
        self, crops: np.ndarray, taps: Sequence[str] | None = None, *, mirrored: bool = False
    ) -> dict[str, np.ndarray]:
        """Return the rows of each tap, or of some, in float32.  # (B, S, S, 3) RGB uint8, B ≤ batch"""
        ...
