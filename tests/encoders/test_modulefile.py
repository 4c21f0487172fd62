"""Whole modules are read for their tensors, in both of torch's formats; nothing that a file asks for is run."""

from __future__ import annotations

import functools
import io
import pickle
import struct
import zipfile
from collections import OrderedDict

import pytest
import torch
from torch import nn

from est.encoders import modulefile
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
    with pytest.raises(Refused, match=rf"refers to \w+\.{named},.*nothing of the file was run"):
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
    with pytest.raises(Refused, match="does not have the number of elements"):
        read_module(path)


def test_a_changed_byte_is_noticed(saved):
    path, _ = saved(True, {"a": torch.full((64,), 3.25)})
    data = bytearray(path.read_bytes())
    data[data.index(torch.tensor([3.25]).numpy().tobytes() * 8)] ^= 1
    path.write_bytes(data)
    with pytest.raises(Refused):
        read_module(path)


class Numbers:
    """Four numbers in a storage of their own."""


class View:
    def __init__(self, offset, size, stride):
        self.place = (offset, size, stride)

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, (Numbers(), *self.place, False, OrderedDict())


class Changed:
    """A function of torch that is given other defaults and an attribute."""

    def __reduce__(self):
        function = torch._utils._rebuild_parameter
        return function, (function, False, None), (None, {"__defaults__": (1,), "marked": True})


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return ("storage", torch.FloatStorage, "0", "cpu", 4) if isinstance(obj, Numbers) else None


def crafted(path, obj):
    """Write an archive as somebody might who knows the format."""
    told = io.BytesIO()
    Pickler(told, 2).dump(obj)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", told.getvalue())
        archive.writestr("net/data/0", torch.arange(4.0).numpy().tobytes())
    return path


def test_an_archive_that_says_it_begins_before_its_file_is_refused(tmp_path):
    """Its entries lie before the file: reading there is an error of the system."""
    path = crafted(tmp_path / "net.pt", {"a": View(0, (4,), (1,))})
    data = bytearray(path.read_bytes())
    (begins,) = struct.unpack("<L", data[-6:-2])
    data[-6:-2] = struct.pack("<L", begins + 64)
    path.write_bytes(data)
    with pytest.raises(Refused, match="is not a complete file"):
        read_module(path)


@pytest.mark.parametrize(
    ("offset", "size", "stride"), [(-1, (2,), (1,)), (3, (2,), (-1,)), (0, (-1,), (1,)), (0, (5,), (0,))]
)
def test_a_tensor_that_begins_or_runs_before_its_storage_is_refused(offset, size, stride, tmp_path):
    assert read_module(crafted(tmp_path / "net.pt", {"a": View(1, (2,), (2,))}))["a"].tolist() == [1.0, 3.0]
    with pytest.raises(Refused, match="a tensor extends beyond its storage"):
        read_module(crafted(tmp_path / "net.pt", {"a": View(offset, size, stride)}))


def test_a_pickle_changes_no_function_of_est(tmp_path):
    with pytest.raises(Refused):
        read_module(crafted(tmp_path / "net.pt", Changed()))
    assert modulefile._parameter.__defaults__ is None
    assert not hasattr(modulefile._parameter, "marked")


def test_a_damaged_number_asks_for_no_memory(tmp_path):
    """The reader in C makes room for twice as many objects as the number of the one that is to be remembered."""
    assert not issubclass(modulefile._Unpickler, pickle.Unpickler)
    path = tmp_path / "net.pt"
    for named in (b"}r\xff\xff\xff\xff.", b"\x96" + (1 << 40).to_bytes(8, "little") + b"."):
        path.write_bytes(b"\x80\x02" + named)
        with pytest.raises(Refused):
            read_module(path)
