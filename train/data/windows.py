"""Windows of clips, for models that read them in place of frames: a set of clips whose rows are those of windows, kind by kind.

A cache holds a clip's windows kind by kind (est cache import): within a kind they have one rate and ascend by their first frame, so that
a kind ends where the rate changes, or where a window begins no later than the one before it.

Legend: N clips of the set, n kinds, B of a batch, J places of a kind, W windows of the cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from ...cache import Cache
from ...cache.schema import ArraySpec
from ...errors import UsageError, some
from ..models.contract import ModelConfig, places_of
from .clipset import ClipSet, checked_places
from .feature_arrays import expect_windows
from .rows import Residency, RowSource, place_rows


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowSource(RowSource):
    """The rows of a feature of windows; `start` and `count` are those of the clips' windows."""

    @property
    def num_stored(self) -> int:
        return self.cache.snapshot.manifest.commit.counts.windows

    def array(self, feature: str) -> ArraySpec:
        return self.cache.schema.window_arrays()[feature]

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.asarray(self.cache.clips.first_window)

    def frame_of(self, row: int) -> tuple[int, int]:
        """Return the clip, by its place in the cache's table, and which of its windows a row is."""
        place = int(np.searchsorted(self._starts, row, side="right")) - 1
        return place, row - int(self._starts[place])


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowSet(ClipSet):
    """Clips of one cache and their windows: counts and first rows are of each kind, (N, n)."""

    @classmethod
    def of_windows(
        cls,
        cache: Cache,
        which: Sequence[int] | np.ndarray,
        feature: str,
        kinds: int,
        device: torch.device,
        *,
        residency: Residency = "auto",
    ) -> Self:
        """Take clips by their places in the cache's table, and bring the features of their windows to where they are read from."""
        places = checked_places(cache, which)
        expect_windows(cache, feature)
        first, count = kinds_of(cache, places, kinds)
        ordered = np.sort(places)
        start, total = np.asarray(cache.clips.first_window)[ordered], np.asarray(cache.clips.windows)[ordered]
        source = WindowSource(cache=cache, features=(feature,), what="windows", start=start, count=total)
        rows, line = place_rows(source, device, residency)
        here = np.empty(len(places), np.int64)  # where each clip's rows begin among those of the set
        here[np.argsort(places)] = source.first
        home = device if rows.on_device else torch.device("cpu")
        return cls(
            ids=[cache.ids[place] for place in places],
            path=[cache.clips.path[place] for place in places],
            subject=[cache.clips.subject[place] for place in places],
            label=np.asarray(cache.clips.label)[places].astype(np.int64),
            labels=cache.labels,
            fps=np.asarray(cache.clips.fps)[places],
            count=torch.from_numpy(count).to(home),
            has_face=np.ones(len(places), bool),  # nothing says of a window that it shows none
            coverage=np.ones(len(places)),
            width=source.shape[0],
            maps=(),
            arrays=1,
            residency=line,
            _rows=rows,
            _first=torch.from_numpy(here[:, None] + first).to(home),
            _face=torch.ones(source.num_rows, dtype=torch.bool, device=home),
            _nearest=None,
            _time=None,
        )

    def frames_at(self, clips: Tensor, positions: Tensor) -> Tensor:
        """Return which windows of their clips stand at positions.  # (B,), (B, n, J)"""
        first = self._first[clips.to(self._first.device)]
        return self.index(clips, positions) - first[..., :1, None]

    def told(self, names: Iterable[str], clips: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """Return the mask: which places hold a window.  # (…), (…, n, J) → name → (…, n, J)"""
        assert set(names) <= {"mask"}, "a window has no time of its own"
        return {name: positions < self.count.to(clips.device)[clips][..., None] for name in names}

    def _row(self, clips: Tensor, positions: Tensor) -> Tensor:
        """Turn positions in kinds into rows; the last window stands where a kind has no more.  # (…), (…, n, J) → (…, n, J)"""
        home = self._first.device
        clips, count = clips.to(home), self.count.to(home)
        return self._first[clips][..., None] + positions.to(home).minimum(count[clips][..., None] - 1)


def load_features(
    cache: Cache,
    which: Sequence[int] | np.ndarray,
    model: ModelConfig,
    feature: str,
    device: torch.device,
    *,
    others: Sequence[str] = (),
    residency: Residency = "auto",
    no_face: Literal["nearest", "keep"] = "nearest",
) -> ClipSet:
    """Load what a model reads of clips: rows of frames, or of windows."""
    if model.of_windows:
        return WindowSet.of_windows(cache, which, feature, places_of(model.shown)[0], device, residency=residency)
    return ClipSet.from_cache(
        cache,
        which,
        feature=feature,
        device=device,
        others=others,
        maps=bool(model.reads),
        residency=residency,
        no_face=no_face,
        told=model.told,
    )


def kinds_of(cache: Cache, places: np.ndarray, kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each kind where its windows begin among those of their clip, and how many there are.  # → (N, n), (N, n)"""
    begin, total = (np.asarray(cache.clips.columns[name])[places] for name in ("first_window", "windows"))
    arrays = cache.schema.window_arrays()
    start, rate = (
        cache.snapshot.rows(arrays[name], 0, cache.snapshot.manifest.commit.counts.windows)
        for name in ("window_start", "window_rate")
    )
    new = np.ones(len(start), bool)  # whether a kind begins at a window
    new[1:] = (start[1:] <= start[:-1]) | (rate[1:] != rate[:-1])
    new[begin[total > 0]] = True
    heads = np.array([int(new[one : one + many].sum()) for one, many in zip(begin, total, strict=True)])
    if (heads != kinds).any():
        wrong = np.flatnonzero(heads != kinds)
        told = some(f"{cache.ids[places[one]]!r} has {heads[one]}" for one in wrong)
        raise UsageError(
            f"The model reads {kinds} kinds of windows, and {len(wrong)} of {len(places)} clips of {cache.path} have others: {told}.",
            remedy=_kinds_remedy(heads),
        )
    first = np.stack([np.flatnonzero(new[one : one + many]) for one, many in zip(begin, total, strict=True)])
    return first, np.diff(np.append(first, total[:, None], axis=1), axis=1)


def _kinds_remedy(heads: np.ndarray) -> str:
    same = int(heads[0]) if (heads == heads[0]).all() else 0
    if same:
        return f"settings of the model for {same} kinds (est train --describe), or other windows: est cache import … --stride N,N,N"
    return "import windows of every kind for each clip: est cache import … --window N --stride N,N,N"
