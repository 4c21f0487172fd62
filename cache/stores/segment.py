"""Where rows lie: in the chunk files of a Zarr directory, or in the contiguous datasets of an HDF5 file.

Both say which bytes of which file hold a range of rows; `read_pieces` reads them straight into the result, on a few threads.
Nothing stays open but the HDF5 file itself, whose offsets are those of one inode; reading by position is safe across fork.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ...errors import CacheDamaged
from ..schema import STRING, ArraySpec
from .zarr_format import chunk_key, decode_strings

PIECE_BYTES = 8 * 2**20
THREADS = min(4, os.cpu_count() or 1)
Bring = Callable[[Sequence[Path]], None]  # has files of a mirror of an object store here before they are read
SMALL_BYTES = 2 * PIECE_BYTES  # below this a thread costs more than it brings


@dataclass(frozen=True)
class Piece:
    """A run of bytes in a file, and the rows of the array that they are."""

    file: str | int  # a path, or an open descriptor
    offset: int
    start: int
    stop: int
    file_bytes: int | None = None  # that the whole file must have
    name: str = ""


class Segment(Protocol):
    """The rows of a cache from some row on; rows are counted over the whole cache."""

    def first_row(self, spec: ArraySpec) -> int:
        """Return the first row of an array that lies here."""
        ...

    def pieces(self, spec: ArraySpec, start: int, stop: int) -> Iterator[Piece]:
        """Return where rows lie."""
        ...

    def strings(self, spec: ArraySpec, start: int, stop: int) -> list[str]:
        """Read rows of a column of strings."""
        ...


class ZarrSegment:
    """Rows in a Zarr directory; `first_rows` gives the arrays whose earlier rows lie elsewhere."""

    def __init__(self, root: Path, first_rows: dict[str, int] | None = None, bring: Bring | None = None) -> None:
        self.root = root
        self.first_rows = first_rows or {}
        self._bring = bring
        self._place = _place(root)

    def first_row(self, spec: ArraySpec) -> int:
        return self.first_rows.get(spec.name, 0)

    def chunk_path(self, spec: ArraySpec, index: int) -> Path:
        """Return the file of a chunk."""
        return self.root / spec.name / chunk_key(spec, index)

    def has_chunk(self, spec: ArraySpec, index: int) -> bool:
        """Say whether a chunk is there and whole, or can be had."""
        file = self.chunk_path(spec, index)
        if self._bring is not None:
            self._bring([file])
        return has_chunk(spec, file)

    def pieces(self, spec: ArraySpec, start: int, stop: int) -> Iterator[Piece]:
        self._expect_itself()
        self._bring_rows(spec, start, stop)
        base = self.first_row(spec)
        folder = str(self.root / spec.name)
        row = start
        while row < stop:
            index, within = divmod(row - base, spec.chunk_rows)
            end = min(stop, base + (index + 1) * spec.chunk_rows)
            path = f"{folder}/{chunk_key(spec, index)}"
            yield Piece(path, within * spec.row_bytes, row, end, spec.chunk_rows * spec.row_bytes, path)
            row = end

    def strings(self, spec: ArraySpec, start: int, stop: int) -> list[str]:
        assert spec.dtype == STRING
        self._expect_itself()
        self._bring_rows(spec, start, stop)
        base = self.first_row(spec)
        found: list[str] = []
        row = start
        while row < stop:
            index, within = divmod(row - base, spec.chunk_rows)
            end = min(stop, base + (index + 1) * spec.chunk_rows)
            path = self.chunk_path(spec, index)
            try:
                data = path.read_bytes()
            except FileNotFoundError as error:
                raise missing(path) from error
            found += decode_strings(spec, data, str(path))[within : within + end - row]
            row = end
        return found

    def _bring_rows(self, spec: ArraySpec, start: int, stop: int) -> None:
        if self._bring is not None and start < stop:
            base = self.first_row(spec)
            first, last = (start - base) // spec.chunk_rows, (stop - 1 - base) // spec.chunk_rows
            self._bring([self.chunk_path(spec, index) for index in range(first, last + 1)])

    def _expect_itself(self) -> None:
        """Refuse to read from another directory that has taken this one's name: its rows are others."""
        now = _place(self.root)
        if self.root.suffix == ".zarr" and None not in (now, self._place) and now != self._place:
            raise CacheDamaged(f"{self.root} was rewritten after it was opened.", remedy="open it again")


def _place(root: Path) -> tuple[int, int] | None:
    """Tell a directory from others, whatever its name; None where it is not there."""
    try:
        found = os.stat(root)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class Hdf5Segment:
    """Rows in an HDF5 file that is never changed in place: contiguous datasets, strings read once."""

    def __init__(
        self, path: Path, descriptor: int, offsets: dict[str, int | None], strings: dict[str, list[str]]
    ) -> None:
        self.path = path
        self._descriptor = descriptor
        self._offsets = offsets
        self._strings = strings

    def __del__(self) -> None:
        os.close(self._descriptor)

    def first_row(self, spec: ArraySpec) -> int:
        return 0

    def pieces(self, spec: ArraySpec, start: int, stop: int) -> Iterator[Piece]:
        if spec.name not in self._offsets:
            raise missing(f"{self.path}:{spec.name}")
        offset = self._offsets[spec.name]
        rows = max(1, PIECE_BYTES // spec.row_bytes)
        for row in range(start, stop, rows):
            if offset is None:
                raise missing(f"{self.path}:{spec.name}")
            yield Piece(
                self._descriptor,
                offset + row * spec.row_bytes,
                row,
                min(row + rows, stop),
                None,
                f"{self.path}:{spec.name}",
            )

    def strings(self, spec: ArraySpec, start: int, stop: int) -> list[str]:
        if spec.name not in self._strings:
            raise missing(f"{self.path}:{spec.name}")
        return self._strings[spec.name][start:stop]


def has_chunk(spec: ArraySpec, file: Path) -> bool:
    """Return whether a chunk's file is there, and as long as it was written; chunks of strings have lengths of their own."""
    try:
        return spec.dtype == STRING or file.stat().st_size == spec.chunk_rows * spec.row_bytes
    except (FileNotFoundError, NotADirectoryError):
        return False


def missing(what: Path | str) -> CacheDamaged:
    """Say that committed data is not there; it is never read as zeros."""
    return CacheDamaged(
        f"{what} is missing, but belongs to the cache's last commit.",
        remedy="open the cache again if another process was replacing it; else est cache verify names all that is damaged",
    )


def read_pieces(pieces: Iterable[Piece], out: np.ndarray, first: int) -> None:
    """Read pieces into rows of an array whose row 0 is row `first` of the cache."""
    row_bytes = out.nbytes // len(out) if len(out) else 0
    target = out.data.cast("B") if out.nbytes else memoryview(b"")

    def read(piece: Piece) -> None:
        _read_piece(piece, target[(piece.start - first) * row_bytes : (piece.stop - first) * row_bytes])

    if out.nbytes <= SMALL_BYTES:
        for piece in pieces:
            read(piece)
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(read, pieces):
                pass


def _read_piece(piece: Piece, target: memoryview) -> None:
    if isinstance(piece.file, int):
        _fill(piece.file, piece.offset, target, piece.name)
        return
    try:
        descriptor = os.open(piece.file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise missing(piece.name) from error
    try:
        found = os.fstat(descriptor).st_size
        if found != piece.file_bytes:
            raise CacheDamaged(
                f"{piece.name} has {found} bytes, expected {piece.file_bytes}.", remedy="est cache verify --repair"
            )
        _fill(descriptor, piece.offset, target, piece.name)
    finally:
        os.close(descriptor)


def _fill(descriptor: int, offset: int, target: memoryview, name: str) -> None:
    done = 0
    while done < len(target):
        count = os.preadv(descriptor, [target[done:]], offset + done)
        if count == 0:
            raise CacheDamaged(
                f"{name} ends before rows that belong to the cache's last commit.",
                remedy="est cache verify --repair",
            )
        done += count
