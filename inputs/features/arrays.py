"""Arrays of numbers, .npy and .npz: their headers give their content, and nothing pickled is ever loaded."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from ...cache.arrayfile import UNREADABLE
from ...errors import SourceError, brief

ARRAYS = (".npy", ".npz")
SUFFIX = ".npy"  # of the members of an .npz


@dataclass(frozen=True, kw_only=True)
class Head:
    """Shape and type of an array that was not read."""

    shape: tuple[int, ...]
    dtype: np.dtype


def heads(path: Path) -> dict[str, Head]:
    """Return what a file holds, by name; the one array of an .npy has none."""
    with _explained():
        if path.suffix.lower() == SUFFIX:
            with open(path, "rb") as file:
                return {"": _head(file)}
        with zipfile.ZipFile(path) as archive:
            found = {}
            for name in archive.namelist():
                with archive.open(name) as file:
                    found[name.removesuffix(SUFFIX)] = _head(file)
            return found


def load(path: Path, name: str) -> np.ndarray:
    """Read an array; that of an .npy stays on the disk until its rows are looked at."""
    with _explained():
        if path.suffix.lower() == SUFFIX:
            head = heads(path)[""]
            whole = int(np.prod(head.shape)) > 0  # an empty file cannot be mapped
            return np.load(path, mmap_mode="r" if whole else None, allow_pickle=False)
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return archive[name]


def choose(found: Mapping[str, Head], wanted: str) -> str:
    """Name the array that holds the features: the one that is asked for, else the only one with more than one axis, or at all."""
    if not found:
        raise SourceError("the file holds no array")
    if wanted and "" not in found:
        if wanted not in found:
            raise SourceError(f"it has the arrays {', '.join(found)}, and none named {wanted!r}: --array names one")
        return wanted
    if len(found) == 1:
        return next(iter(found))
    deep = [name for name, head in found.items() if len(head.shape) > 1]
    if len(deep) != 1:
        raise SourceError(f"it has the arrays {', '.join(found)}: --array says which holds the features")
    return deep[0]


def row_shape(head: Head) -> tuple[int, ...]:
    """Return the shape of a row: of (rows, width) or (rows, channels, height, width); a single axis is one row."""
    if head.dtype.kind not in "fiub":
        raise SourceError(f"it holds {head.dtype}, not numbers")
    if 0 in head.shape:
        raise SourceError(f"it is empty: its shape is {head.shape}")
    if len(head.shape) == 1:
        return head.shape
    if len(head.shape) in (2, 4):
        return head.shape[1:]
    raise SourceError(
        f"its shape is {head.shape}; expected (rows, width), one row (width,), or maps (rows, channels, height, width)"
    )


def _head(file: IO[bytes]) -> Head:
    """Read the head of an array; refuse Python's own objects."""
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise SourceError(f"its format is {version[0]}.{version[1]}: save it by numpy.save without names of fields")
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise SourceError(
            "it holds Python objects, which only unpickling reads, and unpickling can run any code: save numbers"
        )
    return Head(shape=shape, dtype=dtype)


@contextmanager
def _explained() -> Generator[None]:
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of a head as Python 2 wrote it
            yield
    except UNREADABLE as error:
        raise SourceError(f"it cannot be read as an array ({brief(error)})") from error
