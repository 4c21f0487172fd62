"""OpenCV that cannot be loaded, as on a server without libGL: help and caches work, and all else ends in the command that mends it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from est.errors import missing_library, why_not_loaded

WORDS = "libGL.so.1: cannot open shared object file: No such file or directory"
SCRIPT = """
import sys
from est.cli import main
for line in ("--help", "extract . --out c.zarr --weights random", "predict v.mp4 --run r", "demo render --out d"):
    print("$", line, file=sys.stderr, flush=True)
    try:
        main(line.split())
    except SystemExit as stop:
        print("->", stop.code, file=sys.stderr, flush=True)
import est
try:
    est.extract_videos
except est.errors.EstError as error:
    print("$ api\\n" + error.message, file=sys.stderr)
"""


def test_every_command_that_needs_opencv_says_what_mends_it(tmp_path):
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").write_text(f"raise ImportError({WORDS!r})")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    first, *others, api = done.stderr.split("$ ")[1:]
    assert first == "--help\n-> 0\n"
    assert "Usage: est" in done.stdout
    assert len(others) == 3
    for told in others:
        line, *lines = told.splitlines()
        assert lines[0] == "Error: OpenCV cannot be loaded: libGL.so.1 is missing.", line
        assert "apt-get install libgl1" in lines[1], line
        assert lines[-1] == "-> 1", line
    assert api == "api\nOpenCV cannot be loaded: libGL.so.1 is missing.\n"


@pytest.mark.parametrize("headless", [True, False])
def test_the_remedy_is_of_the_package_that_is_installed(headless, monkeypatch):
    def version(name):
        assert name == "opencv-python-headless"
        if not headless:
            raise __import__("importlib.metadata").metadata.PackageNotFoundError

    monkeypatch.setattr("importlib.metadata.version", version)
    told = missing_library(ImportError(WORDS))
    assert told.message == "OpenCV cannot be loaded: libGL.so.1 is missing."
    packages = "pip uninstall -y opencv-python && pip install opencv-python-headless, or "
    assert told.remedy == f"{'' if headless else packages}apt-get install libgl1 libglib2.0-0 libsm6 libxext6"


def test_other_failures_of_imports():
    absent = missing_library(ModuleNotFoundError("No module named 'cv2'", name="cv2"))
    assert (absent.message, absent.remedy) == ("OpenCV is not installed.", "pip install opencv-python-headless")
    other = missing_library(ImportError("libcudart.so.13: cannot open shared object file: No such file or directory"))
    assert (other.message, other.remedy) == ("A library of the system is missing: libcudart.so.13.", "est doctor")
    assert missing_library(ImportError("cannot import name 'x' from 'y'")) is None, "a bug keeps its traceback"
    assert why_not_loaded("DLL load failed.\nmore") == "DLL load failed"
    assert why_not_loaded("") == "no reason is given"
