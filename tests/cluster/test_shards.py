"""An extraction in shards gives what one extraction gives, whatever interrupts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from cluster_samples import CONFIG
from extract_samples import assert_same, face_frames
from hypothesis import given
from hypothesis import strategies as st
from video_samples import make_video

from est.cache import open_cache
from est.cache.watch import Watch
from est.cluster.parts import run_part
from est.cluster.place import Place
from est.cluster.shares import shares
from est.cluster.submitting import prepare_extract, submit_extract
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs

AUTO = replace(CONFIG, precision="auto")
LIST = """path;label;subject;extra:site;extra:age
a.mp4;sad;p1;3;30
b;happy;p2;4;31.5
broken.mp4;happy;p2;5;
c;;;north;28
gone.mp4;fear;p3;7;1
"""


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40), st.integers(1, 50))
def test_shares_follow_each_other_and_weigh_about_the_same(weights, number):
    found = shares(weights, number)
    assert [place for part in found for place in part] == list(range(len(weights)))
    assert len(found) == min(number, len(weights))
    assert all(found)
    loads = [sum(max(weights[place], 1) for place in part) for part in found]
    assert max(loads) <= sum(max(one, 1) for one in weights) / len(found) + 2 * max(*weights, 1)


@pytest.fixture(scope="module")
def pile(tmp_path_factory):
    """A list of a video, two folders of pictures, a file that is none and one that is not there, and what one extraction makes of it."""
    folder = tmp_path_factory.mktemp("pile")
    frames = face_frames(12)
    make_video(folder / "a.mp4", frames[:6])
    for name, pictures in {"b": frames[6:9], "c": [np.full((96, 128, 3), 127, np.uint8)] * 2}.items():
        (folder / name).mkdir()
        for number, picture in enumerate(pictures):
            cv2.imwrite(str(folder / name / f"{number}.bmp"), picture)
    (folder / "broken.mp4").write_bytes(b"no video" * 500)
    (folder / "list.csv").write_text(LIST)
    extract_videos(find_inputs([folder / "list.csv"]), folder / "one.zarr", AUTO)
    return folder


class Warned(Watch):
    """Sends this process the warning of a cluster as soon as it extracts."""

    def progress(self, progress):
        if progress.what == "Extracting":
            signal.raise_signal(signal.SIGUSR2)


def files_of(cache):
    return {path.relative_to(cache): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def test_shards_preempted_twice_become_the_cache_of_one_extraction(pile, tmp_path):
    """To the byte, but for the commit; with types of columns that no shard could know, and failures in their order."""
    out = tmp_path / "cache.zarr"
    place = prepare_extract(pile / "list.csv", out, AUTO, shards=2)
    states = [run_part(place, 1, watch=Warned()) for _ in range(2)]
    assert [(one.state, one.signal, one.attempt, one.left) for one in states] == [
        ("stopped", signal.SIGUSR2, 1, 3),
        ("stopped", signal.SIGUSR2, 2, 3),
    ]
    submission = submit_extract(pile / "list.csv", out, AUTO, engine="debug")
    assert (submission.is_done, submission.counts, submission.left) == (True, {"done": 2}, 0)
    assert submission.result["failures"] == 2
    one, merged = files_of(pile / "one.zarr"), files_of(out)
    root = next(name for name in one if str(name) == "zarr.json")
    first, second = (json.loads(found.pop(root))["attributes"] for found in (one, merged))
    assert one == merged
    for name in ("commit", "checksum"):
        first.pop(name), second.pop(name)
    assert first == second
    assert open_cache(out).extraction.left == 0
    assert not (place.folder / "shards").exists()
    assert submit_extract(pile / "list.csv", out, AUTO, shards=2, engine="debug").is_done, "nothing is left to do"


def est_submit(*words, folder):
    command = [sys.executable, "-m", "est", "submit", *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_everything_is_killed_in_the_middle(tmp_path, monkeypatch, suffix):
    """The command and its shards by SIGKILL; then the command by Ctrl-C; the third call ends with the cache of one extraction."""
    (tmp_path / "videos").mkdir()
    first = make_video(tmp_path / "videos" / "0.mp4", face_frames(40)).read_bytes()
    for number in range(1, 8):
        (tmp_path / "videos" / f"{number}.mp4").write_bytes(first)
    options = ["--weights", "random", "--size", "64", "--workers", "1", "--precision", "fp32", "--device", "cpu"]
    words = [
        "extract",
        "videos",
        "--out",
        f"cache{suffix}",
        "--shards",
        "4",
        "--engine",
        "local",
        "--max-parallel",
        "2",
        *options,
    ]
    place = Place(tmp_path / f"cache{suffix}")

    def wait_until_a_shard_is_begun(running, attempt):
        until = time.monotonic() + 300
        while running.poll() is None and time.monotonic() < until:
            states = {path.stem: json.loads(path.read_text()) for path in place.state(0).parent.glob("0*.json")}
            working = {
                name: one for name, one in states.items() if (one["state"], one["attempt"]) == ("running", attempt)
            }
            if any(place.shard(int(name)).exists() for name in working):
                return list(working.values())
            time.sleep(0.02)
        raise AssertionError(running.communicate())

    running = est_submit(*words, folder=tmp_path)
    for one in wait_until_a_shard_is_begun(running, 1):
        os.kill(one["pid"], signal.SIGKILL)
    running.kill()
    running.communicate()
    assert not place.out.exists()
    running = est_submit(*words, folder=tmp_path)
    wait_until_a_shard_is_begun(running, 2)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=300)
    assert running.returncode == 130, err
    assert "stopped" in out
    running = est_submit(*words, folder=tmp_path)
    out, err = running.communicate(timeout=600)
    assert running.returncode == 0, err
    config = replace(CONFIG, workers=2)
    monkeypatch.chdir(tmp_path)
    extract_videos("videos", tmp_path / f"one{suffix}", config)
    assert_same(tmp_path / f"one{suffix}", place.out)
