"""Which engine is taken, and what is refused, by kinds of processors."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from est import packages
from est.doctor.speed import ways
from est.encoders import precision as of_torch
from est.encoders.engines.choice import AS_BEGUN, Begun, bits_here, choose_engine, why_no_bits
from est.errors import EstError, UsageError

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
KINDS = {
    "bf16": {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"},
    "bf16 without AMX": {"avx2", "avx512f", "avx512_vnni", "avx512_bf16"},
    "VNNI": {"avx2", "avx_vnni"},
    "AVX2": {"avx2"},
    "old": {"sse4_1"},
}


@pytest.fixture
def processor(monkeypatch):
    """`processor(kind)`: let it be of a kind."""
    monkeypatch.setattr(of_torch.platform, "machine", lambda: "x86_64")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    return lambda kind: monkeypatch.setattr(of_torch, "cpu_flags", lambda: frozenset(KINDS[kind]))


@pytest.mark.parametrize(
    ("kind", "engine", "precision", "bits", "hint"),
    [
        ("bf16", "torch", "bf16", 8, ""),
        ("bf16 without AMX", "torch", "bf16", 8, "about 1.7 × faster for ResNet-18 here: --precision int8"),
        ("VNNI", "onnxruntime", "fp32", 8, "about 3.1 × faster for ResNet-18 here: --precision int8"),
        ("AVX2", "onnxruntime", "fp32", 7, "about 1.9 × faster for ResNet-18 here: --precision int8"),
        ("old", "torch", "fp32", 7, ""),
    ],
)
def test_auto_takes_what_is_fast_and_never_int8(processor, kind, engine, precision, bits, hint):
    processor(kind)
    found = choose_engine("auto", "auto", CPU)
    assert (found.engine, found.precision, found.searching) == (engine, precision, precision)
    assert found.may_fall_back == (engine == "onnxruntime")
    assert hint in found.hint
    assert bool(hint) == bool(found.hint)
    assert found.lines([CPU])[0].startswith(f"cpu in {precision} by {engine}: ")
    assert bits_here() == bits
    assert choose_engine("torch", "fp32", CPU).engine == "torch"
    assert choose_engine("onnxruntime", "auto", CPU).precision == "fp32"
    assert not choose_engine("onnxruntime", "fp32", CPU).may_fall_back


def test_fp32_that_was_asked_for_is_torchs_where_bf16_is_fast(processor):
    processor("bf16")
    assert choose_engine("auto", "fp32", CPU).engine == "torch"
    processor("AVX2")
    assert choose_engine("auto", "fp32", CPU).engine == "onnxruntime"


def test_int8_has_the_bits_that_the_processor_can_add(processor):
    processor("VNNI")
    assert choose_engine("auto", "int8", CPU).bits == 8
    assert choose_engine("auto", "int8", CPU, begun=Begun(bits=7)).bits == 7  # a cache that was started elsewhere
    processor("AVX2")
    assert choose_engine("onnxruntime", "int8", CPU).bits == 7
    with pytest.raises(EstError, match=r"8 bits need a processor with avx512_vnni or avx_vnni.*saturate"):
        choose_engine("auto", "int8", CPU, begun=Begun(bits=8))
    assert why_no_bits(7) is None
    processor("bf16")
    assert choose_engine("auto", "int8", CPU).searching == "bf16"  # the detector's


@pytest.mark.parametrize(
    ("kind", "asked", "message", "remedy"),
    [
        ("old", ("auto", "int8", CPU), "int8 needs a processor with avx2", "--precision fp32"),
        ("VNNI", ("torch", "int8", CPU), "int8 is computed by onnxruntime", "leave out --engine torch"),
        ("VNNI", ("onnxruntime", "bf16", CPU), "in fp32 or int8, not in bf16", "--engine torch --precision bf16"),
        (
            "VNNI",
            ("onnxruntime", "auto", GPU),
            r"on the processor alone, and cuda:0 .*CPUExecutionProvider",
            "--device cpu",
        ),
        ("VNNI", ("auto", "int8", GPU), "and not on cuda:0", "--device cpu"),
        ("VNNI", ("onxruntime", "auto", CPU), "--engine is auto, torch or onnxruntime", "--engine onnxruntime"),
        ("VNNI", ("auto", "int4", CPU), "auto, fp32, bf16, fp16 or int8; found 'int4'", "--precision int8"),
    ],
)
def test_what_cannot_be_is_refused(processor, kind, asked, message, remedy):
    processor(kind)
    with pytest.raises(EstError, match=message) as refused:
        choose_engine(*asked)
    assert remedy in refused.value.remedy
    if asked[1] == "int4":
        assert isinstance(refused.value, UsageError)


def test_int8_goes_on_with_the_detector_of_the_cache(processor):
    for kind, there, searching in (("bf16", "fp32", "fp32"), ("bf16", None, "bf16"), ("VNNI", "fp32", "fp32")):
        processor(kind)
        begun = Begun(engine="onnxruntime", precision="int8", searching=there)
        assert choose_engine("auto", "int8", CPU, begun=begun).searching == searching
    processor("VNNI")
    with pytest.raises(EstError, match="bf16 needs a processor"):
        choose_engine("auto", "int8", CPU, begun=Begun(precision="int8", searching="bf16"))
    # Beside rows of another precision, which are refused by their name later, the detector of these says nothing.
    assert choose_engine("auto", "fp32", CPU, begun=Begun(precision="int8", searching="bf16")).searching == "fp32"
    processor("bf16")
    assert choose_engine("auto", "bf16", CPU, begun=Begun(precision="fp32", searching="fp32")).searching == "bf16"


@pytest.mark.parametrize("kind", ["bf16", "VNNI"])
@pytest.mark.parametrize(
    ("engine", "precision", "searching"),
    [("torch", "fp32", "fp32"), ("onnxruntime", "fp32", "fp32"), ("onnxruntime", "int8", "fp32")],
)
def test_auto_is_what_the_rows_that_are_there_were_begun_in(processor, kind, engine, precision, searching):
    processor(kind)
    begun = Begun(engine=engine, precision=precision, searching=searching, bits=7)
    for asked in (("auto", "auto"), (engine, "auto")):
        found = choose_engine(*asked, CPU, begun=begun)
        assert (found.engine, found.precision, found.searching) == (engine, precision, searching)
        assert found.why.startswith(AS_BEGUN)
        assert not found.may_fall_back
        assert "faster" not in found.hint
    found = choose_engine("auto", precision, CPU, begun=begun)
    assert (found.engine, found.precision) == (engine, precision)
    assert found.why.startswith("as asked")


def test_what_was_asked_for_and_the_rows_have_not_is_left_to_be_refused(processor):
    processor("bf16")
    ort, bf16 = Begun(engine="onnxruntime", precision="int8"), Begun(engine="torch", precision="bf16")
    asked = [("torch", "auto", ort), ("auto", "bf16", ort), ("onnxruntime", "auto", bf16), ("auto", "int8", bf16)]
    found = [choose_engine(engine, precision, CPU, begun=begun) for engine, precision, begun in asked]
    assert [(one.engine, one.precision) for one in found] == [
        ("torch", "bf16"),
        ("torch", "bf16"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8"),
    ]
    assert choose_engine("torch", "auto", CPU, begun=replace(ort, precision="fp32")).precision == "fp32"


@pytest.mark.parametrize(
    ("absent", "named"), [(("onnx",), "onnx is"), (("onnxruntime", "onnx"), "onnxruntime and onnx are")]
)
def test_where_it_is_not_installed(processor, monkeypatch, absent, named):
    remedy = f"pip install {' '.join(absent)}"
    find = packages.importlib.util.find_spec
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None if name in absent else find(name))
    processor("VNNI")
    for precision in ("auto", "fp32"):
        found = choose_engine("auto", precision, CPU)
        assert (found.engine, found.precision) == ("torch", "fp32")
        assert f"{named} not installed: {remedy}" in found.lines([CPU])[0]
    for engine, precision in (("onnxruntime", "auto"), ("onnxruntime", "int8"), ("auto", "int8")):
        with pytest.raises(EstError, match=f"; {named} not installed") as refused:
            choose_engine(engine, precision, CPU)
        assert refused.value.remedy == remedy
    with pytest.raises(EstError, match=r"on the processor alone, and cuda:0 was asked for\."):
        choose_engine("onnxruntime", "auto", GPU)
    assert {engine for engine, _ in ways(CPU)} == {"torch"}
    monkeypatch.undo()
    assert "onnxruntime" in {engine for engine, _ in ways(CPU)}


@pytest.mark.parametrize(
    ("name", "raised"), [("onnxruntime", ImportError("no multiarray\nand more")), ("onnx", TypeError("no multiarray"))]
)
def test_where_it_is_installed_and_cannot_be_imported(processor, monkeypatch, name, raised):
    def imported(asked):
        if asked == name:
            raise raised

    monkeypatch.setattr(packages.importlib, "import_module", imported)
    processor("VNNI")
    reason, remedy = rf"{name} cannot be imported \(no multiarray\)", "pip install --force-reinstall onnxruntime onnx"
    found = choose_engine("auto", "auto", CPU)
    assert (found.engine, found.precision) == ("torch", "fp32")
    assert re.search(f"{reason}: {remedy}", found.lines([CPU])[0])
    with pytest.raises(EstError, match=f"; {reason}") as refused:
        choose_engine("auto", "int8", CPU)
    assert refused.value.remedy == remedy


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("VNNI", ("onnxruntime", "bf16", CPU)),
        ("VNNI", ("auto", "bf16", CPU)),
        ("old", ("auto", "int8", CPU)),
        ("VNNI", ("auto", "int8", GPU)),
        ("VNNI", ("auto", "int4", CPU)),
    ],
)
def test_remedies_name_the_option_of_the_caller(processor, kind, asked):
    processor(kind)
    with pytest.raises(EstError) as refused:
        choose_engine(*asked, option="--rows-precision")
    assert "--rows-precision " in refused.value.remedy
    assert " --precision" not in f" {refused.value.remedy}"
