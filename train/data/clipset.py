"""A set of clips, ready to be read: who they are, and the features of any of their frames.

A frame is named by the clip's place in the set and its position in the clip. Frames without a face have no features of their own: under the
policy `nearest` the clip's nearest frame with a face stands in (the earlier of two); a clip without any face stays zeros.

What `take` gives are features; for a backbone that learns, the frames from which it makes them (frames.py).

Legend: N clips of the set, B of a batch, n snippets, J frames a snippet, D feature width, T rows of all clips of the set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from ...cache import Cache
from ...cache.schema import NO_FACE
from ...encoders.taps import MAPS
from ...errors import UsageError, counted, some
from ..models.batch_frames import BatchFrames
from .feature_arrays import expect_here, expect_other, expect_shape, mirrored_name
from .frames import DenseMaps, MapRows
from .memory import by_blocks
from .prefetch import BatchRequest
from .rows import ClipRows, MemoryRows, Residency, Rows, RowSource, place_rows

RATE_RATIO = 1.5  # median frame rates further apart than this are warned about
STATISTICS_ROWS = 1024  # rows that statistics look at together


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipSet:
    """Clips of one cache, in the order in which they were asked for."""

    ids: list[str]
    path: list[str]
    subject: list[str]
    label: np.ndarray  # (N,) place in `labels`, −1 without one
    labels: tuple[str, ...]
    fps: np.ndarray  # (N,) 0 where unknown
    count: Tensor  # (N,) frames, at least 1; on the device on which indices are best computed
    has_face: np.ndarray  # (N,) whether any frame shows one
    coverage: np.ndarray  # (N,) share of the frames that do
    width: int  # D, of maps their channels
    maps: tuple[int, ...]  # sides of maps, h and w; none where features are flat
    arrays: int  # that show the clips: plain, mirrored, views
    residency: str  # a line that says where the features are
    _rows: Rows = field(repr=False)
    _first: Tensor = field(repr=False)  # (N,) each clip's first row
    _face: Tensor = field(repr=False)  # (T,) which rows show a face
    _nearest: Tensor | None = field(repr=False)  # (T,) the row that stands for each; none where each stands for itself
    _time: Tensor | None = field(repr=False)  # (T,) seconds since the clip's first frame, where models are told them

    @classmethod
    def from_cache(
        cls,
        cache: Cache,
        which: Sequence[int] | np.ndarray,
        feature: str = "gap",
        device: torch.device | str = "cpu",
        *,
        others: Sequence[str] = (),
        residency: Residency = "auto",
        no_face: Literal["nearest", "keep"] = "nearest",
        maps: bool = False,
        told: Sequence[str] = (),
    ) -> Self:
        """Take clips by their places in the cache's table, and bring their features to where they are read from.

        `others` are arrays that show the same clips otherwise, mirrored or as views; `told` is what models are told besides features.
        """
        device = torch.device(device)
        places = checked_places(cache, which)
        start, count = _rows_of(cache, places)
        expect_shape(cache, feature, maps=maps)
        for name in others:
            expect_other(cache, feature, name)
        source = RowSource(cache=cache, features=(feature, *others), start=start, count=count)
        if maps:
            rows: Rows = DenseMaps(source, device, residency)
            line = rows.line
        else:
            rows, line = place_rows(source, device, residency)
        shape, arrays = source.shape, 1 + len(others)
        return cls._of(places, source, rows, line, device, shape=shape, arrays=arrays, no_face=no_face, told=told)

    @classmethod
    def for_tuning(
        cls,
        cache: Cache,
        which: Sequence[int] | np.ndarray,
        source: Literal["crops", "videos", "maps"],
        device: torch.device | str = "cpu",
        *,
        shape: tuple[int, ...] = (0,),
        mirrored: bool = False,
        residency: Residency = "auto",
        no_face: Literal["nearest", "keep"] = "nearest",
        workers: int = 0,
        told: Sequence[str] = (),
    ) -> Self:
        """Take clips by their places in the cache's table, for a backbone that learns: `take` gives the `BatchFrames` that it sees.

        `shape` is that of the features that it makes of one, or of a crop where a model reads crops; who asks for frames alone needs
        none. `workers` are the threads that decode pictures, as many as there are cores when 0.
        """
        # Here, because pixels.py builds on this module; and features do not need it.
        from .pixels import PixelRows

        device = torch.device(device)
        places = checked_places(cache, which)
        start, count = _rows_of(cache, places)
        if source == "maps":
            expect_here(cache, MAPS)
            features = (MAPS,)
            if mirrored:
                features += (mirrored_name(cache, MAPS) or f"{MAPS}_flip",)
                expect_other(cache, *features)
            clips = RowSource(cache=cache, features=features, what="maps", start=start, count=count)
            rows = MapRows(clips, device, residency)
        else:
            if residency not in ("auto", "stream"):
                raise UsageError(
                    f"Pictures are decoded batch by batch, and kept nowhere; found data.residency = {residency}.",
                    remedy="--set data.residency=auto",
                )
            clips = ClipRows(cache=cache, start=start, count=count)
            rows = PixelRows(clips, source, device, workers=workers)
        return cls._of(
            places,
            clips,
            rows,
            rows.line,
            device,
            shape=shape,
            arrays=1 + mirrored,
            no_face=no_face,
            told=told,
        )

    @classmethod
    def of_rows(
        cls,
        rows: np.ndarray,
        count: np.ndarray,
        state: np.ndarray,
        time: np.ndarray,
        *,
        fps: float = 0.0,
        device: torch.device | str = "cpu",
        no_face: Literal["nearest", "keep"] = "nearest",
    ) -> Self:
        """Take clips that lie in memory one behind the other, and in no cache.  # (T, D) or (T, C, h, w), (N,), (T,), (T,)"""
        count = np.asarray(count, np.int64)
        assert count.min() >= 1
        assert len(rows) == len(state) == len(time) == count.sum()
        first = np.cumsum(count) - count
        face = np.asarray(state) != NO_FACE
        coverage = np.add.reduceat(face, first, dtype=np.int64) / count
        nearest = nearest_faces(face, first, count) if no_face == "nearest" and not face.all() else None
        seconds = (time - np.repeat(time[first], count)).astype(np.float32)
        device, number = torch.device(device), len(count)
        return cls(
            ids=[str(place) for place in range(number)],
            path=[""] * number,
            subject=[""] * number,
            label=np.full(number, -1),
            labels=(),
            fps=np.full(number, fps),
            count=torch.from_numpy(count).to(device),
            has_face=coverage > 0,
            coverage=coverage,
            width=rows.shape[1],
            maps=rows.shape[2:],
            residency="features: in memory",
            _rows=MemoryRows(torch.from_numpy(rows).to(device)),
            _first=torch.from_numpy(first).to(device),
            _face=torch.from_numpy(face).to(device),
            _nearest=None if nearest is None else torch.from_numpy(nearest).to(device),
            _time=torch.from_numpy(seconds).to(device),
            arrays=1,
        )

    @classmethod
    def _of(
        cls,
        places: np.ndarray,
        source: ClipRows,
        rows: Rows,
        line: str,
        device: torch.device,
        *,
        shape: tuple[int, ...],
        arrays: int,
        no_face: Literal["nearest", "keep"],
        told: Sequence[str],
    ) -> Self:
        """Put a set together."""
        cache = source.cache
        face = (cache.load_column("state") != 0)[ranges(source.start, source.count)]
        order = np.argsort(places)
        coverage = np.empty(len(places))
        first = np.empty(len(places), np.int64)
        coverage[order] = np.add.reduceat(face, source.first, dtype=np.int64) / source.count
        first[order] = source.first
        nearest = None
        if no_face == "nearest" and not face.all():
            nearest = torch.from_numpy(nearest_faces(face, source.first, source.count))
        home = device if rows.on_device else torch.device("cpu")
        return cls(
            ids=[cache.ids[place] for place in places],
            path=[cache.clips.path[place] for place in places],
            subject=[cache.clips.subject[place] for place in places],
            label=np.asarray(cache.clips.label)[places].astype(np.int64),
            labels=cache.labels,
            fps=np.asarray(cache.clips.fps)[places],
            count=torch.from_numpy(np.asarray(cache.clips.count)[places]).to(home),
            has_face=coverage > 0,
            coverage=coverage,
            width=shape[0],
            maps=shape[1:],
            residency=line,
            _rows=rows,
            _first=torch.from_numpy(first).to(home),
            _face=torch.from_numpy(face).to(home),
            _nearest=None if nearest is None else nearest.to(home),
            _time=torch.from_numpy(_seconds(source)).to(home) if "time" in told else None,
            arrays=arrays,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def index(self, clips: Tensor, positions: Tensor, *, array: Tensor | None = None) -> Tensor:
        """Turn positions in clips into rows, for `take`; an epoch can be turned at once.  # (…), (…, n, J), (…) → (…, n, J)

        `array` says by which of the set's arrays each clip is shown; 0, or none, is the plain one.
        """
        assert array is None or self.arrays > 1, "a set with the plain array alone"
        return by_blocks(self._index, clips, positions, *([] if array is None else [array]))

    def _index(self, clips: Tensor, positions: Tensor, array: Tensor | None = None) -> Tensor:
        rows = self._row(clips, positions)
        if self._nearest is not None:
            rows = self._nearest.index_select(0, rows.reshape(-1)).view(rows.shape)
        if array is not None:
            rows = rows + len(self._face) * array.to(rows.device)[..., None, None]
        return rows

    def frames_at(self, clips: Tensor, positions: Tensor) -> Tensor:
        """Return which frames of their clips stand at positions: the nearest with a face, the last behind the end.  # (B,), (B, n, J)"""
        return self.index(clips, positions) - self._first[clips.to(self._first.device)][..., None, None]

    def told(self, names: Iterable[str], clips: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """Return what models are told of frames besides features: mask, time (contract.py).  # (…), (…, n, J) → name → (…, n, J)"""
        known = {"mask": self._mask, "time": self._seconds_at}
        return {name: by_blocks(known[name], clips, positions) for name in names}

    def _mask(self, clips: Tensor, positions: Tensor) -> Tensor:
        there = positions < self.count.to(clips.device)[clips][..., None, None]
        return there & self._face[self._row(clips, positions)].to(clips.device)

    def _seconds_at(self, clips: Tensor, positions: Tensor) -> Tensor:
        assert self._time is not None, "the set was made without times"
        return self._time[self._row(clips, positions)].to(clips.device)

    def num_shown(self, place: int) -> int:
        """Return of how many rows a clip is: of its frames, or of its windows."""
        return int(self.count[place].sum())

    def _row(self, clips: Tensor, positions: Tensor) -> Tensor:
        """Turn positions in clips into rows; the last frame stands where a clip has no more.  # (…), (…, n, J) → (…, n, J)"""
        home = self._first.device
        clips, count = clips.to(home), self.count.to(home)
        return self._first[clips][..., None, None] + positions.to(home).minimum(count[clips][..., None, None] - 1)

    def take(self, index: Tensor, augmentation: Tensor | None = None) -> Tensor | BatchFrames:
        """Return the features of rows, float32 on the device, maps as maps; of a set for tuning the augmented frames.

        The augmentation of a clip is how far its pictures move to the right and down, in sides, how they are scaled, and how they are lit:
        (0, 0, 1, 1) leaves them alone.  # (…,) → (…, D), or (B, n, J), (B, 4) → BatchFrames
        """
        return self._rows.take(index, augmentation)

    def expect(self, batches: Iterable[BatchRequest]) -> None:
        """Receive which rows will be taken, in order, and how augmented: what must be loaded is then loaded ahead."""
        self._rows.expect(batches)

    @property
    def waited(self) -> float:
        """Return the seconds that `take` has spent on what was not loaded yet."""
        return self._rows.waited

    def statistics(self, clips: Tensor, features: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each feature over all frames of some clips that show a face, of maps over all places too.

        `features` says what they are of some rows, (K,) → (K, D): of a set for tuning only a model knows it.  # (B,) → (D,), (D,)
        """
        clips = clips.to(self._first.device).sort().values
        first, count = self._first[clips].cpu().numpy(), self.count[clips].cpu().numpy()
        rows = torch.from_numpy(ranges(first.reshape(-1), count.reshape(-1))).to(self._face.device)
        rows = rows[self._face[rows]]
        if not len(rows):
            raise UsageError(f"None of {counted(len(clips), 'clip')} shows a face: statistics cannot be computed.")
        parts = rows.split(STATISTICS_ROWS)
        self.expect((part, None) for part in parts)
        seen, mean, square = 0, *torch.zeros(2, self.width, dtype=torch.float64)
        for part in parts:
            found = (features or self._features)(part).cpu().double()
            if self.maps:
                found = found.movedim(1, -1).flatten(0, -2)  # (K, D, h, w) → (K · h · w, D)
            middle = found.mean(0)
            away, new = middle - mean, seen + len(found)
            square += (found - middle).square().sum(0) + away.square() * (seen * len(found) / new)
            mean, seen = mean + away * (len(found) / new), new
        return mean.float(), (square / seen).sqrt().float()

    def _features(self, index: Tensor) -> Tensor:
        features = self.take(index)
        assert isinstance(features, Tensor), "a set for tuning has frames, and no features"
        return features


def nearest_faces(face: np.ndarray, first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return for each row the nearest of its clip with a face, the earlier of two; itself where none has.  # (T,), (N,), (N,) → (T,)"""
    kind = np.int32 if len(face) < 2**31 else np.int64
    row = np.arange(len(face), dtype=kind)
    before = np.maximum.accumulate(np.where(face, row, kind(-1)))
    after = np.minimum.accumulate(np.where(face, row, kind(len(face)))[::-1])[::-1]
    no_before = before < np.repeat(first.astype(kind), count)
    no_after = after >= np.repeat((first + count).astype(kind), count)
    nearest = np.where(no_before | (~no_after & (after - row < row - before)), after, before)
    return np.where(no_before & no_after, row, nearest)


def _seconds(source: ClipRows) -> np.ndarray:
    """Return when each frame is shown, in seconds since the first of its clip.  # → (T,)"""
    time = source.cache.load_column("time")[ranges(source.start, source.count)]
    return (time - np.repeat(time[source.first], source.count)).astype(np.float32)


def warn_of_rates(train: np.ndarray, test: np.ndarray) -> str | None:
    """Warn when the frame rates of training and test clips differ so much that neighbouring frames are not equally far apart."""
    rates = [float(np.median(fps[fps > 0])) for fps in (train, test) if (fps > 0).any()]
    if len(rates) < 2 or max(rates) <= RATE_RATIO * min(rates):
        return None
    return (
        f"The training clips have {rates[0]:g} frames a second and the test clips {rates[1]:g} (medians): "
        "how far a face moves from one frame to the next is not the same."
    )


def checked_places(cache: Cache, which: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return places as an array, all different, of clips with frames."""
    places = np.asarray(which, np.int64)
    if not len(places):
        raise UsageError(f"No clip of {cache.path} is chosen.")
    if places.min() < 0 or places.max() >= len(cache):
        raise UsageError(
            f"{cache.path} has the clips 0 to {len(cache) - 1}, asked for {places.min()} to {places.max()}."
        )
    if len(np.unique(places)) < len(places):
        raise UsageError("A clip stands in a set once, found one twice.")
    empty = [cache.ids[place] for place in places[np.asarray(cache.clips.count)[places] == 0]]
    if empty:
        raise UsageError(
            f"{some(map(repr, empty))} of {cache.path} have no frames.",
            remedy="leave them out: clips.count is 0 for them",
        )
    return places


def _rows_of(cache: Cache, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the rows of clips begin and how many they are, in the order in which they lie.  # (N,) → (N,), (N,)"""
    places = np.sort(places)
    return np.asarray(cache.clips.start)[places], np.asarray(cache.clips.count)[places]


def ranges(first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the rows first … first + count − 1 of each clip, one clip behind the other."""
    begin = np.cumsum(count) - count
    return np.arange(int(count.sum())) + np.repeat(first - begin, count)
