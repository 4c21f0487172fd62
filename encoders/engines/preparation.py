"""An encoder made ready for an engine: exported and calibrated where the engine wants it, before any row is made.

What is prepared is small: graphs lie in the folder of the user and are read when an engine is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ...errors import EstError
from ..backbone import FrameEncoder
from ..encoder import Encoder
from ..precision import DTYPES
from . import calibration as ranges_of
from .calibration import Calibration
from .choice import Computation
from .engine import EncoderPrecision, EngineName, FrameEngine
from .folder import Say, digest_of, engines_folder, kept
from .graph import cut, trace
from .pictures import NUM_PICTURES
from .quantize import quantise, quantised_tensors
from .runtime import RuntimeEngine, make_session


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedEncoder:
    """An encoder, and what computes it."""

    backbone: FrameEncoder
    computation: Computation
    size: int  # of crops
    digest: str = ""  # of what the graph is made of
    ranges: Calibration | None = None  # of int8

    @property
    def engine(self) -> EngineName:
        """Return the name of the engine, as recipes have it."""
        return self.computation.engine

    @property
    def precision(self) -> EncoderPrecision:
        """Return the precision that it is computed in."""
        return self.computation.precision

    @property
    def calibration(self) -> str:
        """Return how its numbers are rounded, as recipes have it; empty where they are not."""
        return "" if self.ranges is None else self.ranges.name

    def build(self, taps: Sequence[str], device: torch.device, batch: int) -> FrameEngine:
        """Return an engine that makes rows of taps on a device."""
        if self.engine == "torch":
            assert self.precision in DTYPES
            return Encoder(self.backbone, taps, device=device, precision=self.precision, batch=batch)
        return RuntimeEngine(self.graph(taps), taps, batch=batch)

    def kernels(self, device: torch.device) -> str:
        """Return how a device computes it, as far as rows depend on it and no recipe says it; only for torch an engine has to be built."""
        if self.engine == "torch":
            return self.build(("gap",), device, 1).kernels
        return RuntimeEngine.kernels

    def graph(self, taps: Sequence[str]) -> bytes:
        """Return the graph that gives some taps, in its precision."""
        import onnx

        model = onnx.load_from_string(_graph(self.backbone, self.size, self.digest, lambda line: None))
        if self.ranges is not None:
            file = (engines_folder() or Path()) / calibration_file(self.digest)
            ranges = self.ranges.for_graph(quantised_tensors(model.graph), str(file))
            quantise(model, ranges, self.ranges.bits)
        cut(model, taps)
        return model.SerializeToString()


def prepare(backbone: FrameEncoder, size: int, computation: Computation, say: Say) -> PreparedEncoder:
    """Export an encoder and calibrate it, as far as its engine wants it."""
    if computation.engine == "torch":
        return PreparedEncoder(backbone=backbone, computation=computation, size=size)
    digest = digest_of(backbone, size)
    try:
        graph = _graph(backbone, size, digest, say)
        if computation.may_fall_back:
            make_session(graph, threads=1)  # else it is opened when the engine is built
    except EstError as error:
        if not computation.may_fall_back:
            raise
        say(f"{error.message.rstrip('.')}: torch computes it")
        return PreparedEncoder(backbone=backbone, computation=replace(computation, engine="torch"), size=size)
    ranges = None
    if computation.precision == "int8":
        ranges = ranges_of.read(_ranges(graph, backbone.name, size, digest, say), computation.bits)
    return PreparedEncoder(backbone=backbone, computation=computation, size=size, digest=digest, ranges=ranges)


def _ranges(graph: bytes, name: str, size: int, digest: str, say: Say) -> bytes:
    def make() -> bytes:
        say(
            f"{name} is calibrated for int8: {NUM_PICTURES} pictures are encoded in fp32, which is slow for large encoders"
        )
        return ranges_of.write(ranges_of.measure(graph, name, size))

    return kept(calibration_file(digest), make, say)


def calibration_file(digest: str) -> str:
    """Return the name of the file that holds the ranges of an encoder."""
    return f"{digest}.ranges"


def _graph(backbone: FrameEncoder, size: int, digest: str, say: Say) -> bytes:
    def make() -> bytes:
        say(f"{backbone.name} is exported for onnxruntime, once for these weights")
        return trace(backbone, size)

    return kept(f"{digest}.onnx", make, say)
