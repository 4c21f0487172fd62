"""Devices and precisions: read in one place, never replaced by another."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from processor import PRECISIONS

from est.encoders import precision as precisions
from est.encoders.device import parse_device
from est.encoders.precision import resolve_precision
from est.errors import EstError, UsageError
from est.extract.faces.detect import build_detector


@pytest.fixture
def gpus(monkeypatch):
    """`gpus(n)`: pretend that there are n."""

    def pretend(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return pretend


def test_cpu_is_always_there():
    assert parse_device("cpu") == torch.device("cpu")


def test_auto_takes_a_gpu_where_there_is_one(gpus):
    gpus(0)
    assert parse_device("auto") == torch.device("cpu")
    gpus(2)
    assert parse_device("auto") == parse_device("cuda") == torch.device("cuda:0")
    assert parse_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize("text", ["cuda", "cuda:0", "cuda:3"])
def test_a_gpu_that_is_absent_is_an_error(gpus, text):
    gpus(0)
    with pytest.raises(EstError, match=text):
        parse_device(text)
    with pytest.raises(EstError, match=text):
        build_detector("retinaface", device=text)


@pytest.mark.parametrize(("count", "there"), [(1, "only cuda:0"), (3, "cuda:0 to cuda:2")])
def test_a_gpu_beyond_the_last_names_those_there(gpus, count, there):
    gpus(count)
    with pytest.raises(EstError, match=there):
        parse_device("cuda:3")


def test_mps_that_is_absent_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(EstError, match="mps"):
        parse_device("mps")


@pytest.mark.parametrize("text", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "cpu:0", "cuda:0,cuda:1"])
def test_other_words_are_a_usage_error(text):
    with pytest.raises(UsageError):
        parse_device(text)


@pytest.mark.parametrize("text", PRECISIONS)
def test_a_stated_precision_is_taken(text):
    assert resolve_precision(text, torch.device("cpu")) == (text, "as asked")


@pytest.mark.parametrize(
    ("flags", "expected"), [([], "fp32"), (["avx512_bf16"], "bf16"), (["amx_bf16", "avx512_bf16"], "bf16")]
)
def test_auto_goes_by_the_processors_flags(monkeypatch, flags, expected):
    for name in precisions.LIMITS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(precisions, "fast_bf16_flags", lambda: flags)
    chosen, reason = resolve_precision("auto", torch.device("cpu"))
    assert chosen == expected
    assert "avx512_bf16" in reason


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_on_a_gpu_goes_by_its_generation(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision("auto", torch.device("cuda:0"))[0] == expected


def test_auto_on_mps_is_fp32():
    assert resolve_precision("auto", torch.device("mps"))[0] == "fp32"


def test_an_unknown_precision_is_a_usage_error():
    with pytest.raises(UsageError, match="fp64"):
        resolve_precision("fp64", torch.device("cpu"))


def test_flags_are_read_with_and_without_torch(monkeypatch):
    told = precisions.fast_bf16_flags()
    if sys.platform == "linux":
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
        assert precisions.fast_bf16_flags() == told


def test_naming_the_detectors_imports_nothing_heavy():
    script = "import sys, est.extract, est.extract.faces.detect\n"
    script += "print(sorted(set(sys.modules) & {'numpy', 'torch', 'cv2', 'onnx', 'onnxruntime', 'insightface'}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
