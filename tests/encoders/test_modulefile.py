"""Whole modules are read for their tensors, in both of torch's formats; nothing that a file asks for is run."""

from __future__ import annotations

import functools
import io
import pickle
import zipfile

import pytest
import torch
from torch import nn

from est.encoders.modulefile import Refused, read_module
from est.encoders.tensorfile import read_tensors
from est.errors import EstError

pytestmark = pytest.mark.filterwarnings(
    "ignore:Couldn't retrieve source code"
)  # of torch, when it writes the earlier format
FORMATS = pytest.mark.parametrize("archive", [True, False], ids=["archive", "legacy"])
RAN = []


class Net(nn.Module):
    """Modules in modules, shared numbers, a view, a buffer that is not saved, functions as attributes."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU())
        self.tied = nn.Linear(6, 2)
        self.tied.weight = nn.Parameter(torch.randn(6, 2, generator=generator).T)
        self.register_buffer("counts", torch.arange(5, dtype=torch.float16))
        self.register_buffer("passing", torch.zeros(2), persistent=False)
        self.gate, self.made, self.nothing = nn.functional.silu, functools.partial(nn.functional.pad, pad=(1, 1)), None
        self.known = {1, 2}


Net.__module__ = "timm.models.efficientnet"  # whose classes are not those of this library


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Write a module as if timm had such a class, and take the class away again."""
    import timm.models.efficientnet as home

    def save(archive, obj=None):
        net = Net() if obj is None else obj
        with monkeypatch.context() as patch:
            patch.setattr(home, "Net", Net, raising=False)
            torch.save(net, tmp_path / "net.pt", _use_new_zipfile_serialization=archive)
        return tmp_path / "net.pt", net

    return save


@FORMATS
def test_tensors_are_those_of_the_state_dict(archive, saved):
    path, net = saved(archive)
    found = read_module(path)
    assert list(found) == list(net.state_dict())
    for name, tensor in net.state_dict().items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
    assert read_tensors(path)[0].keys() == found.keys()  # where torch refuses the pickle


@FORMATS
def test_a_dictionary_is_read_too(archive, saved):
    path, net = saved(archive, {"a": torch.eye(2), "epoch": 3})
    assert torch.equal(read_module(path)["a"], net["a"])
    assert list(read_module(path)) == ["a"]


class Runs:
    def __reduce__(self):
        return (RAN.append, ("it ran",))


class Asks:
    def __reduce__(self):
        return (eval, ("1",))


@FORMATS
@pytest.mark.parametrize(("bad", "named"), [(Runs(), "getattr"), (Asks(), "eval")], ids=["method", "function"])
def test_any_other_name_is_refused_and_nothing_is_run(archive, bad, named, saved):
    path, _ = saved(archive, {"weight": torch.zeros(1), "more": bad})
    with pytest.raises(Refused, match=rf"asks for \w+\.{named},.*nothing of the file was run"):
        read_module(path)
    with pytest.raises(EstError, match="cannot be loaded as weights alone"):
        read_tensors(path)
    assert RAN == []


@FORMATS
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_half_a_file_is_refused(archive, share, saved):
    path, _ = saved(archive)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(Refused, match=r"net\.pt"):
        read_module(path)


def test_a_page_and_a_pickle_of_nobody_are_refused(tmp_path):
    for name, data in (("page.pt", b"<!DOCTYPE html><html>"), ("other.pt", pickle.dumps([1, 2]))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(Refused, match=name):
            read_module(tmp_path / name)


def rewritten(path, change):
    """Change the entries of an archive."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    path.write_bytes(buffer.getvalue())


def test_a_tensor_outside_of_its_storage_is_refused(saved):
    path, _ = saved(True, {"a": torch.ones(4)})

    def shorten(entries):
        key = next(name for name in entries if name.endswith("data/0"))
        entries[key] = entries[key][:8]

    rewritten(path, shorten)
    with pytest.raises(Refused, match="not as many numbers"):
        read_module(path)


def test_a_changed_byte_is_noticed(saved):
    path, _ = saved(True, {"a": torch.full((64,), 3.25)})
    data = bytearray(path.read_bytes())
    data[data.index(torch.tensor([3.25]).numpy().tobytes() * 8)] ^= 1
    path.write_bytes(data)
    with pytest.raises(Refused):
        read_module(path)
