"""An encoder as an ONNX graph: uint8 crops in, the rows of its taps out, the normalisation of pixels inside.

It is traced once, with every tap that the encoder has, so that the ranges of int8 do not depend on which are asked for; `cut` leaves those
that are. torch's newer exporter takes many times as long for the same graph (docs/log.md).

Legend: N crops, S side.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...errors import EstError, UsageError
from ..backbone import FrameEncoder, Normalization
from ..encoder import for_inference

if TYPE_CHECKING:
    from onnx import ModelProto

CROPS = "crops"  # the input of the graph
OPSET = 17
ANNOUNCED = (
    r"You are using the legacy TorchScript-based ONNX export",
    r"The feature will be removed\. Please remove usage of this function",
    r"`torch\.jit\.\w+` is deprecated",
    r"`torch\.jit\.\w+` is not supported in Python 3\.14",
)
OPERATOR = re.compile(r"operator '([^']+)'")  # as the exporter names what ONNX cannot express


class Whole(nn.Module):
    """An encoder behind the scaling and the normalisation of its pixels."""

    def __init__(self, backbone: FrameEncoder, taps: Sequence[str]) -> None:
        super().__init__()
        self.encoder, self.names = for_inference(backbone), tuple(taps)
        normalization = backbone.normalization
        self.scale = 1 / (255 * torch.tensor(normalization.std, dtype=torch.float64))
        self.offset = torch.tensor(normalization.mean, dtype=torch.float64) * 255 * self.scale
        self.is_scaled_alike = len(set(normalization.std)) == 1
        self.is_shifted = normalization.mean != Normalization().mean

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Return the rows of every tap.  # (N, S, S, 3) uint8"""
        shape = (1, 3, 1, 1)
        scale = self.scale[0] if self.is_scaled_alike else self.scale.view(shape)
        images = crops.permute(0, 3, 1, 2).float() * scale.float()
        if self.is_shifted:
            images = images - self.offset.float().view(shape)
        found = self.encoder.taps(images, self.names)
        return tuple(found[name].float() for name in self.names)


def taps_at(backbone: FrameEncoder, size: int) -> tuple[str, ...]:
    """Name the taps that an encoder has for crops of some size."""
    found = []
    for name in backbone.tap_names:
        try:
            backbone.shape_of(name, size)
        except UsageError:  # of other sizes
            continue
        found.append(name)
    return tuple(found)


def trace(backbone: FrameEncoder, size: int) -> bytes:
    """Return the graph of an encoder for crops of some size; one that cannot be exported is refused, with the operator or the error."""
    taps = taps_at(backbone, size)
    file = io.BytesIO()
    try:
        with tracing(), torch.no_grad():
            torch.onnx.export(
                Whole(backbone, taps).eval(),
                (torch.zeros(2, size, size, 3, dtype=torch.uint8),),
                file,  # ty: ignore[invalid-argument-type]
                dynamo=False,
                input_names=[CROPS],
                output_names=list(taps),
                dynamic_axes={name: {0: "N"} for name in (CROPS, *taps)},
                opset_version=OPSET,
            )
    except EstError:
        raise
    except Exception as error:  # the exporter lets out whatever it, the encoder or the tracing of it raises
        raise EstError(
            f"{backbone.name} cannot be computed by onnxruntime: {why_not_exported(error)}.",
            remedy="--engine torch, with --precision fp32 or bf16",
        ) from error
    return file.getvalue()


def why_not_exported(error: Exception) -> str:
    """Return what ended an export: an operator that ONNX lacks, or an error of another kind."""
    text = str(error).strip()
    if named := OPERATOR.search(text):
        return f"ONNX cannot express the operator {named[1]}"
    kind = type(error).__name__
    return f"its export failed ({kind}: {text.splitlines()[0].rstrip('.')})" if text else f"its export failed ({kind})"


def cut(model: ModelProto, taps: Sequence[str]) -> None:
    """Leave only the outputs that are asked for, and what they need."""
    graph = model.graph
    outputs = {output.name: output for output in graph.output}
    del graph.output[:]
    graph.output.extend([outputs[name] for name in taps])
    needed, kept = set(taps), []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    del graph.value_info[:]


@contextmanager
def tracing() -> Generator[None]:
    """Silence torch's warnings about tracing in general, and about checks of shapes that become constants of the graph."""
    with warnings.catch_warnings():
        for message in ANNOUNCED:
            warnings.filterwarnings("ignore", message=message)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        yield
