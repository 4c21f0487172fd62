"""Ctrl-C goes to every process of a terminal, SIGTERM to one: either way the run ends in order, and the same command resumes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from extract_samples import QUICK, assert_same, extract, face_frames
from video_samples import make_video

from est.cache import open_cache, verify_cache

pytestmark = pytest.mark.slow

CONFIG = replace(QUICK, size=224)
MORE = {"features": ("gap", "layer4"), "flip": True}
OPTIONS = ["--weights", "random", "--precision", "fp32", "--workers", "2", "--json"]
MORE_OPTIONS = ["--features", "gap,layer4", "--flip"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Six clips of a second each: a run takes several seconds."""
    folder = tmp_path_factory.mktemp("videos")
    first = make_video(folder / "0.mp4", face_frames(25))
    for number in range(1, 6):
        shutil.copy(first, folder / f"{number}.mp4")
    return folder


@pytest.fixture(scope="module")
def undisturbed(videos, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("undisturbed") / "cache.zarr"
    assert extract(videos, path, CONFIG, **MORE).clips == 6
    return path


def start(videos, path, *options):
    """Start the command in a process group of its own, as a terminal does."""
    command = [sys.executable, "-m", "est", "extract", str(videos), "--out", str(path), *OPTIONS, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(running, note: str, done: int) -> None:
    """Read what the command says until so many clips are done."""
    for line in running.stdout:
        event = json.loads(line)
        if event["event"] == "progress" and event["note"].startswith(note) and event["done"] >= done:
            return
    raise AssertionError(f"it ended before: {running.stderr.read()}")


def end(running) -> tuple[int, dict, str]:
    """Return the status, the result and what came on stderr."""
    out, errors = running.communicate(timeout=120)
    results = [event for line in out.splitlines() if (event := json.loads(line))["event"] == "result"]
    return running.returncode, results[0] if results else {}, errors


@pytest.mark.parametrize(
    ("number", "suffix", "done"),
    [
        pytest.param("SIGINT", ".zarr", 0, id="Ctrl-C while workers start"),
        pytest.param("SIGINT", ".h5", 2, id="Ctrl-C in the middle"),
        pytest.param("SIGUSR1", ".zarr", 1, id="a cluster's warning"),
    ],
)
def test_a_signal_to_all_processes(videos, undisturbed, tmp_path, number, suffix, done):
    path = tmp_path / f"cache{suffix}"
    running = start(videos, path, *MORE_OPTIONS)
    wait_for(running, "", done)
    os.killpg(running.pid, getattr(signal, number))
    status, result, errors = end(running)
    assert (status, errors) == (130, "")
    assert result["interrupted"]
    assert result["left"] == 6 - result["clips"] > 0
    assert len(open_cache(path)) == result["clips"] >= done
    assert verify_cache(path).problems == []
    report = extract(videos, path, CONFIG, **MORE)
    assert (report.clips, report.unchanged) == (result["left"], result["clips"])
    assert_same(path, undisturbed)


@pytest.mark.parametrize(("number", "suffix"), [("SIGINT", ".h5"), ("SIGTERM", ".zarr"), ("SIGKILL", ".h5")])
def test_a_filling_that_is_stopped(videos, undisturbed, tmp_path, number, suffix):
    path = tmp_path / f"cache{suffix}"
    extract(videos, path, CONFIG)
    running = start(videos, path, *MORE_OPTIONS)
    wait_for(running, "adding", 2)
    send = os.killpg if number == "SIGINT" else os.kill
    send(running.pid, getattr(signal, number))
    status, result, errors = end(running)
    cache = open_cache(path)
    assert (cache.features, len(cache)) == (["gap"], 6)
    assert verify_cache(path).problems == []
    if number != "SIGKILL":
        assert (status, errors) == (130, "")
        assert result["interrupted"]
        assert result["unfilled"] == 6 - result["filled"]
        assert 2 <= result["filled"] < 6
    report = extract(videos, path, CONFIG, **MORE)
    assert report.filled == 6 - result.get("filled", 0)
    assert_same(path, undisturbed)
    assert verify_cache(path).problems == []
