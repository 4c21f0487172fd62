"""A graph in int8: weights per output channel, activations per tensor, both as pairs of QuantizeLinear and DequantizeLinear.

onnxruntime turns a convolution into its integer form only where its input, its weights and what follows it are quantised, residual sums
and pools among them; a ReLU is dropped where the range of its output begins at 0, which unsigned activations have and signed ones have
not. Its own tool quantises activations signed by default, and the graph is then slower than in fp32 (docs/log.md). It is written out here
because bytes of caches depend on every number of it.

On x86 without VNNI products of unsigned and signed bytes are added in pairs in 16 bits, which saturate; weights of 7 bits cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .graph import CROPS

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

Range = tuple[float, float]

ROUNDING = 1  # counted up when the same weights and ranges give another graph: it stands in the recipe
LEVELS = {8: 127, 7: 63}  # largest weight of so many bits
UNSIGNED = 255
MOST_BIAS = 2.0**30


def quantised_tensors(graph: GraphProto) -> list[str]:
    """Name the activations that are quantised, in the order of the graph: around convolutions, and before products with weights."""
    weights = {tensor.name for tensor in graph.initializer}
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found: dict[str, None] = {}
    in_eight: set[str] = set()  # all that convolutions lead to through sums, pools and ReLUs
    for node in graph.node:
        inputs = [name for name in node.input if name and name not in weights]
        if is_weighted(node, weights):
            found.setdefault(node.input[0])
        if (
            node.op_type == "Conv"
            or (node.op_type in ("Relu", "Clip", "MaxPool") and inputs and inputs[0] in in_eight)
            or (node.op_type == "Add" and len(inputs) == 2 and set(inputs) <= in_eight)
        ):
            in_eight.add(node.output[0])
        else:
            continue
        after = readers.get(node.output[0], [])
        outputs = {output.name for output in graph.output}
        is_inside = (
            len(after) == 1 and after[0].op_type in ("Relu", "Clip") and node.output[0] not in outputs
        )  # of a pair that is one
        if not is_inside:
            found.setdefault(node.output[0])
    return list(found)


def is_weighted(node: NodeProto, weights: set[str]) -> bool:
    """Return whether a node multiplies an activation with weights in a form that has an integer twin."""
    if node.op_type == "Conv":
        return node.input[1] in weights
    return node.op_type in ("MatMul", "Gemm") and node.input[0] not in weights and node.input[1] in weights


def quantise(model: ModelProto, ranges: Mapping[str, Range], bits: int) -> None:
    """Put a graph into int8 in place: activations by their ranges, weights by their largest; what nothing reads is left in it."""
    _Quantiser(model.graph, ranges, bits).run()


def weight_scales(
    weight: np.ndarray, axis: int, activation: np.float32, bias: np.ndarray | None, bits: int
) -> np.ndarray:
    """Return the scale of each output channel, large enough for its bias to be a whole number of 32 bits."""
    others = tuple(place for place in range(weight.ndim) if place != axis)
    scale = np.abs(weight).max(axis=others).astype(np.float64) / LEVELS[bits]
    if bias is not None:
        scale = np.maximum(scale, np.abs(bias) / (float(activation) * MOST_BIAS))
    return np.where(scale > 0, scale, 1.0).astype(np.float32)


class _Quantiser:
    """One graph while it is rewritten."""

    def __init__(self, graph: GraphProto, ranges: Mapping[str, Range], bits: int) -> None:
        from onnx import numpy_helper

        self.graph, self.bits = graph, bits
        self.nodes: list[NodeProto] = []
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.constants |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
        self.weights = {tensor.name for tensor in graph.initializer}
        self.numbers: dict[str, tuple[np.float32, np.uint8]] = {}  # scale and zero of each activation
        self._array, self._pack = numpy_helper.to_array, numpy_helper.from_array
        pooled = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "MaxPool"}
        for name in ranges:
            low, high = ranges.get(pooled.get(name, ""), ranges[name])  # a pool keeps the scale
            scale = np.float32(max(high - low, 1e-12) / UNSIGNED)
            self.numbers[name] = scale, np.uint8(np.clip(np.rint(-low / scale), 0, UNSIGNED))

    def run(self) -> None:
        """Rewrite the graph."""
        for node in self.graph.node:
            name = node.output[0]
            if name in self.numbers and self._scales_pixels(node):
                self._read_bytes(node)
                continue
            if is_weighted(node, self.weights) and node.input[0] in self.numbers:
                self._round_weights(node)
            self.nodes.append(node)
            if name in self.numbers:
                node.output[0] = f"{name}/float"
                self._round(f"{name}/float", name)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)

    def _round_weights(self, node: NodeProto) -> None:
        """Let a node read rounded weights, and a rounded bias."""
        axis = _channel_axis(node)
        weight = self._array(self.constants[node.input[1]])
        scale_before, _ = self.numbers[node.input[0]]
        bias = None
        if len(node.input) > 2 and node.input[2] in self.weights:
            bias = self._array(self.constants[node.input[2]])
            bias = bias if bias.shape == (weight.shape[axis],) else None
        scale = weight_scales(weight, axis, scale_before, bias, self.bits)
        shape = [1] * weight.ndim
        shape[axis] = -1
        most = LEVELS[self.bits]
        node.input[1] = self._rounded(
            np.rint(weight / scale.reshape(shape)).clip(-most, most).astype(np.int8), scale, axis
        )
        if bias is not None:
            both = (scale * scale_before).astype(np.float32)
            node.input[2] = self._rounded(np.rint(bias / both).astype(np.int32), both, 0)

    def _scales_pixels(self, node: NodeProto) -> bool:
        """Return whether a node brings bytes of pixels to [0, 1] and does no more: bytes are what it would be rounded to again."""
        if node.op_type != "Mul" or node.input[1] not in self.constants:
            return False
        before = self.made_by.get(node.input[0])
        is_scalar = self._array(self.constants[node.input[1]]).size == 1
        return is_scalar and before is not None and before.op_type == "Cast" and self._is_pixels(before.input[0])

    def _is_pixels(self, name: str) -> bool:
        before = self.made_by.get(name)
        return name == CROPS or (before is not None and before.op_type == "Transpose" and before.input[0] == CROPS)

    def _read_bytes(self, node: NodeProto) -> None:
        """Take the bytes of pixels as they are."""
        factor = self._array(self.constants[node.input[1]]).reshape(()).astype(np.float32)
        numbers = [self._keep(factor), self._keep(np.zeros((), np.uint8))]
        self._add("DequantizeLinear", [self.made_by[node.input[0]].input[0], *numbers], node.output[0])

    def _round(self, source: str, target: str) -> None:
        """Add the pair of nodes that rounds an activation."""
        numbers = [self._keep(np.asarray(value)) for value in self.numbers[target]]
        self._add("QuantizeLinear", [source, *numbers], f"{target}/eight")
        self._add("DequantizeLinear", [f"{target}/eight", *numbers], target)

    def _rounded(self, value: np.ndarray, scale: np.ndarray, axis: int) -> str:
        """Add what reads a rounded constant, and return its name."""
        inputs = [self._keep(value), self._keep(scale), self._keep(np.zeros(scale.shape, value.dtype))]
        return self._add("DequantizeLinear", inputs, f"{inputs[0]}/float", axis)

    def _keep(self, value: np.ndarray) -> str:
        """Keep a constant, and return its name."""
        name = f"rounded/{len(self.graph.initializer)}"
        self.graph.initializer.append(self._pack(value, name))
        return name

    def _add(self, kind: str, inputs: list[str], output: str, axis: int | None = None) -> str:
        from onnx import helper

        node = helper.make_node(kind, inputs, [output])
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self.nodes.append(node)
        return output


def _channel_axis(node: NodeProto) -> int:
    """Return the axis of the output channels of a node's weights."""
    if node.op_type == "Gemm":
        return 0 if any(item.name == "transB" and item.i for item in node.attribute) else 1
    return 0 if node.op_type == "Conv" else 1
