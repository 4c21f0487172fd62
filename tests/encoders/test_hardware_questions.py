"""Whoever asks what the hardware can do also refuses what it cannot: every such place in the package is known here."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
import torch

import est
from est.encoders import device as devices
from est.encoders import precision as precisions
from est.encoders.engines.choice import choose_engine
from est.encoders.precision import resolve_precision
from est.errors import EstError
from est.train.loop.world import own_device

CPU = torch.device("cpu")
PACKAGE = Path(est.__file__).parent


def refuses_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EstError, match="Device cuda"):
        devices.parse_device("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(EstError, match="Device mps"):
        devices.parse_device("mps")


def refuses_an_old_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(EstError, match=r"compute capability 8\.0 or more, and cuda:0 has 7\.5"):
        resolve_precision("bf16", torch.device("cuda:0"))
    assert resolve_precision("fp16", torch.device("cuda:0"))[0] == "fp16"


def refuses_a_gpu_too_few(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in {
        "RANK": 1,
        "WORLD_SIZE": 2,
        "LOCAL_RANK": 1,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": 29500,
    }.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(EstError, match="found by torch: 1"):
        own_device(torch.device("cuda:0"))


def refuses_a_plain_processor(monkeypatch):
    monkeypatch.setattr(precisions.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False}, raising=False)
    with pytest.raises(EstError, match="this one has avx2"):
        resolve_precision("bf16", CPU)
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    monkeypatch.setattr(precisions, "_torch_supports", lambda name: False)
    monkeypatch.setattr(precisions, "read_cpu_flags", lambda: frozenset({"avx2"}))
    with pytest.raises(EstError, match="this one has avx2"):
        resolve_precision("bf16", CPU)


def refuses_what_the_flags_lack(monkeypatch):
    monkeypatch.setattr(precisions.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(precisions, "cpu_flags", lambda: frozenset({"avx2"}))
    for name in ("bf16", "fp16"):
        with pytest.raises(EstError, match="this one has avx2"):
            resolve_precision(name, CPU)


def refuses_int8_without_avx2(monkeypatch):
    monkeypatch.setattr(precisions.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(precisions, "cpu_flags", lambda: frozenset({"sse4_1"}))
    with pytest.raises(EstError, match="int8 needs a processor with avx2"):
        choose_engine("auto", "int8", CPU)


REFUSALS = {  # who asks what the hardware can do (and how often), and how it refuses
    ("encoders/device.py:parse_device", 4): refuses_a_gpu,
    ("encoders/engines/choice.py:kind_of_processor", 1): refuses_int8_without_avx2,
    ("train/loop/world.py:own_device", 1): refuses_a_gpu_too_few,
    ("encoders/precision.py:why_emulated", 1): refuses_an_old_gpu,
    ("encoders/precision.py:cpu_flags", 2): refuses_a_plain_processor,
    ("encoders/precision.py:_why_emulated_by_processor", 2): refuses_what_the_flags_lack,
    ("encoders/precision.py:_torch_supports", 1): refuses_what_the_flags_lack,
    ("encoders/precision.py:_fastest", 1): refuses_what_the_flags_lack,
    ("encoders/precision.py:fast_bf16_flags", 1): refuses_what_the_flags_lack,
}
RECORDS = {  # asks in order to write it down, or to choose between ways that give the same
    ("cache/environment.py:current_environment", 1),
    ("cache/environment.py:read_cpu_flags", 1),
    ("cluster/local.py:_gpus", 1),
    ("doctor/machine.py:<module>", 1),
    ("doctor/machine.py:_flags", 1),
    ("doctor/machine.py:_gpus", 3),
    ("encoders/fused.py:why_different", 1),
    ("encoders/fused.py:_pointwise", 1),
    ("extract/faces/detect/retinaface_net.py:forward", 1),
    ("train/models/products.py:onednn_is_faster", 3),
}
QUESTION = re.compile(
    r"is_available|device_count|get_device_\w+|get_capabilities|get_arch_list|is_\w*_supported|_is_mkldnn_\w+"
    r"|cpu_flags|read_cpu_flags|_convolution_pointwise|.*/proc/cpuinfo.*"
)


def questions(text):
    """Count the questions to the hardware in each function of a module, and outside of them."""
    found = Counter()

    def visit(node, name):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.name
        asked = {
            ast.Attribute: lambda: [node.attr],
            ast.Name: lambda: [node.id],
            ast.Constant: lambda: [node.value] if isinstance(node.value, str) else [],
            ast.ImportFrom: lambda: (
                [f"{alias.name}" for alias in node.names] if (node.module or "").startswith("torch") else []
            ),
        }.get(type(node), list)()
        found[name] += sum(bool(QUESTION.fullmatch(word)) for word in asked)
        for child in ast.iter_child_nodes(node):
            visit(child, name)

    visit(ast.parse(text), "<module>")
    return {name: count for name, count in found.items() if count}


@pytest.mark.parametrize(
    "planted",
    [
        "def f():\n    return torch.cuda.is_available()",
        "def f():\n    return torch.cuda.get_device_properties(0).major",
        "def f():\n    return torch.cuda.is_bf16_supported()",
        "def f():\n    return torch.ops.mkldnn._is_mkldnn_bf16_supported()",
        "HAS_CUDA = torch.cuda.is_available()",
        "from torch.cuda import is_available as there",
        "def f():\n    return open('/proc/cpuinfo').read()",
        "def f():\n    return 'amx' in precision.cpu_flags()",
        "def f():\n    return getattr(torch.cpu, 'get_capabilities')()",
    ],
)
def test_a_planted_question_is_seen(planted):
    assert sum(questions(planted).values()) == 1


def test_every_question_to_the_hardware_has_its_refusal():
    found = set()
    for folder in (path for path in PACKAGE.iterdir() if (path / "__init__.py").exists()):
        for path in folder.rglob("*.py"):
            place = path.relative_to(PACKAGE).as_posix()
            found |= {(f"{place}:{name}", count) for name, count in questions(path.read_text(encoding="utf-8")).items()}
    assert found == set(REFUSALS) | RECORDS


@pytest.mark.parametrize("place", REFUSALS)
def test_it_refuses(monkeypatch, place):
    for name in precisions.LIMITS:
        monkeypatch.delenv(name, raising=False)
    REFUSALS[place](monkeypatch)
