"""Weights in int8: each output channel has a scale of its own, biases are whole numbers of 32 bits, and 7 bits cannot saturate."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from est.encoders.engines.quantize import ROUNDING, UNSIGNED, quantise, quantised_tensors

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


def network():
    """Return a graph with all that is quantised, whose numbers are the same on every machine, and its ranges."""

    def numbers(*shape, step):
        places = np.arange(np.prod(shape)) * step % 101 - 50
        return (places.reshape(shape) / 64).astype(np.float32)

    tensors = {
        "first": numbers(4, 3, 3, 3, step=37),
        "first bias": numbers(4, step=29),
        "second": numbers(4, 4, 3, 3, step=53) * np.float32(2) ** -np.arange(0, 40, 10).reshape(4, 1, 1, 1),
        "second bias": numbers(4, step=31),
        "third": numbers(5, 4, step=41),
        "third bias": numbers(5, step=43),
        "fourth": numbers(4, 2, step=47),
    }
    factor = numpy_helper.from_array(np.array(1 / 255, np.float32))
    nodes = [
        helper.make_node("Transpose", ["crops"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["turned"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["factor"], value=factor),
        helper.make_node("Mul", ["floats", "factor"], ["pixels"]),
        helper.make_node("Conv", ["pixels", "first", "first bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2]),
        helper.make_node("Conv", ["c", "second", "second bias"], ["d"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["d", "c"], ["e"]),
        helper.make_node("Clip", ["e"], ["f"]),
        helper.make_node("ReduceMean", ["f"], ["g"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["g", "third", "third bias"], ["gap"], transB=1),
        helper.make_node("MatMul", ["g", "fourth"], ["other"]),
    ]
    inputs = [helper.make_tensor_value_info("crops", TensorProto.UINT8, None)]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("gap", "other")]
    made = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in tensors.items()]
    model = helper.make_model(helper.make_graph(nodes, "network", inputs, outputs, made))
    ranges = {"pixels": (0.0, 1.0), "b": (0.0, 2.5), "c": (0.0, 2.25), "d": (-1.125, 3.0), "f": (-0.6875, 1.5)}
    return model, ranges | {"g": (-0.3125, 1.0)}


def contents(model):
    """Return all that a graph computes with, whatever the version of the library that holds it."""

    def value(item):
        found = helper.get_attribute_value(item)
        return array(found) if isinstance(found, TensorProto) else found

    def array(tensor):
        found = numpy_helper.to_array(tensor)
        return str(found.dtype), found.shape, found.tobytes()

    nodes = [
        (node.op_type, [*node.input], [*node.output], sorted((item.name, value(item)) for item in node.attribute))
        for node in model.graph.node
    ]
    return nodes, [(tensor.name, array(tensor)) for tensor in model.graph.initializer]


@pytest.mark.parametrize(("bits", "digest"), [(8, "0ad502f89d35403b"), (7, "ba25c824e83b1986")])
def test_the_same_weights_and_ranges_give_the_same_graph_to_the_bit(bits, digest):
    """Rows of caches depend on all of it. Where a change is wanted, count ROUNDING up: caches then refuse to mix rows of both."""
    model, ranges = network()
    assert quantised_tensors(model.graph) == list(ranges)
    quantise(model, ranges, bits)
    found = hashlib.sha256(repr(contents(model)).encode()).hexdigest()[:16]
    assert (ROUNDING, found) == (1, digest)


def test_a_pool_keeps_the_scale_of_what_it_reads():
    """onnxruntime pools bytes only where one scale stands before and behind; else it goes to floats and back."""
    model, ranges = network()
    assert ranges["b"] != ranges["c"]
    quantise(model, ranges, 8)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scales = {node.output[0]: arrays[node.input[1]] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    assert scales["c"] == scales["b"] == np.float32(2.5 / UNSIGNED)


def test_a_sum_is_quantised_where_all_that_is_added_comes_from_convolutions():
    model, _ = network()
    (plus,) = [node for node in model.graph.node if node.op_type == "Add"]
    plus.input[1] = "floats"
    assert quantised_tensors(model.graph) == ["pixels", "b", "c", "d", "g"]
