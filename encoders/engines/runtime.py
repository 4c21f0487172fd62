"""Sessions of onnxruntime on the processor, and the engine that encodes with one.

The engine computes parts of a batch in lanes, each on one core, as torch's does. Rows do not depend on their number, nor on who shares a
batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...errors import EstError, first_line
from ...packages import expect_packages, what_is_wrong
from ..lanes import in_lanes, num_lanes
from .graph import CROPS

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

PACKAGES = ("onnxruntime", "onnx")
PROVIDER = "CPUExecutionProvider"
CHUNK = 8  # crops that are computed at once: what lies between two layers stays small
ERRORS_ONLY = 3  # of its log


def why_unusable() -> tuple[str, str] | None:
    """Return what keeps onnxruntime from computing encoders here, and what fixes it; None where it can."""
    return what_is_wrong(*PACKAGES)


def expect_usable() -> None:
    """Refuse to compute by onnxruntime where it cannot be used."""
    expect_packages(f"onnxruntime computes encoders with the packages {' and '.join(PACKAGES)}", *PACKAGES)


def make_session(graph: bytes, threads: int | None = None) -> InferenceSession:
    """Open a graph on the processor, with so many threads that sleep while they wait, or as many as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or num_lanes()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(graph, options, providers=[PROVIDER])
    except Exception as error:  # onnxruntime has many kinds, none of them public
        raise EstError(
            f"onnxruntime {onnxruntime.__version__} cannot open the graph of the encoder: {first_line(error)}",
            remedy="--engine torch",
        ) from error


class RuntimeEngine:
    """Turns crops into feature rows by onnxruntime."""

    kernels = "onnxruntime"
    why_plain = ""

    def __init__(self, graph: bytes, taps: Sequence[str], *, batch: int) -> None:
        import onnxruntime

        self.taps = tuple(taps)
        self.batch = batch
        self._session = make_session(graph, threads=1)
        self._options = onnxruntime.RunOptions()
        self._options.only_execute_path_to_fetches = True

    def encode(
        self, crops: np.ndarray, taps: Sequence[str] | None = None, *, mirrored: bool = False
    ) -> dict[str, np.ndarray]:
        """Return the rows of each tap, or of some, in float32.  # (B, S, S, 3) RGB uint8, B ≤ batch"""
        names = list(self.taps if taps is None else taps)
        count, part = len(crops), min(CHUNK, self.batch)
        if rest := max(-(-count // part), 1) * part - count:  # of no crops a part tells the shapes
            crops = np.concatenate([crops, np.zeros((rest, *crops.shape[1:]), np.uint8)])
        if mirrored:
            crops = crops[:, :, ::-1]
        found = in_lanes(
            lambda start: self._session.run(
                names, {CROPS: np.ascontiguousarray(crops[start : start + CHUNK])}, self._options
            ),
            range(0, len(crops), CHUNK),
        )
        return {name: np.concatenate([part[place] for part in found])[:count] for place, name in enumerate(names)}
