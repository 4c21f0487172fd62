"""The HDF5 form of a cache: one file, written once and whole, replaced and never changed in place.

Every array is a contiguous dataset of the same name as in Zarr, so that rows can be read straight from the file; strings are UTF-8 of one
length, filled up with NUL. Attributes hold JSON. The file is in the 1.10 format, whose own metadata carry checksums.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...errors import CacheDamaged, EstError, UsageError, quoted
from ..interrupt import uninterrupted
from ..schema import FORMAT, STRING, ArraySpec
from .manifest import Manifest
from .segment import Hdf5Segment

ATTEMPTS = 5  # at opening a file that a writer replaces meanwhile


def open_hdf5(path: Path) -> tuple[Manifest, Hdf5Segment]:
    """Open a file and read its attributes, strings and the place of every array."""
    with uninterrupted():  # h5py turns a Ctrl-C into a SystemError
        for _ in range(ATTEMPTS):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                with _readable(path), _open(path) as file:
                    if not os.path.samestat(os.fstat(descriptor), os.stat(path)):
                        raise FileNotFoundError(path)
                    manifest = Manifest.from_attributes(_attributes(file, path), str(path))
                    places = _places(path, file, manifest)
            except FileNotFoundError:
                os.close(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            else:
                return manifest, Hdf5Segment(path, descriptor, *places)  # which closes the descriptor from now on
    raise FileNotFoundError(path)


def _open(path: Path) -> h5py.File:
    try:
        return open_file(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        if not h5py.is_hdf5(path):
            raise UsageError(
                f"{path} is not an HDF5 file, so it is not a cache.", remedy="est extract … --out makes one"
            ) from error
        raise CacheDamaged(
            f"{path} cannot be opened as HDF5: {error}.", remedy="restore a copy, or extract again"
        ) from error


def open_file(path: Path) -> h5py.File:
    """Open a file to read, without a lock: files of this name are never written in place."""
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if "locking flag values" not in str(error):
            raise
        return h5py.File(path, "r")  # this process has it open with a lock, and HDF5 wants the same twice


@contextmanager
def _readable(path: Path) -> Generator[None]:
    """Convert an error of h5py about a damaged file to a message with a remedy."""
    try:
        yield
    except (EstError, FileNotFoundError):
        raise
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError) as error:
        raise CacheDamaged(
            f"{path} cannot be read as HDF5: it is damaged.", remedy="restore a copy, or extract again"
        ) from error


def _attributes(file: h5py.File, path: Path) -> dict[str, Any]:
    found = file.attrs.get("format")
    if not isinstance(found, str | bytes) or found not in (json.dumps(FORMAT), json.dumps(FORMAT).encode()):
        raise UsageError(
            f"{path} is an HDF5 file, but not a cache of est: it has no attribute format = {FORMAT!r}.",
            remedy="est extract … --out makes one",
        )
    try:
        return {name: json.loads(value) for name, value in file.attrs.items()}
    except (TypeError, ValueError, RecursionError) as error:
        raise CacheDamaged(
            f"The attributes of {path} are not JSON.", remedy="restore a copy, or extract again"
        ) from error


def _places(path: Path, file: h5py.File, manifest: Manifest) -> tuple[dict[str, int | None], dict[str, list[str]]]:
    """Return the offset of every numeric array, and the strings of every other."""
    offsets: dict[str, int | None] = {}
    strings: dict[str, list[str]] = {}
    for spec in manifest.schema.arrays().values():
        if spec.name not in file:
            raise CacheDamaged(f"{path} has no {spec.name}.", remedy="restore a copy, or extract again")
        dataset = file[spec.name]
        expected = (manifest.commit.counts.of(spec.axis), *spec.row_shape)
        if not isinstance(dataset, h5py.Dataset) or dataset.shape != expected or not _same_type(dataset, spec):
            raise CacheDamaged(
                f"{path}:{spec.name} is not the {spec.dtype} array of shape {expected} that its commit counts on."
            )
        if dataset.file.filename != file.filename or dataset.is_virtual or dataset.external:
            raise CacheDamaged(
                f"{path}:{spec.name} lies in another file, and a cache in HDF5 is one file.", remedy="bring back a copy"
            )
        if spec.dtype == STRING:
            strings[spec.name] = [
                text.decode(errors="replace") for text in dataset[:].tolist()
            ]  # the row's checksum tells
        elif dataset.chunks is not None:
            raise CacheDamaged(
                f"{path}:{spec.name} is not contiguous.", remedy=f"est cache convert {quoted(path)} NEW.h5"
            )
        else:
            offsets[spec.name] = dataset.id.get_offset()
    return offsets, strings


def _same_type(dataset: h5py.Dataset, spec: ArraySpec) -> bool:
    if spec.dtype == STRING:
        found = h5py.check_string_dtype(dataset.dtype)
        return found is not None and found.length is not None
    return dataset.dtype == np.dtype(spec.dtype)
