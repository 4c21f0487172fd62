"""Where the rows of the chosen clips live: on the device, in host memory, or still in the cache on disk.

All three answer `take` alike. The rows of several arrays (features, those of mirrored crops) stand one behind the other in one table, so
that a batch of any mixture is one index and one lookup. Rows keep the cache's type, and become float32 once they are on the device.

With `pinned` the processor gathers a batch into a page-locked buffer, and the copy to the GPU does not wait. The table itself is ordinary
memory: only batches cross, and torch's allocator would round a locked table up to the next power of two.

Legend: A arrays, C clips, T rows of all clips, D feature width, K rows asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from ..cache import Cache
from ..errors import CacheDamaged, EstError, UsageError
from .memory import free_memory, show_bytes

Residency = Literal["auto", "device", "pinned", "stream"]
RESIDENCIES = ("auto", "device", "pinned", "stream")

PIECE_BYTES = 64 * 2**20  # read at once: what loading needs besides the table
CHECK_BYTES = 2**20  # looked at at once: stays in the processor's cache
STREAM_BYTES = 256 * 2**20  # of clips that streaming keeps
STREAM_THREADS = 8
SHARE = 0.6  # of what is free that features may take; model, optimiser and activations need the rest
_INFINITY = {2: 0xF800, 4: 0xFF000000}  # bits of an infinity without its sign, shifted left, by size of a float


@dataclass(frozen=True, kw_only=True, eq=False)
class RowSource:
    """The rows of some clips in a cache. Clips stand in the order of their rows, and each has at least one."""

    cache: Cache
    features: tuple[str, ...]  # arrays of one type and width
    start: np.ndarray  # (C,) a clip's first row in the cache
    count: np.ndarray  # (C,)

    @cached_property
    def first(self) -> np.ndarray:
        """Return each clip's first row among those of the chosen clips.  # (C,)"""
        return np.cumsum(self.count) - self.count

    @property
    def num_rows(self) -> int:
        """Count the rows of one array."""
        return int(self.count.sum())

    @property
    def width(self) -> int:
        """Return D."""
        return self.cache.recipes.features[self.features[0]].shape[0]

    @property
    def dtype(self) -> np.dtype:
        """Return the type in which the cache holds them."""
        return np.dtype(self.cache.recipes.features[self.features[0]].dtype)

    @property
    def torch_dtype(self) -> torch.dtype:
        """Return the same in torch's words."""
        return torch.from_numpy(np.empty(0, self.dtype)).dtype

    @property
    def num_bytes(self) -> int:
        """Add up all arrays."""
        return len(self.features) * self.num_rows * self.width * self.dtype.itemsize

    def pieces(self) -> Iterator[tuple[int, int, int]]:
        """Cut the rows into ranges that are unbroken in the cache: first row among the chosen, start and stop in the cache."""
        most = max(1, PIECE_BYTES // (self.width * self.dtype.itemsize))
        end = self.start + self.count
        heads = np.flatnonzero(np.append(True, self.start[1:] != end[:-1]))
        tails = np.append(heads[1:], len(self.start)) - 1
        for head, tail in zip(heads.tolist(), tails.tolist(), strict=True):
            for row in range(int(self.start[head]), int(end[tail]), most):
                yield int(self.first[head]) + row - int(self.start[head]), row, min(row + most, int(end[tail]))

    def read(self, feature: str, start: int, stop: int) -> np.ndarray:
        """Read a range of the cache's rows, and insist that they are numbers."""
        rows = self.cache.snapshot.rows(self.cache.schema.frame_arrays()[feature], start, stop)
        self.expect_finite(feature, rows, start)
        return rows

    def expect_finite(self, feature: str, rows: np.ndarray, start: int) -> None:
        """Name the clip and the frame of the first row that holds an infinity or no number."""
        bad = first_non_finite(rows)
        if bad is None:
            return
        starts = np.asarray(self.cache.clips.start)
        place = int(np.searchsorted(starts, start + bad, side="right")) - 1
        raise CacheDamaged(
            f"{self.cache.path}: {feature} of clip {self.cache.ids[place]!r}, frame {start + bad - int(starts[place])}, is not finite.",
            remedy=f"est cache verify {self.cache.path}",
        )


def first_non_finite(rows: np.ndarray) -> int | None:
    """Return the first row with an infinity or NaN. Compares bits: NumPy's isfinite is many times slower on float16."""
    if not rows.size:
        return None
    kind = np.dtype(f"u{rows.dtype.itemsize}")
    bits, limit = rows.reshape(len(rows), -1).view(kind), kind.type(_INFINITY[rows.dtype.itemsize])
    step = max(1, CHECK_BYTES // (bits.shape[1] * kind.itemsize))
    for row in range(0, len(bits), step):
        block = bits[row : row + step] << kind.type(1)  # the sign falls off
        if block.max() >= limit:
            return row + int(np.flatnonzero((block >= limit).any(axis=1))[0])
    return None


class Rows(Protocol):
    """Rows by number: array a of the source has the numbers from a · T on."""

    on_device: bool  # indices are best computed there; else on the host

    def take(self, index: Tensor) -> Tensor:
        """Return rows as float32 on the device.  # (…,) → (…, D)"""
        ...


class DeviceRows:
    """All rows on the device."""

    on_device = True

    def __init__(self, table: Tensor) -> None:
        self._table = table  # (A · T, D)

    def take(self, index: Tensor) -> Tensor:
        index = index.to(self._table.device)
        return self._table.index_select(0, index.reshape(-1)).float().view(*index.shape, self._table.shape[1])


class HostRows:
    """All rows in host memory; what is asked for goes to the device through a page-locked buffer."""

    on_device = False

    def __init__(self, table: Tensor, device: torch.device) -> None:
        self._table, self._device = table, device

    def take(self, index: Tensor) -> Tensor:
        flat = index.reshape(-1).cpu()
        buffer = _buffer(len(flat), self._table.shape[1], self._table.dtype, self._device)
        torch.index_select(self._table, 0, flat, out=buffer)
        return buffer.to(self._device, non_blocking=True).float().view(*index.shape, buffer.shape[1])


class StreamRows:
    """Rows that stay in the cache: clips are read when they are asked for, and the last ones kept. For one thread."""

    on_device = False

    def __init__(self, source: RowSource, device: torch.device, *, max_bytes: int = STREAM_BYTES) -> None:
        self._source, self._device, self._max_bytes = source, device, max_bytes
        self._pool = ThreadPoolExecutor(STREAM_THREADS, thread_name_prefix="est-rows")
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()  # array · C + clip → its rows, the last used behind
        self._kept_bytes = 0

    def take(self, index: Tensor) -> Tensor:
        source = self._source
        array, row = np.divmod(index.reshape(-1).cpu().numpy(), source.num_rows)
        clip = np.searchsorted(source.first, row, side="right") - 1
        keys, inverse = np.unique(array * len(source.first) + clip, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        ends = np.cumsum(np.bincount(inverse, minlength=len(keys)))
        within = row - source.first[clip]
        buffer = _buffer(len(row), source.width, source.torch_dtype, self._device)
        out = buffer.numpy()
        for clip_rows, places in zip(self._clips(keys.tolist()), np.split(order, ends)[:-1], strict=True):
            out[places] = clip_rows[within[places]]
        self._forget()
        return buffer.to(self._device, non_blocking=True).float().view(*index.shape, source.width)

    def _clips(self, keys: list[int]) -> list[np.ndarray]:
        missing = [key for key in keys if key not in self._kept]
        for key, rows in zip(missing, self._pool.map(self._read, missing), strict=True):
            self._kept[key] = rows
            self._kept_bytes += rows.nbytes
        for key in keys:
            self._kept.move_to_end(key)
        return [self._kept[key] for key in keys]

    def _read(self, key: int) -> np.ndarray:
        array, clip = divmod(key, len(self._source.first))
        start = int(self._source.start[clip])
        return self._source.read(self._source.features[array], start, start + int(self._source.count[clip]))

    def _forget(self) -> None:
        while self._kept_bytes > self._max_bytes:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes


def _buffer(num_rows: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return room for a batch on its way: page-locked for a GPU, whose copies torch's allocator waits for before it gives it out again."""
    return torch.empty(num_rows, width, dtype=dtype, pin_memory=device.type == "cuda")


def place_rows(source: RowSource, device: torch.device, residency: Residency) -> tuple[Rows, str]:
    """Put rows where they fit or are asked for; return them, and a line that says where they are."""
    kind, line = choose_residency(source, device, residency)
    match kind:
        case "device":
            return DeviceRows(load_table(source, device)), line
        case "pinned":
            return HostRows(load_table(source, torch.device("cpu")), device), line
        case _:
            return StreamRows(source, device), line


def load_table(source: RowSource, device: torch.device) -> Tensor:
    """Read all arrays of a source into one table.  # → (A · T, D)"""
    if device.type == "cpu" and len(source.features) == 1 and source.num_rows == source.cache.num_frames:
        rows = source.cache.load(source.features[0]).rows
        source.expect_finite(source.features[0], rows, 0)
        return torch.from_numpy(rows)
    table = torch.empty(len(source.features) * source.num_rows, source.width, dtype=source.torch_dtype, device=device)
    for number, feature in enumerate(source.features):
        for first, start, stop in source.pieces():
            place = number * source.num_rows + first
            table[place : place + stop - start] = torch.from_numpy(source.read(feature, start, stop))
    return table


def choose_residency(source: RowSource, device: torch.device, wanted: Residency) -> tuple[str, str]:
    """Decide between device, pinned and stream; return the choice and the line that tells it."""
    if wanted not in RESIDENCIES:
        raise UsageError(
            f"Features live in {', '.join(RESIDENCIES)}; found {wanted!r}.", remedy="--set data.residency=auto"
        )
    if wanted == "pinned" and device.type != "cuda":
        raise UsageError(
            f"Pinned memory is for copies to a CUDA device, and this run is on {device}.",
            remedy="--set data.residency=auto: in memory when the features fit, streamed when not",
        )
    size = show_bytes(source.num_bytes)
    lines = {
        "device": f"features: {size} {_where(device)}",
        "pinned": f"features: {size} in memory, batches go to {device} through pinned memory",
        "stream": f"features: {size} stay in {source.cache.path} and are read batch by batch",
    }
    if wanted == "stream":
        return wanted, lines[wanted]
    places = {"device": device} | ({"pinned": torch.device("cpu")} if device.type == "cuda" else {})
    if wanted != "auto":
        free = free_memory(places[wanted])
        if source.num_bytes > free:
            raise EstError(
                f"The features have {size}, and {show_bytes(free)} are free {_where(places[wanted])}.",
                remedy="--set data.residency=auto, or =stream",
            )
        return wanted, lines[wanted]
    passed = ""
    for kind, place in places.items():
        free = free_memory(place)
        if source.num_bytes <= SHARE * free:
            return kind, lines[kind] + passed
        passed += f"; {show_bytes(free)} are free {_where(place)}"
    return "stream", lines["stream"] + passed


def _where(device: torch.device) -> str:
    return "in memory" if device.type == "cpu" else f"on {device}"
