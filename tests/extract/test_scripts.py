"""Scripts that call est: a file without a main guard, and one that is no file."""

from __future__ import annotations

import subprocess
import sys

import pytest
from video_samples import make_video

SCRIPT = """
from pathlib import Path

import est
from est.inputs.input import find_inputs
from est.extract.config import ExtractConfig
config = ExtractConfig(detector="none", weights="random", workers=1)
report = est.extract_videos(find_inputs([Path("clip.mp4")]), Path("cache.zarr"), config)
print(report.clips, [one.error for one in report.failures])
"""


@pytest.mark.parametrize("way", ["file", pytest.param("standard input", marks=pytest.mark.slow)])
def test_a_script_needs_no_main_guard(tmp_path, way):
    make_video(tmp_path / "clip.mp4", 6)
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py" if way == "file" else "-"]
    given = SCRIPT if way == "standard input" else None
    done = subprocess.run(command, cwd=tmp_path, input=given, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "1 []\n"), done.stderr
    assert "Traceback" not in done.stderr
