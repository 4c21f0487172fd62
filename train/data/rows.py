"""Where the rows of the chosen clips live: on the device, in host memory, or still in the cache on disk.

All answer `take` alike. The rows of several arrays (features, those of mirrored crops) stand one behind the other in one table, so
that a batch of any mixture is one index and one lookup. Rows keep the cache's type, and become float32 once they are on the device.

With `pinned` the processor gathers a batch into a page-locked buffer, and the copy to the GPU does not wait. The table itself is ordinary
memory: only batches cross, and torch's allocator would round a locked table up to the next power of two.

Maps are rows too, laid out flat. Where they stay on disk only those are read that are asked for: a clip's would fill the memory.

Legend: A arrays, C clips, T rows of all clips, D feature width, K rows asked for.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from ...cache import Cache
from ...cache.schema import ArraySpec
from ...errors import CacheDamaged, EstError, UsageError, quoted
from .memory import free_memory, show_bytes

if TYPE_CHECKING:
    from ..models.batch_frames import BatchFrames
    from .prefetch import BatchRequest

Residency = Literal["auto", "device", "pinned", "stream"]
RESIDENCIES = ("auto", "device", "pinned", "stream")

PIECE_BYTES = 64 * 2**20  # read at once: what loading needs besides the table
CHECK_BYTES = 2**20  # looked at at once: stays in the processor's cache
STREAM_BYTES = 256 * 2**20  # of clips that streaming keeps
STREAM_THREADS = 4  # that read clips: eight take twice the processor time, because they wait for each other
MAP_THREADS = 8  # that read maps, which are large
SHARE = 0.6  # of what is free that features may take; model, optimiser and activations need the rest
_INFINITY = {2: 0xF800, 4: 0xFF000000}  # bits of an infinity without its sign, shifted left, by size of a float


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipRows:
    """The rows of some clips in a cache. Clips stand in the order of their rows, and each has at least one."""

    cache: Cache
    start: np.ndarray  # (C,) a clip's first row in the cache
    count: np.ndarray  # (C,)

    @cached_property
    def first(self) -> np.ndarray:
        """Return each clip's first row among those of the chosen clips.  # (C,)"""
        return np.cumsum(self.count) - self.count

    @cached_property
    def num_rows(self) -> int:
        """Count the rows of one array: T."""
        return int(self.count.sum())

    def locate(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the clip of each row, and the row's place in the cache.  # (K,) → (K,), (K,)"""
        clip = np.searchsorted(self.first, rows, side="right") - 1
        return clip, self.start[clip] + rows - self.first[clip]

    def frame_of(self, row: int) -> tuple[int, int]:
        """Return the clip, by its place in the cache's table, and the frame that a row of the cache is."""
        starts = np.asarray(self.cache.clips.start)
        place = int(np.searchsorted(starts, row, side="right")) - 1
        return place, row - int(starts[place])


@dataclass(frozen=True, kw_only=True, eq=False)
class RowSource(ClipRows):
    """The rows of one feature, or of several that are looked at alike."""

    features: tuple[str, ...]  # arrays of one type and shape
    what: str = "features"  # messages say so

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of a row."""
        return self.cache.recipes.features[self.features[0]].shape

    @property
    def width(self) -> int:
        """Return D, of a map laid out flat."""
        return math.prod(self.shape)

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

    @property
    def num_stored(self) -> int:
        """Count the rows of one array in the cache."""
        return self.cache.num_frames

    def array(self, feature: str) -> ArraySpec:
        """Return where the rows of a feature lie."""
        return self._arrays[feature]

    @cached_property
    def _arrays(self) -> dict[str, ArraySpec]:
        return self.cache.schema.frame_arrays()

    def read(self, feature: str, start: int, stop: int) -> np.ndarray:
        """Read a range of the cache's rows, and insist that they are numbers.  # → (stop − start, D)"""
        rows = self.cache.snapshot.rows(self.array(feature), start, stop)
        self.expect_finite(feature, rows, start)
        return rows.reshape(len(rows), self.width)

    def expect_finite(self, feature: str, rows: np.ndarray, start: int) -> None:
        """Name the clip and the frame of the first row that holds an infinity or no number."""
        bad = first_non_finite(rows)
        if bad is None:
            return
        place, frame = self.frame_of(start + bad)
        raise CacheDamaged(
            f"{self.cache.path}: {feature} of clip {self.cache.ids[place]!r}, frame {frame}, is not finite.",
            remedy=f"est cache verify {quoted(self.cache.path)}",
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


class Rows:
    """Rows by number: array a of the source has the numbers from a · T on."""

    on_device: bool  # indices are best computed there; else on the host

    def take(self, index: Tensor, augmentation: Tensor | None = None) -> Tensor | BatchFrames:
        """Return rows as float32 on the device, (…,) → (…, D), or frames, each clip's as its `look` says.  # (B, n, J), (B, 4)"""
        raise NotImplementedError

    def expect(self, batches: Iterable[BatchRequest]) -> None:
        """Receive the order in which rows will be taken: a hint, which features do not need."""

    @property
    def waited(self) -> float:
        """Return the seconds that `take` has spent on what was not loaded ahead."""
        return 0.0


class DeviceRows(Rows):
    """All rows on the device."""

    on_device = True

    def __init__(self, table: Tensor) -> None:
        self._table = table  # (A · T, D)

    def take(self, index: Tensor, augmentation: Tensor | None = None) -> Tensor:
        assert augmentation is None, "features are as they are"
        index = index.to(self._table.device)
        return self._table.index_select(0, index.reshape(-1)).float().view(*index.shape, self._table.shape[1])


class MemoryRows(Rows):
    """Rows that are not from a cache, features or maps, on the device.  # (T, D) or (T, C, h, w)"""

    on_device = True

    def __init__(self, table: Tensor) -> None:
        self._table = table

    def take(self, index: Tensor, augmentation: Tensor | None = None) -> Tensor:
        assert augmentation is None, "features are as they are"
        index = index.to(self._table.device)
        return self._table.index_select(0, index.reshape(-1)).float().view(*index.shape, *self._table.shape[1:])


class HostRows(Rows):
    """All rows in host memory; what is asked for goes to the device through a page-locked buffer."""

    on_device = False

    def __init__(self, table: Tensor, device: torch.device) -> None:
        self._table, self._device = table, device

    def take(self, index: Tensor, augmentation: Tensor | None = None) -> Tensor:
        assert augmentation is None, "features are as they are"
        flat = index.reshape(-1).cpu()
        buffer = room(len(flat), self._table.shape[1], dtype=self._table.dtype, device=self._device)
        torch.index_select(self._table, 0, flat, out=buffer)
        return buffer.to(self._device, non_blocking=True).float().view(*index.shape, buffer.shape[1])


class StreamRows(Rows):
    """Rows that stay in the cache: clips are read when they are asked for, and the last ones kept. For one thread."""

    on_device = False

    def __init__(self, source: RowSource, device: torch.device, *, max_bytes: int = STREAM_BYTES) -> None:
        self._source, self._device, self._max_bytes = source, device, max_bytes
        self._pool = ThreadPoolExecutor(STREAM_THREADS, thread_name_prefix="est-rows")
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()  # array · C + clip → its rows, the last used behind
        self._kept_bytes = 0

    def take(self, index: Tensor, augmentation: Tensor | None = None) -> Tensor:
        assert augmentation is None, "features are as they are"
        source = self._source
        array, row = np.divmod(index.reshape(-1).cpu().numpy(), source.num_rows)
        clip = np.searchsorted(source.first, row, side="right") - 1
        keys, inverse = np.unique(array * len(source.first) + clip, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        ends = np.cumsum(np.bincount(inverse, minlength=len(keys)))
        within = row - source.first[clip]
        buffer = room(len(row), source.width, dtype=source.torch_dtype, device=self._device)
        out = buffer.numpy()
        for clip_rows, places in zip(self._clips(keys.tolist()), np.split(order, ends)[:-1], strict=True):
            out[places] = clip_rows[within[places]]
        self._forget()
        return buffer.to(self._device, non_blocking=True).float().view(*index.shape, source.width)

    def _clips(self, keys: list[int]) -> list[np.ndarray]:
        missing = [key for key in keys if key not in self._kept]
        size = max(1, math.ceil(len(missing) / STREAM_THREADS))  # a task for each clip would cost more than its rows
        shares = [missing[first : first + size] for first in range(0, len(missing), size)]
        for share, found in zip(shares, self._pool.map(self._read, shares), strict=True):
            for key, rows in zip(share, found, strict=True):
                self._kept[key] = rows
                self._kept_bytes += rows.nbytes
        for key in keys:
            self._kept.move_to_end(key)
        return [self._kept[key] for key in keys]

    def _read(self, keys: list[int]) -> list[np.ndarray]:
        return [self._read_clip(*divmod(key, len(self._source.first))) for key in keys]

    def _read_clip(self, array: int, clip: int) -> np.ndarray:
        start = int(self._source.start[clip])
        return self._source.read(self._source.features[array], start, start + int(self._source.count[clip]))

    def _forget(self) -> None:
        while self._kept_bytes > self._max_bytes:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes


class SparseRows(Rows):
    """Large rows that stay in the cache: what is asked for is read, and nothing kept; the system keeps what fits."""

    on_device = False

    def __init__(self, source: RowSource, device: torch.device) -> None:
        self._source, self._device = source, device
        self._pool = ThreadPoolExecutor(MAP_THREADS, thread_name_prefix="est-rows")

    def take(self, index: Tensor, augmentation: Tensor | None = None) -> Tensor:
        """Return rows that ascend.  # (K,) → (K, D)"""
        assert augmentation is None, "features are as they are"
        source, wanted = self._source, index.cpu().numpy()
        assert (np.diff(wanted) > 0).all(), "each row once, in order"
        array, row = np.divmod(wanted, source.num_rows)
        row = source.locate(row)[1]
        buffer = room(len(row), source.width, dtype=source.torch_dtype, device=self._device)
        out = buffer.numpy()

        def read(part: np.ndarray) -> None:
            first, last = part[0], part[-1]
            out[first : last + 1] = source.read(source.features[array[first]], int(row[first]), int(row[last]) + 1)

        breaks = np.flatnonzero((np.diff(row) != 1) | (np.diff(array) != 0)) + 1
        for _ in self._pool.map(read, np.split(np.arange(len(row)), breaks)):
            pass
        return buffer.to(self._device, non_blocking=True).float()


def room(*shape: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return room for a batch on its way: page-locked for a GPU, whose copies torch's allocator waits for before it gives it out again."""
    return torch.empty(shape, dtype=dtype, pin_memory=device.type == "cuda")


CachedRows = DeviceRows | HostRows | StreamRows | SparseRows


def place_rows(source: RowSource, device: torch.device, residency: Residency) -> tuple[CachedRows, str]:
    """Put rows where they fit or are asked for; return them, and a line that says where they are."""
    kind, line = choose_residency(source, device, residency)
    match kind:
        case "device":
            return DeviceRows(load_table(source, device)), line
        case "pinned":
            return HostRows(load_table(source, torch.device("cpu")), device), line
        case _:
            return (StreamRows if len(source.shape) == 1 else SparseRows)(source, device), line


def load_table(source: RowSource, device: torch.device) -> Tensor:
    """Read all arrays of a source into one table.  # → (A · T, D)"""
    if device.type == "cpu" and len(source.features) == 1 and source.num_rows == source.num_stored:
        return torch.from_numpy(source.read(source.features[0], 0, source.num_stored))
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
        "device": f"{source.what}: {size} {_where(device)}",
        "pinned": f"{source.what}: {size} in memory, batches go to {device} through pinned memory",
        "stream": f"{source.what}: {size} stay in {source.cache.path} and are read batch by batch",
    }
    if wanted == "stream":
        return wanted, lines[wanted]
    places = {"device": device} | ({"pinned": torch.device("cpu")} if device.type == "cuda" else {})
    if wanted != "auto":
        free = free_memory(places[wanted])
        if source.num_bytes > free:
            raise EstError(
                f"The {source.what} have {size}, and {show_bytes(free)} are free {_where(places[wanted])}.",
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
