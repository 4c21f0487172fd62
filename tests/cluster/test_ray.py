"""Extraction on a real cluster of Ray, whose three nodes are processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from extract_samples import assert_same
from ray_samples import EAGER, is_extracting, ray_cluster
from watch_samples import Calling

from est.cache import open_cache
from est.cluster.rayengine.extracting import extract_on_ray
from est.demo import RenderSpec, render_set
from est.errors import EstError
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Ray's own
SPEC = RenderSpec(subjects=2, clips_per_subject=7, seed=3, size=(160, 128), fps=25)
QUICK = ExtractConfig(weights="random", size=64, workers=1, precision="fp32", crops=True)
CLIPS = 14


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    render_set(SPEC, folder, workers=1)
    return folder


@pytest.fixture(scope="module")
def alone(videos, tmp_path_factory) -> Path:
    """The cache that one machine makes."""
    path = tmp_path_factory.mktemp("alone") / "cache.zarr"
    assert extract_videos(videos, path, QUICK, labels="folders").clips == CLIPS
    return path


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster(3) as found:
        yield found


def test_a_driver_that_is_killed_is_started_again(videos, alone, cluster, tmp_path):
    address, out = cluster[0].address, tmp_path / "cache.zarr"
    driver = subprocess.Popen([sys.executable, "-c", EAGER, address, str(videos), str(out)])
    try:
        while committed(out) < 2:
            assert driver.poll() is None
            time.sleep(0.2)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    there = committed(out)
    assert there < CLIPS
    report = extract_on_ray(videos, out, QUICK, address=address, labels="folders")
    assert report.unchanged >= there
    assert report.unchanged + report.clips == CLIPS
    assert_same(alone, out)
    with pytest.raises(EstError, match="do not fit"):
        extract_on_ray(videos, out, QUICK, address=address, actors=9)


def committed(path: Path) -> int:
    try:
        return len(open_cache(path))
    except EstError:
        return 0


def test_a_node_that_is_killed_costs_nothing(videos, alone, cluster, tmp_path):
    running, nodes = cluster
    out, told, killed = tmp_path / "cache.zarr", [], []

    def kill(progress):
        if progress.done and not killed and is_extracting(nodes[-1]):
            killed.append(nodes.pop())
            running.remove_node(killed[0], allow_graceful=False)

    watch = Calling(progress=kill, warn=told.append)
    report = extract_on_ray(videos, out, QUICK, address=running.address, labels="folders", watch=watch)
    assert killed
    assert (report.clips, report.failures, report.interrupted) == (CLIPS, [], False)
    assert any("an actor died, and its clips are done again" in line for line in told), told
    assert_same(alone, out)


def test_signals_stop_it_in_order(videos, alone, cluster, tmp_path):
    out, sent = tmp_path / "cache.h5", []

    def stop(progress):
        if progress.done and not sent:
            sent.append(progress.done)
            os.kill(os.getpid(), signal.SIGTERM)

    calls = {"address": cluster[0].address, "labels": "folders"}
    report = extract_on_ray(videos, out, QUICK, watch=Calling(progress=stop), **calls)
    assert report.interrupted
    assert 0 < report.clips < CLIPS
    assert extract_on_ray(videos, out, QUICK, **calls).clips == CLIPS - report.clips
    assert_same(alone, out)
