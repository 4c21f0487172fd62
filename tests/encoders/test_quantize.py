"""Weights in int8: each output channel has a scale of its own, biases are whole numbers of 32 bits, and 7 bits cannot saturate."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from est.encoders.engines.quantize import UNSIGNED, quantise, quantised_tensors

LARGEST = (2.0, 2e-3, 2e-6, 0.0, 0.0)  # weight of each output channel
BIAS = (0.5, -0.25, 50.0, -3.0, 0.0)  # the third is larger than its weights can ever add up to
LEVELS = {8: 127, 7: 63}
RANGE = 1.5  # of activations


def layer(kind):
    """Return a graph of one layer that multiplies with weights, the weights, and the axis of their output channels."""
    draw = np.random.default_rng(0).uniform(-1, 1, (len(LARGEST), 6))
    weight = (draw / np.abs(draw).max(1, keepdims=True) * np.array(LARGEST)[:, None]).astype(np.float32)
    shape, options, axis = {
        "Conv": ((5, 6, 1, 1), {}, 0),
        "Gemm": ((6, 5), {}, 1),
        "Gemm turned": ((5, 6), {"transB": 1}, 0),
        "MatMul": ((6, 5), {}, 1),
    }[kind]
    weight = (weight if axis == 0 else weight.T).reshape(shape)
    tensors = {"weight": weight, "bias": np.array(BIAS, np.float32)}
    if kind == "MatMul":
        del tensors["bias"]
    node = helper.make_node(kind.split()[0], ["x", *tensors], ["y"], **options)
    made = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    graph = helper.make_graph([node], "layer", values[:1], values[1:], made)
    return helper.make_model(graph), weight, axis


def rounded(model, place):
    """Return the whole numbers that a layer reads at a place, their scales, and the axis of these."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    (node,) = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    (reads,) = [one for one in model.graph.node if one.output[0] == node.input[place]]
    numbers, scale, zero = (arrays[name] for name in reads.input)
    assert reads.op_type == "DequantizeLinear"
    assert not zero.any()
    (axis,) = [item.i for item in reads.attribute if item.name == "axis"]
    return numbers, scale, axis


def back(numbers, scale, axis):
    shape = [1] * numbers.ndim
    shape[axis] = -1
    return numbers * scale.astype(np.float64).reshape(shape)


@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("kind", ["Conv", "Gemm", "Gemm turned", "MatMul"])
def test_each_output_channel_has_a_scale_of_its_own(kind, bits):
    model, weight, axis = layer(kind)
    quantise(model, dict.fromkeys(quantised_tensors(model.graph), (-RANGE, RANGE)), bits)
    numbers, scale, found = rounded(model, 1)
    assert (numbers.dtype, found) == (np.int8, axis)
    most = np.abs(np.moveaxis(numbers, axis, 0).astype(int)).reshape(len(LARGEST), -1).max(1)
    far = np.abs(np.moveaxis(back(numbers, scale, axis) - weight, axis, 0)).reshape(len(LARGEST), -1).max(1)
    own = [0, 1] if kind != "MatMul" else [0, 1, 2]  # whose scale no bias widens
    assert (most[own] == LEVELS[bits]).all()
    assert (far[own] <= 0.501 * np.array(LARGEST)[own] / LEVELS[bits]).all()
    assert not far[3:].any()


@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("kind", ["Conv", "Gemm", "Gemm turned"])
def test_a_bias_far_beyond_the_weights_stays_a_whole_number_of_32_bits(kind, bits):
    model, _, axis = layer(kind)
    quantise(model, dict.fromkeys(quantised_tensors(model.graph), (-RANGE, RANGE)), bits)
    numbers, scale, found = rounded(model, 2)
    assert (numbers.dtype, found) == (np.int32, 0)
    weights, of_weights, _ = rounded(model, 1)
    np.testing.assert_allclose(
        scale, of_weights * np.float32(2 * RANGE / UNSIGNED), rtol=1e-6
    )  # what is added up has one
    np.testing.assert_allclose(back(numbers, scale, 0), BIAS, rtol=1e-3)
    assert np.abs(numbers.astype(float)).max() <= 2**30 * 1.001
    assert np.abs(np.moveaxis(back(weights, of_weights, axis), axis, 0)[2]).max() <= 2 * LARGEST[2]


def test_two_products_of_7_bits_fit_16_bits_and_two_of_8_do_not():
    """So does x86 without VNNI add them, and what does not fit saturates."""
    fits = {}
    for bits in LEVELS:
        model, *_ = layer("Conv")
        quantise(model, dict.fromkeys(quantised_tensors(model.graph), (-RANGE, RANGE)), bits)
        fits[bits] = 2 * 255 * int(np.abs(rounded(model, 1)[0].astype(int)).max()) <= np.iinfo(np.int16).max
    assert fits == {8: False, 7: True}
