"""The part of the Zarr 3 format that a cache uses: uncompressed regular chunks, little-endian, and UTF-8 strings.

Written here and not through zarr-python, which reads whole arrays three times slower, turns a missing chunk into zeros, skips chunks of
zeros unless told otherwise at every opening, and does not flush to the disk. The tests read every cache with zarr-python.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...errors import CacheDamaged
from ..schema import STRING, ArraySpec

METADATA = "zarr.json"
_LENGTH = struct.Struct("<I")


def group_document(attributes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the metadata of a group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes or {})}


def array_document(spec: ArraySpec, rows: int) -> dict[str, Any]:
    """Return the metadata of an array with a number of rows."""
    codec: dict[str, Any] = {"name": "bytes"}
    if spec.dtype == STRING:
        codec, fill = {"name": "vlen-utf8", "configuration": {}}, ""
    else:
        dtype = np.dtype(spec.dtype)
        if dtype.itemsize > 1:
            codec["configuration"] = {"endian": "little"}
        fill = 0.0 if dtype.kind == "f" else 0
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [rows, *spec.row_shape],
        "data_type": spec.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [spec.chunk_rows, *spec.row_shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": fill,
        "codecs": [codec],
        "attributes": {},
        "storage_transformers": [],
    }


def encode_document(document: Mapping[str, Any]) -> bytes:
    """Return the bytes of a zarr.json."""
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def chunk_key(spec: ArraySpec, index: int) -> str:
    """Return the name of a chunk's file in its array's folder; only the first axis is cut."""
    return ".".join(["c", str(index), *["0"] * len(spec.row_shape)])


def chunk_index(name: str) -> int | None:
    """Return the number of the chunk that a file of an array's folder holds."""
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "c" and len(parts) > 1 and all(part.isdecimal() for part in parts[1:]) else None


def num_chunks(spec: ArraySpec, rows: int) -> int:
    """Count the chunks that hold a number of rows."""
    return -(-rows // spec.chunk_rows)


def encode_rows(spec: ArraySpec, rows: np.ndarray) -> memoryview | bytes:
    """Return the bytes of one chunk; a short one is filled up with zeros."""
    assert len(rows) <= spec.chunk_rows, "more rows than a chunk holds"
    rows = np.ascontiguousarray(rows, dtype=np.dtype(spec.dtype).newbyteorder("<"))
    missing = (spec.chunk_rows - len(rows)) * spec.row_bytes
    if missing:
        return rows.tobytes() + bytes(missing)
    return rows.data.cast("B")


def encode_strings(spec: ArraySpec, strings: Iterable[str]) -> bytes:
    """Return the bytes of one chunk of strings: their number, then each one's length and UTF-8 bytes."""
    encoded = [text.encode() for text in strings]
    encoded += [b""] * (spec.chunk_rows - len(encoded))
    return _LENGTH.pack(len(encoded)) + b"".join(part for text in encoded for part in (_LENGTH.pack(len(text)), text))


def decode_strings(spec: ArraySpec, data: bytes, where: str) -> list[str]:
    """Read what `encode_strings` wrote."""
    strings, position = [], _LENGTH.size
    try:
        (count,) = _LENGTH.unpack_from(data)
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(data, position)
            position += _LENGTH.size
            strings.append(data[position : position + length].decode())
            position += length
    except (struct.error, UnicodeDecodeError) as error:
        raise CacheDamaged(
            f"{where} is not a chunk of UTF-8 strings.", remedy="est cache verify names all that is damaged"
        ) from error
    if count != spec.chunk_rows or position != len(data):
        raise CacheDamaged(
            f"{where} holds {count} strings in {position} bytes, expected {spec.chunk_rows} in {len(data)}."
        )
    return strings
