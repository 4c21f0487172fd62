"""Files of tensors: reading those of any software, writing est's own with metadata and a checksum in the head, durably and atomically.

Pickles are read as tensors alone, whole modules too, so that a file that was downloaded somewhere runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..cache.stores.disk import PARTIAL, Disk
from ..errors import EstError
from .modulefile import Refused, read_module

CUT_OFF = (
    "header too small",
    "invalid header length",
    "not fully covered",
)  # what safetensors says of a part of a file
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
ALIGNED = 8  # bytes, of the first tensor in a file
CONTAINERS = ("state_dict", "model_state_dict", "model", "net")  # where training scripts put the tensors


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of a file, and what safetensors says beside them; refuse one of ours in which a byte has changed."""
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                metadata = file.metadata() or {}
        except SafetensorError as error:
            is_cut = any(mark in str(error) for mark in CUT_OFF)
            raise EstError(
                f"{path} is not a {'whole ' * is_cut}safetensors file.",
                remedy="download or copy it again: it is truncated or damaged" if is_cut else None,
            ) from error
        if "checksum" in metadata:
            _expect_as_written(path, path.read_bytes())
        return tensors, metadata
    try:
        loaded = _unpickled(path)
    except EstError as unsafe:
        try:
            return read_module(path), {}
        except Refused as refused:
            reason = refused.message.removeprefix(f"{path}: ")
            raise EstError(f"{unsafe.message.removesuffix('.')}: {reason}", remedy=unsafe.remedy) from unsafe
    while isinstance(loaded, Mapping):  # a score may lie beside the tensors, as a tensor too
        inner = next((loaded[name] for name in CONTAINERS if isinstance(loaded.get(name), Mapping)), None)
        if inner is None:
            break
        loaded = inner
    if not isinstance(loaded, Mapping):
        raise EstError(f"{path} holds a {type(loaded).__name__}, expected a state_dict.")
    return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}, {}


def _unpickled(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what the pickle raises
        raise EstError(
            f"{path} cannot be loaded as weights alone.",
            remedy="save its state_dict: torch.save(model.state_dict(), 'weights.pth')",
        ) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file: equal content is an equal file."""
    contents = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    disk = Disk()
    try:
        disk.make_folder(path.parent)
        disk.write(path, _with_metadata(save(contents), metadata))
        disk.flush_folder(path.parent)
    except OSError as error:
        with suppress(OSError):  # what forbids to write may forbid to remove: the first reason counts
            path.with_name(path.name + PARTIAL).unlink(missing_ok=True)
        raise EstError(
            f"The weights {path} could not be written: {error.strerror}.",
            remedy="free some space or check the permissions, then run the same command again",
        ) from error


def save_file(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file tensor by tensor, without a copy of them all.

    The library's own writer begins another file, of a name that it draws, and a kill leaves that file for good.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # so that all are aligned
    head: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        begin, end = end, end + tensors[name].nbytes
        head[name] = {
            "dtype": DTYPES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNED)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in (name for name in names if tensors[name].numel()):
            file.write(tensors[name].reshape(-1).view(torch.uint8).numpy())


def _with_metadata(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """Put metadata and a checksum into the head of a safetensors file, in order: its library shuffles them."""
    head, tensors = _split(data)
    head["__metadata__"] = {**metadata, "checksum": _checksum(head, metadata, tensors)}
    text = json.dumps(head, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNED)
    return len(text).to_bytes(8, "little") + text + tensors


def _expect_as_written(path: Path, data: bytes) -> None:
    """Refuse a file of est in which a byte has changed: its tensors or its record of training clips are wrong."""
    head, tensors = _split(data)
    metadata = dict(head.pop("__metadata__"))
    checksum = metadata.pop("checksum")
    if checksum != _checksum(head, metadata, tensors):
        raise EstError(f"{path} is damaged: its content does not match its checksum.", remedy="restore a copy")


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _checksum(head: Mapping[str, Any], metadata: Mapping[str, str], tensors: bytes) -> str:
    digest = xxhash.xxh3_128(json.dumps([head, metadata], sort_keys=True).encode())
    digest.update(tensors)
    return digest.hexdigest()
