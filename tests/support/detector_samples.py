"""Detectors of insightface's kind that no training made: a small one that finds bright cells, and a model that is none."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def stand_in(path, reach=(2.0, 0.0, 0.0), static=False):
    """Write a detector: a cell's score is its brightness; its face reaches `reach[level]` cells each way (0: never a face)."""
    nodes, outputs, constants = [], [], {}

    def constant(name, values, dtype=np.float32):
        constants[name] = numpy_helper.from_array(np.array(values, dtype), name)
        return name

    by_kind = {"score": [], "box": [], "points": []}
    for level, stride in enumerate((8, 16, 32)):
        tag = str(stride)
        nodes += [
            helper.make_node("AveragePool", ["image"], [f"pool{tag}"], kernel_shape=[stride] * 2, strides=[stride] * 2),
            helper.make_node("ReduceMean", [f"pool{tag}"], [f"mean{tag}"], axes=[1], keepdims=1),
            # insightface's pixels are (value − 127.5) / 128: white is 1
            helper.make_node("Mul", [f"mean{tag}", constant(f"on{tag}", float(reach[level] > 0))], [f"cell{tag}"]),
            helper.make_node("Concat", [f"cell{tag}"] * 2, [f"pair{tag}"], axis=1),
            helper.make_node("Transpose", [f"pair{tag}"], [f"last{tag}"], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", [f"last{tag}", constant(f"column{tag}", [-1, 1], np.int64)], [f"score{tag}"]),
            helper.make_node("Mul", [f"score{tag}", constant(f"zero{tag}", 0.0)], [f"nought{tag}"]),
            helper.make_node("Add", [f"nought{tag}", constant(f"reach{tag}", [reach[level]] * 4)], [f"box{tag}"]),
            helper.make_node("Add", [f"nought{tag}", constant(f"at{tag}", np.arange(10) / 10)], [f"points{tag}"]),
        ]
        for kind, width in (("score", 1), ("box", 4), ("points", 10)):
            by_kind[kind].append(helper.make_tensor_value_info(f"{kind}{tag}", TensorProto.FLOAT, [None, width]))
    outputs = [value for values in by_kind.values() for value in values]
    shape = [1, 3, 64, 64] if static else [1, 3, None, None]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "stand-in", [image], outputs, list(constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def not_a_detector(path):
    """Write a model with one output, as the other files of a pack have."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "other",
        [value("x", TensorProto.FLOAT, [1])],
        [value("y", TensorProto.FLOAT, [1])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), path)
