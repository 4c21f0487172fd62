"""Checksums: XXH3 of 64 bits, one per array and clip, one over each table row; of 128 bits for sources.

XXH3 runs faster than memory can be read, so that verifying is as fast as the disk. It finds accidents, not forgeries.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from .schema import CHECKSUMS, STRING, ArraySpec

READ_BYTES = 1 << 20


def of_rows(rows: np.ndarray) -> int:
    """Hash the bytes of rows, little-endian, in C order."""
    return xxhash.xxh3_64_intdigest(np.ascontiguousarray(rows).data.cast("B") if rows.size else b"")


def of_crops(data: np.ndarray, offsets: np.ndarray) -> int:
    """Hash a clip's JPEG bytes and how many belong to each of its frames."""
    digest = xxhash.xxh3_64(np.ascontiguousarray(np.diff(offsets).astype("<i8")).tobytes())
    digest.update(np.ascontiguousarray(data).tobytes())
    return digest.intdigest()


def of_table_row(values: Mapping[str, Any], columns: Mapping[str, ArraySpec]) -> int:
    """Hash a table's row: its columns in the schema's order, strings as their UTF-8 bytes after a 4-byte length.

    The checksums in it are left out: each answers for data of its own, and adding a feature adds one.
    """
    parts = []
    for name, spec in columns.items():
        if name.startswith(CHECKSUMS):
            continue
        if spec.dtype == STRING:
            encoded = values[name].encode()
            parts += [struct.pack("<I", len(encoded)), encoded]
        else:
            parts.append(np.asarray(values[name], dtype=spec.dtype).tobytes())
    return xxhash.xxh3_64_intdigest(b"".join(parts))


def of_text(text: str) -> str:
    """Hash a text to 16 hexadecimal digits."""
    return xxhash.xxh3_64_hexdigest(text.encode())


def of_file(path: Path) -> bytes:
    """Hash a file's content to 16 bytes."""
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.digest()
