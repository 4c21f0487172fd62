"""A million clips: the cache opens, verifies, and an epoch of training stays within the memory of a laptop."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MANY, FRAMES, WIDTH = 1_000_000, 4, 512


@pytest.fixture
def scale(monkeypatch):
    """The module of the benchmark; it does not stay."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "benchmarks"))
    yield importlib.import_module("scale")
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "benchmarks")):
            del sys.modules[name]


def test_the_plan_follows_from_the_costs(scale, capsys):
    costs = dict.fromkeys(
        ("write, 100 frames", "merge, 100 frames", "verify, 100 frames", "find the inputs", "open"),
        scale.Cost(seconds=4.0, wall=9.0, memory=1e9),
    )
    arguments = type("Arguments", (), {"rates": [100.0], "files": 4000, "clips": 4000})()
    scale.print_plan(costs, 1e5, arguments)
    said = capsys.readouterr().out
    assert "| the cache | 10 GB | 100 GB |" in said
    assert "| extract at 100 frames/s | 27.8 h | 11.6 days |" in said
    assert "| the writer's own time | 2 min | 17 min |" in said
    assert "| merge the shards | 50 s | 8 min |" in said
    assert "one writer takes 1,000 clips/s of 100 frames: 100,000 frames/s" in said


@pytest.mark.slow
def test_a_million_clips_open_verify_and_train_in_bounded_memory(scale, tmp_path):
    path = tmp_path / "many.zarr"
    written = scale.stage(scale.write_short, path, MANY, FRAMES, WIDTH)
    opened, verified = scale.stage(scale.opened, path), scale.stage(scale.verified, path)
    trained = scale.stage(scale.train, path, tmp_path / "run", "pooled")
    assert opened.value == MANY
    assert verified.value == 0
    assert trained.value > 0.5  # of seven classes that the rows show
    features = MANY * FRAMES * WIDTH * 2
    assert max(written.memory, opened.memory, verified.memory) < features / 2
    assert trained.memory < 4e9  # a laptop of 8 GB
