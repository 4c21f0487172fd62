"""Where features go: by free memory, faked here, or as asked for; and how free memory is found."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
import torch
from cache_samples import LABELS, make_clip, sample_recipes

from est.cache import CacheWriter, open_cache
from est.errors import EstError, UsageError
from est.train.data import memory, rows
from est.train.data.clipset import ClipSet
from est.train.data.rows import RowSource, choose_residency

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)  # named only: nothing here runs on it
AVAILABLE = 5000 * 1024  # of the system in the tests of free memory


def sized_cache(path):
    """Write a cache of one clip: 160 rows of 32 bytes."""
    with CacheWriter.open(path, sample_recipes(), labels=LABELS) as writer:
        writer.add(make_clip(3, frames=160))
    return open_cache(path)


@pytest.fixture
def source(tmp_path):
    """The rows of that cache."""
    cache = sized_cache(tmp_path / "a.zarr")
    return RowSource(cache=cache, features=("gap",), start=np.array([0]), count=np.array([160]))


@pytest.mark.parametrize(
    ("device", "free", "kind", "line"),
    [
        (CPU, {"cpu": 10_000}, "device", r"features: 0\.01 MB in memory$"),
        (CPU, {"cpu": 8_000}, "stream", r"stay in .* read batch by batch; 0\.01 MB are free in memory$"),
        (CUDA, {"cuda": 10_000, "cpu": 0}, "device", r"features: 0\.01 MB on cuda:0$"),
        (CUDA, {"cuda": 8_000, "cpu": 10_000}, "pinned", r"through pinned memory; 0\.01 MB are free on cuda:0$"),
        (CUDA, {"cuda": 8_000, "cpu": 8_000}, "stream", r"; 0\.01 MB are free on cuda:0; 0\.01 MB are free in memory$"),
    ],
)
def test_rows_live_where_they_fit_with_room_to_spare(source, device, free, kind, line, monkeypatch):
    monkeypatch.setattr(rows, "free_memory", lambda place: free[place.type])
    assert source.num_bytes == 5120  # fits into 10,000 bytes at a share of 0.6, not into 8,000
    found = choose_residency(source, device, "auto")
    assert found[0] == kind
    assert re.search(line, found[1]), found[1]


def test_what_is_asked_for_is_given_or_refused(source, monkeypatch):
    for free, kinds in {5120: ("device", "pinned", "stream"), 5119: ("stream",)}.items():
        monkeypatch.setattr(rows, "free_memory", lambda place, free=free: free)
        for kind in ("device", "pinned", "stream"):
            if kind in kinds:
                assert choose_residency(source, CUDA, kind)[0] == kind
            else:
                where = {"device": "on cuda:0", "pinned": "in memory"}[kind]
                with pytest.raises(EstError, match=rf"have 0\.01 MB, and 0\.01 MB are free {where}"):
                    choose_residency(source, CUDA, kind)
    for device in (CPU, torch.device("mps")):
        with pytest.raises(
            UsageError, match=f"Pinned memory is for copies to a CUDA device, and this run is on {device}"
        ):
            choose_residency(source, device, "pinned")
    with pytest.raises(UsageError, match="Features live in auto, device, pinned, stream; found 'disk'"):
        choose_residency(source, CPU, "disk")


def test_the_set_says_where_its_features_are(tmp_path):
    cache = sized_cache(tmp_path / "a.zarr")
    assert ClipSet.from_cache(cache, [0]).residency == "features: 0.01 MB in memory"
    assert str(cache.path) in ClipSet.from_cache(cache, [0], residency="stream").residency


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, AVAILABLE),
        ({"memory.max": "max", "memory.current": "7", "memory.stat": ""}, AVAILABLE),
        (
            {"memory.max": "4000000", "memory.current": "3000000", "memory.stat": "anon 1\ninactive_file 500000\n"},
            1_500_000,
        ),
        ({"memory.max": "4000000", "memory.current": "4500000", "memory.stat": "anon 1\n"}, 0),
        ({"memory.max": "9000000", "memory.current": "1000000", "memory.stat": ""}, AVAILABLE),
        (
            {
                "memory/memory.limit_in_bytes": "3000000",
                "memory/memory.usage_in_bytes": "1000000",
                "memory/memory.stat": "inactive_file 7\ntotal_inactive_file 200000\n",
            },
            2_200_000,
        ),
    ],
)
def test_free_memory_is_what_system_and_group_leave(tmp_path, files, expected, monkeypatch):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:          9000 kB\nMemAvailable:       5000 kB\n")
    (tmp_path / "memory").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    assert memory.free_memory(CPU) == expected


def test_without_meminfo_the_system_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "absent")
    monkeypatch.setattr(memory, "GROUP", tmp_path / "absent")
    assert 0 < memory.free_memory(CPU) <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
