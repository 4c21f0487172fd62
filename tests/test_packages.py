"""A package that is absent, and one that fails when it is imported, are refused in one way wherever they are needed."""

from __future__ import annotations

import sys

import pytest

from est.cache.dataframe import expect_pandas
from est.encoders.engines.runtime import expect_usable
from est.encoders.kinds.timm_nets import design_of
from est.errors import EstError, UsageError
from est.extract.faces.detect import build_detector
from est.hub.huggingface import HuggingFace
from est.infer.export.formats import expect_writable
from est.infer.prediction.tables import expect_pyarrow
from est.packages import expect_packages, what_is_wrong
from est.sweep.search.storage import optuna
from est.train.loop.tensorboard import board_writer

# what needs a package, the package, what is imported and fails, what pip installs, what does without it
NEEDS = {
    "insightface": (lambda: build_detector("insightface:buffalo_l"), "insightface", "", "--detector retinaface"),
    "engine": (expect_usable, "onnx", "", ""),
    "export": (lambda: expect_writable("onnx"), "onnxruntime", "", "--format torchscript"),
    "data frames": (expect_pandas, "pandas", "'est-fer[tables]'", ""),
    "parquet": (expect_pyarrow, "pyarrow", "", ""),
    "hub": (HuggingFace, "huggingface_hub", "'est-fer[hub]'", ""),
    "sweep": (optuna, "optuna", "'est-fer[sweep]'", ""),
    "timm": (lambda: design_of("resnet10t"), "timm", "'est-fer[encoders]'", ""),
    "tensorboard": (board_writer, "tensorboard", "tensorboard", ""),
}


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """`plant(name, text)`: let a package be this module."""

    def put(name, text):
        for loaded in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
            monkeypatch.delitem(sys.modules, loaded)
        (tmp_path / f"{name}.py").write_text(text)

    monkeypatch.syspath_prepend(str(tmp_path))
    return put


@pytest.mark.parametrize("case", NEEDS)
def test_an_absent_package_is_named_with_what_installs_it(case, monkeypatch):
    need, name, install, instead = NEEDS[case]
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EstError, match=rf"; {name} is not installed\.") as refused:
        need()
    assert refused.value.remedy == f"pip install {install or name}" + (f", or {instead}" if instead else "")


@pytest.mark.parametrize("case", NEEDS)
def test_a_broken_package_is_no_traceback(case, plant):
    need, name, install, instead = NEEDS[case]
    plant(name, "raise OSError('compiled for another numpy\\nand more')")
    with pytest.raises(EstError, match=rf"; {name} cannot be imported \(compiled for another numpy\)\.") as refused:
        need()
    assert refused.value.remedy.startswith("pip install --force-reinstall ")
    assert (install or name) in refused.value.remedy
    assert refused.value.remedy.endswith(f", or {instead}" if instead else (install or name) if install else "")


def test_a_missing_library_of_the_system_is_mended_in_the_system(plant):
    plant("insightface", "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')")
    with pytest.raises(EstError, match=r"OpenCV cannot be loaded: libGL\.so\.1 is missing") as refused:
        build_detector("insightface:buffalo_l")
    assert "libgl1" in refused.value.remedy
    assert refused.value.remedy.endswith(", or --detector retinaface")


def test_several_packages(plant, monkeypatch):
    monkeypatch.setitem(sys.modules, "one_package", None)
    found = what_is_wrong("json", "one_package", "another_package")
    assert found == ("one_package and another_package are not installed", "pip install one_package another_package")
    plant("half_package", "raise TypeError('descriptors')")
    with pytest.raises(UsageError) as refused:
        expect_packages("This needs both", "json", "half_package", kind=UsageError)
    assert refused.value.message == "This needs both; half_package cannot be imported (descriptors)."
    assert refused.value.remedy == "pip install --force-reinstall json half_package"
    assert what_is_wrong("json", "csv") is None


def test_an_error_in_torchscript_needs_no_onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    expect_writable("torchscript")
