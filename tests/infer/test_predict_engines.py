"""Which engine and precision a prediction computes in: the run's own, or what the options say."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from predict_samples import EXTRACTION, QUIET

from est.cache.schema import FeatureSpec
from est.encoders.engines import choice
from est.encoders.weights import load_weights
from est.errors import EstError
from est.infer.prediction.encoders import ArraysDeviceWorker, FrameArray, computation_of, settled
from est.infer.prediction.recipe import _lines, in_another_way
from est.train import Run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def array():
    """The array of a run on a cache in int8 of 7 bits."""
    return FrameArray(
        name="gap",
        spec=FeatureSpec(dtype="float16", shape=(512,)),
        tap="gap",
        precision="int8",
        engine="onnxruntime",
        calibration="7-bit weights, ranges 00ff",
        weights=load_weights("synface"),
    )


@pytest.mark.parametrize("asked", [{"precision": "int8"}, {"engine": "onnxruntime"}, {"engine": "auto"}])
def test_int8_that_is_the_runs_keeps_its_bits_and_ranges(array, monkeypatch, asked):
    monkeypatch.setattr(choice, "kind_of_processor", lambda: "VNNI")
    same = in_another_way(array, replace(QUIET, **asked), [CPU])
    assert (same.calibration, computation_of(same, CPU).bits) == (array.calibration, 7)
    other = in_another_way(replace(array, precision="fp32", calibration=""), replace(QUIET, precision="int8"), [CPU])
    assert (other.calibration, computation_of(other, CPU).bits) == ("", 8)


def test_bits_that_this_processor_has_not_are_refused_however_they_are_asked_for(array, monkeypatch):
    monkeypatch.setattr(choice, "kind_of_processor", lambda: "AVX2")
    eight = replace(array, calibration="8-bit weights, ranges 00ff")
    with pytest.raises(EstError, match="Weights of 8 bits need") as refused:
        in_another_way(eight, replace(QUIET, precision="int8"), [CPU])
    assert refused.value.remedy == "--precision fp32"


def test_only_an_engine_that_nobody_asked_for_may_be_another(array, monkeypatch):
    monkeypatch.setattr(choice, "is_fast_here", lambda: True)
    ways = [
        {"precision": "fp32"},
        {"precision": "fp32", "engine": "auto"},
        {"precision": "fp32", "engine": "onnxruntime"},
    ]
    found = [computation_of(in_another_way(array, replace(QUIET, **asked), [CPU]), CPU) for asked in ways]
    assert [one.engine for one in found] == ["onnxruntime"] * 3
    assert [one.may_fall_back for one in found] == [True, True, False]


def test_rows_that_are_computed_in_different_ways_have_encoders_of_their_own(array, monkeypatch):
    monkeypatch.setattr(choice, "kind_of_processor", lambda: "VNNI")
    plain = replace(array, precision="fp32", calibration="")
    ways = [plain, replace(plain, engine="torch"), array, replace(array, calibration="8-bit weights, ranges 00ff")]
    same = [replace(way, name=f"again{number}", tap="layer4") for number, way in enumerate(ways)]
    built = []

    def prepare(backbone, size, computation, say):
        way = (computation.engine, computation.precision, computation.bits)

        def build(taps, device, batch):
            built.append((way, taps))

        return SimpleNamespace(calibration=f"{computation.bits}-bit weights, ranges 00ff", digest="0", build=build)

    monkeypatch.setattr("est.infer.prediction.encoders.prepare", prepare)
    ArraysDeviceWorker(CPU, "fp32", replace(EXTRACTION, detector="none", size=32), [*ways, *same])
    assert built == [
        (way, ["gap", "layer4"])
        for way in (
            ("onnxruntime", "fp32", 8),
            ("torch", "fp32", 8),
            ("onnxruntime", "int8", 7),
            ("onnxruntime", "int8", 8),
        )
    ]


def test_ranges_that_the_cache_does_not_tell_are_said_not_to_be_compared(sample, array, monkeypatch):
    several = replace(array, calibration="7-bit weights, ranges 00ff of 3 encoders")
    monkeypatch.setattr(choice, "kind_of_processor", lambda: "VNNI")
    told = [_lines(Run.open(sample.run), ["fold1"], {"fold1": one}, [CPU]) for one in (array, several)]
    assert [[line for line in lines if line.startswith("not compared: the ranges of gap,")] for lines in told] == [
        [],
        told[1][-1:],
    ]
    assert told[0][-1] == "cpu in int8 of 7 bits by onnxruntime"


def test_an_encoder_that_onnx_cannot_express_is_computed_by_torch_and_that_is_said(array, monkeypatch):
    def refuse(*_):
        raise EstError("resnet18 cannot be computed by onnxruntime.")

    monkeypatch.setattr("est.encoders.engines.preparation._graph", refuse)
    monkeypatch.setattr(choice, "is_fast_here", lambda: True)
    config, said = replace(EXTRACTION, detector="none", size=32), []
    chosen, asked = (
        in_another_way(array, replace(QUIET, precision="fp32", engine=engine), [CPU])
        for engine in (None, "onnxruntime")
    )
    told = []
    taken = settled(chosen, 32, [CPU], told.append)
    assert (taken.engine, taken.may_fall_back) == ("torch", False)  # as predictions.json has it
    assert settled(asked, 32, [CPU], told.append) is asked
    worker = ArraysDeviceWorker(CPU, "fp32", config, [chosen], say=said.append)
    assert said == told == ["resnet18 cannot be computed by onnxruntime: torch computes it"]
    assert worker.encode(np.zeros((1, 32, 32, 3), np.uint8)).result()["gap"].shape == (1, 512)
    with pytest.raises(EstError, match="cannot be computed by onnxruntime"):
        ArraysDeviceWorker(CPU, "fp32", config, [asked])
