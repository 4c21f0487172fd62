"""Checkpoints: what goes in comes out, damage is told from weights, and a full disk costs nothing that was there."""

from __future__ import annotations

import errno
import os
import resource
import stat

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from train_samples import TINY, tiny_config

from est.cache.stores.disk import Disk
from est.errors import EstError
from est.train import build_model
from est.train.config.configfile import to_flat
from est.train.loop import checkpoint
from est.train.loop.checkpoint import load_checkpoint, load_model, save_checkpoint

TENSORS = {
    "model/weight": torch.arange(12, dtype=torch.float32).view(3, 4) / 7,
    "model/half": torch.tensor([1.5, -2.25], dtype=torch.bfloat16),
    "optimizer/0/step": torch.tensor(3.0),
    "orders": torch.tensor([[2, 0, 1]]),
    "mask": torch.tensor([True, False]),
    "empty": torch.zeros(0, 4),
    "turned": torch.arange(6.0).view(2, 3).T,
    "part of": torch.arange(100.0)[10:20],
}
META = {"epoch": 3, "labels": ["é", 'a "b", c', "喜"], "seconds": 0.1, "best": {"right": -1}, "history": []}


def same(a, b):
    return a.keys() == b.keys() and all(a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def path(ram_path):
    return ram_path / "part é" / "checkpoint.safetensors"


@pytest.fixture
def saved(path):
    save_checkpoint(path, TENSORS, META)
    return path


def test_what_goes_in_comes_out(saved):
    found = load_checkpoint(saved)
    assert same(found.tensors, TENSORS)
    assert found.meta == META
    assert set(found.group("model")) == {"weight", "half"}
    assert set(found.group("optimizer")) == {"0/step"}
    assert stat.S_IMODE(saved.stat().st_mode) == 0o644
    assert os.listdir(saved.parent) == [saved.name]


def test_equal_content_is_an_equal_file(saved, path):
    before = saved.read_bytes()
    save_checkpoint(path, dict(reversed(TENSORS.items())), META)
    assert path.read_bytes() == before


def test_what_is_loaded_is_the_readers_own(saved):
    first = load_checkpoint(saved)
    first.tensors["model/weight"].zero_()
    assert same(load_checkpoint(saved).tensors, TENSORS)


def test_every_flipped_byte_is_noticed(saved):
    data = saved.read_bytes()
    harmless = 0
    for place in range(len(data)):
        saved.write_bytes(data[:place] + bytes([data[place] ^ 0x11]) + data[place + 1 :])
        try:
            found = load_checkpoint(saved)
        except EstError:
            continue
        assert same(found.tensors, TENSORS)
        assert found.meta == META
        harmless += 1
    assert harmless < 0.02 * len(data), "only padding may be anything"


def test_every_truncation_is_noticed(saved):
    data = saved.read_bytes()
    for length in range(len(data)):
        saved.write_bytes(data[:length])
        with pytest.raises(EstError, match="is damaged") as caught:
            load_checkpoint(saved)
        assert f"remove the folder {saved.parent}" in caught.value.remedy
        assert "est train --resume" in caught.value.remedy


def test_what_is_no_checkpoint_is_none(saved, monkeypatch):
    with pytest.raises(EstError, match="There is no checkpoint"):
        load_checkpoint(saved.parent / "absent")
    with pytest.raises(EstError, match="damaged"):
        load_checkpoint(saved.parent)
    foreign = saved.with_name("foreign")
    save_file({"x": torch.zeros(2)}, foreign)
    with pytest.raises(EstError, match="not a checkpoint of est"):
        load_checkpoint(foreign)
    monkeypatch.setattr(checkpoint, "VERSION", 7)
    with pytest.raises(EstError, match="has version 1, expected 7"):
        load_checkpoint(saved)


def test_what_a_kill_left_is_written_over(saved):
    saved.with_name(saved.name + ".partial").write_bytes(b"half of")
    assert same(load_checkpoint(saved).tensors, TENSORS)
    save_checkpoint(saved, {"x": torch.ones(1)}, {})
    assert os.listdir(saved.parent) == [saved.name]
    assert same(load_checkpoint(saved).tensors, {"x": torch.ones(1)})


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["save_file", "flush_file", "rename"])
def test_a_full_disk_leaves_the_earlier_one(saved, monkeypatch, where):
    monkeypatch.setattr(*((checkpoint, "save_file") if where == "save_file" else (Disk, where)), full)
    with pytest.raises(EstError, match="no space is left") as caught:
        save_checkpoint(saved, {"x": torch.ones(1)}, {})
    assert "The earlier one is intact." in caught.value.message
    assert "est train --resume" in caught.value.remedy
    assert os.listdir(saved.parent) == [saved.name]
    assert same(load_checkpoint(saved).tensors, TENSORS)


def test_there_is_no_earlier_one_to_be_intact(path, monkeypatch):
    monkeypatch.setattr(Disk, "rename", full)
    with pytest.raises(EstError, match="no space is left") as caught:
        save_checkpoint(path, TENSORS, META)
    assert "earlier" not in caught.value.message


def test_the_first_reason_is_told_when_nothing_can_be_removed_either(saved, monkeypatch):
    monkeypatch.setattr(Disk, "rename", full)
    monkeypatch.setattr(type(saved), "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError("not yours")))
    with pytest.raises(EstError, match="no space is left"):
        save_checkpoint(saved, TENSORS, META)


def test_a_file_that_the_system_cuts_off_leaves_the_earlier_one(saved):
    """The writer of safetensors is native code: the limit is the kernel's, not a patch."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(EstError, match="could not be saved"):
            save_checkpoint(saved, {"large": torch.zeros(100_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(saved.parent) == [saved.name]
    assert same(load_checkpoint(saved).tensors, TENSORS)


def test_numbers_that_json_does_not_know_are_a_bug(path):
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(path, TENSORS, {"loss": float("nan")})
    assert not path.exists()


def test_a_model_is_built_from_its_checkpoint_alone(path):
    model = build_model(TINY, width=16, num_classes=3, seed=5)
    with torch.no_grad():
        model.scaling.mean += 0.25
        model.scaling.std *= 1.5
    meta = {"config": to_flat(tiny_config()), "labels": ["a", "b", "c"], "width": 16, "seed": 6}
    save_checkpoint(path, {f"model/{name}": tensor for name, tensor in model.state_dict().items()}, meta)
    loaded, found = load_model(path)
    assert (found["labels"], found["config"]["model.dim"]) == (["a", "b", "c"], TINY.dim)
    assert not loaded.training
    assert loaded.config == TINY
    assert torch.equal(loaded.orders, model.orders), "the orders are those of the checkpoint, whatever the seed says"
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 7, 5, 16)).astype(np.float32))
    with torch.inference_mode():
        assert torch.equal(loaded.classify(features).expression, model.eval().classify(features).expression)
