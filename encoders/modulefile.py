"""The tensors of a whole module that torch has pickled, read without running anything that the file asks for.

Such files name classes and functions, and loading them calls these. Here every name of torch, timm and torchvision becomes an inert
class that keeps what it is given; dictionaries, sets and tensors are made; any other name is refused. So neither the library that
the module was made with nor its version matters. Both of torch's formats are read: an archive, and the one before torch 1.6.
"""

from __future__ import annotations

import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

import torch
from torch import Tensor

from ..errors import EstError

LIBRARIES = ("torch", "timm", "torchvision")  # whose names become inert classes
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # at the beginning of the format before the archive
DEEPEST = 64  # modules in modules
DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
HARMLESS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
}
ENDS = (
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OSError,  # a place in the archive that lies before its beginning
)


class Refused(EstError):
    """A file that asks for more than tensors in modules, or is damaged."""


class Inert:
    """What stands for an object of a library: it keeps its state and does nothing."""

    title: ClassVar[str] = ""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.state: Any = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state


def read_module(path: Path) -> dict[str, Tensor]:
    """Return the parameters and buffers of the module in a file by their names, or the tensors of a dictionary."""
    try:
        with path.open("rb") as file:
            room = path.stat().st_size
            if zipfile.is_zipfile(file):
                file.seek(0)
                with zipfile.ZipFile(file) as archive:
                    found = _Archive(archive).load()
            else:
                file.seek(0)
                found = _load_legacy(file, room)
        return {name: tensor.clone() for name, tensor in _tensors(found)}
    except Refused as error:
        raise Refused(f"{path}: {error.message}", remedy=error.remedy) from error
    except (*ENDS, RuntimeError, MemoryError, OverflowError, struct.error, RecursionError) as error:
        raise Refused(f"{path} is not a complete file of a torch module.", remedy="download it again") from error


class _Storage:
    """Numbers of one type, which tensors are views of."""

    def __init__(self, dtype: torch.dtype, numel: int, *, data: bytearray | None = None, room: int = 0) -> None:
        size = numel * dtype.itemsize
        if size < 0 or size > (room if data is None else len(data)) or (data is not None and size < len(data)):
            raise Refused(
                "a storage does not have the number of elements that the file gives", remedy="download the file again"
            )
        self.data = bytearray(size) if data is None else data
        self.flat = torch.frombuffer(self.data, dtype=dtype) if numel else torch.empty(0, dtype=dtype)


class _Unpickler(pickle._Unpickler):
    """A pickle of which nothing is called but what makes dictionaries, sets and tensors.

    It is Python's own reader: the one in C makes room for as many objects as a damaged number says, some 64 GB.
    """

    dispatch: ClassVar = {  # without byte arrays, for which Python's makes room, too: torch writes none
        code: load for code, load in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name."""
        if found := HARMLESS.get((module, name)):
            return found
        match module, name:
            case "torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor":
                return _fresh(_rebuilt)
            case "torch._utils", "_rebuild_parameter":
                return _fresh(_parameter)
            case "torch", _ if name in DTYPES:
                return type(name, (Inert,), {"title": name})
        if module.partition(".")[0] in LIBRARIES or (module, name) == ("functools", "partial"):
            return type("Inert", (Inert,), {"title": f"{module}.{name}"})
        raise Refused(
            f"it refers to {module}.{name}, which is not part of a network; nothing of the file was run",
            remedy="download the file from its publisher",
        )


class _Archive(_Unpickler):
    """torch's archive: a pickle, and a file for each storage."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1 or any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise Refused("it is an archive, but not one of torch", remedy="download the file again")
        self._archive, self._folder = archive, pickles[0].removesuffix("data.pkl")
        if archive.testzip() is not None:
            raise Refused("a part of it is damaged", remedy="download the file again")
        order = f"{self._folder}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise Refused("its numbers are big-endian", remedy="save it on a little-endian machine")
        self._known: dict[str, _Storage] = {}
        super().__init__(archive.open(pickles[0]), encoding="utf-8")

    def persistent_load(self, pid: Any) -> _Storage:
        """Return a storage."""
        kind, holder, key, _, numel = pid
        if kind != "storage":
            raise Refused("it contains something other than storages", remedy="download the file again")
        if key not in self._known:
            data = bytearray(self._archive.read(f"{self._folder}data/{key}"))
            self._known[key] = _Storage(DTYPES[holder.title], numel, data=data)
        return self._known[key]


class _Legacy(_Unpickler):
    """The format before the archive: storages stand behind the pickle, and are filled in afterwards."""

    def __init__(self, file: IO[bytes], room: int) -> None:
        self.storages: dict[str, _Storage] = {}
        self._room = room
        super().__init__(file, encoding="utf-8")

    def persistent_load(self, pid: Any) -> Any:
        """Return a storage that is still empty, or the class that a source text goes with."""
        kind, holder, *rest = pid
        if kind == "module":
            return holder
        key, _, numel, *view = rest
        if kind != "storage" or any(one is not None for one in view):
            raise Refused("it contains something other than storages", remedy="download the file again")
        if key not in self.storages:
            self.storages[key] = _Storage(DTYPES[holder.title], numel, room=self._room)
            self._room -= len(self.storages[key].data)
        return self.storages[key]


def _load_legacy(file: IO[bytes], room: int) -> Any:
    """Read the format before the archive."""
    if _Unpickler(file).load() != MAGIC or _Unpickler(file).load() != PROTOCOL:
        raise Refused("it is not a torch file", remedy="download the file again")
    if not _Unpickler(file).load().get("little_endian", False):
        raise Refused("its numbers are big-endian", remedy="save it on a little-endian machine")
    reader = _Legacy(file, room)
    found = reader.load()
    for key in _Unpickler(file).load():
        storage = reader.storages[key]
        (numel,) = struct.unpack("<q", file.read(8))
        data = file.read(len(storage.data))
        if numel != len(storage.flat) or len(data) != len(storage.data):
            raise Refused("it ends in the middle of a storage", remedy="download the file again")
        storage.data[:] = data
    return found


def _fresh(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of its own: a pickle can give attributes and defaults to whatever it is given."""

    def call(*given: Any) -> Any:
        return function(*given)

    return call


def _rebuilt(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """Return a tensor, a view of a storage within its bounds."""
    if not isinstance(storage, _Storage) or math.prod(size) > len(storage.flat) or min((0, *size, *stride, offset)) < 0:
        raise Refused("a tensor extends beyond its storage", remedy="download the file again")
    return torch.as_strided(storage.flat, tuple(size), tuple(stride), offset)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _tensors(found: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a module and of the modules in it, named as its `state_dict` names them."""
    if isinstance(found, Mapping):
        yield from ((str(name), one) for name, one in found.items() if isinstance(one, Tensor))
        return
    if not isinstance(found, Inert) or not isinstance(found.state, Mapping) or depth > DEEPEST:
        kind = found.title if isinstance(found, Inert) else type(found).__name__
        raise Refused(f"it holds a {kind}, expected a module", remedy="give a file of a whole network, or a state_dict")
    passing = found.state.get("_non_persistent_buffers_set") or ()
    for kind in ("_parameters", "_buffers"):
        for name, tensor in (found.state.get(kind) or {}).items():
            if isinstance(tensor, Tensor) and name not in passing:
                yield prefix + str(name), tensor
    for name, module in (found.state.get("_modules") or {}).items():
        if module is not None:
            yield from _tensors(module, f"{prefix}{name}.", depth + 1)
