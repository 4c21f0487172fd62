"""Writing the HDF5 form of a cache: array by array, into a file of its own, which the caller flushes and renames.

HDF5 does not survive an error of the disk: some are lost when a dataset is closed, and the process crashes at its end. So it never
hears of one: it writes through `_Output`, which keeps the first error, swallows what follows, and has it raised when the file is closed.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..interrupt import uninterrupted
from ..schema import ArraySpec
from .manifest import Manifest


class Hdf5Builder:
    """Writes one file. A Ctrl-C waits for the end of each call: HDF5 would take it for an error of the disk."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self._counts = manifest.commit.counts
        self._datasets: list[h5py.Dataset] = []  # closing one may write: none is before the file is
        self._output = _Output(path)
        with uninterrupted():
            self._file = h5py.File(self._output, "w", libver=("v110", "v110"))
            for name, value in manifest.attributes().items():
                text = json.dumps(value, ensure_ascii=False).encode()
                self._file.attrs.create(name, np.bytes_(text), dtype=h5py.string_dtype("utf-8", len(text)))

    def array(self, spec: ArraySpec) -> None:
        """Make a numeric array with its final length."""
        with uninterrupted():
            shape = (self._counts.of(spec.axis), *spec.row_shape)
            self._datasets.append(self._file.create_dataset(spec.name, shape, spec.dtype))

    def write(self, start: int, rows: np.ndarray) -> None:
        """Write rows of the array made last."""
        if self._output.error is None and rows.size:
            with uninterrupted():
                self._datasets[-1][start : start + len(rows)] = rows

    def strings(self, spec: ArraySpec, values: list[str]) -> None:
        """Write a column of strings, all of the longest one's length: HDF5 loops forever on damaged strings of variable length."""
        encoded = [text.encode() for text in values]
        dtype = h5py.string_dtype("utf-8", max([1, *map(len, encoded)]))
        with uninterrupted():
            dataset = self._file.create_dataset(spec.name, (len(values),), dtype)
            self._datasets.append(dataset)
            if values and self._output.error is None:
                dataset[:] = np.array(encoded, dtype)

    def close(self) -> None:
        """Finish the file; raise the first error of the disk while it was written."""
        with uninterrupted():
            try:
                self._datasets.clear()
                self._file.close()
            except (OSError, RuntimeError) as error:
                raise self._output.error or error from error
            finally:
                self._output.close()
        if self._output.error is not None:
            raise self._output.error


class _Output(io.FileIO):
    """A file whose first error is kept for later."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.error: OSError | None = None

    def write(self, data: Any, /) -> int:  # a buffer
        done = 0
        try:
            while self.error is None and done < len(data):
                done += super().write(data[done:])
        except OSError as error:
            self.error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            if self.error is None:
                return super().truncate(size)
        except OSError as error:
            self.error = error
        return size or 0
