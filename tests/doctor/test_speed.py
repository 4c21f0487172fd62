"""What `est doctor --speed` measures, and what it holds meanwhile."""

from __future__ import annotations

import weakref
from types import SimpleNamespace

import torch

from est.doctor import speed


class Built:
    def encode(self, crops):
        pass


def test_one_engine_is_held_at_a_time(monkeypatch):
    held = weakref.WeakSet()

    def build(taps, device, batch):
        assert not held
        built = Built()
        held.add(built)
        return built

    monkeypatch.setattr(speed, "prepare", lambda *asked: SimpleNamespace(build=build))
    monkeypatch.setattr(speed, "Backbone", torch.nn.Identity)
    monkeypatch.setattr(speed, "SECONDS", 0.0)
    ways = list(speed.ways(torch.device("cpu")))
    found = list(speed.check_speed("cpu"))
    assert [check.name for check in found] == [f"ResNet-18, {precision} by {engine}" for engine, precision in ways]
    assert len(found) > 1
