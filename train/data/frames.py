"""What a backbone that learns is given: each different frame of a batch once, and where snippets look at it.

Short clips fill their snippets with repeats, so a batch has fewer different frames than places for them. A frame is a picture (pixels.py),
or the map that the cache's backbone made of it: where the stages up to there do not learn, they need not run again.

Legend: U different frames, B clips, n snippets, J frames of a snippet, S side, C h w of a map.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..models.batch_frames import BatchFrames
from .prefetch import DEPTH, BatchRequest, Prefetcher
from .rows import Residency, Rows, RowSource, place_rows


class MapRows(Rows):
    """Cached maps: on the device as they are, from anywhere else loaded ahead."""

    def __init__(self, source: RowSource, device: torch.device, residency: Residency) -> None:
        self._rows, self.line = place_rows(source, device, residency)
        self._shape, self._device = source.shape, device
        self.on_device = self._rows.on_device
        self._ahead = None if self.on_device else Prefetcher(self._load)
        if self._ahead is not None:
            self.line += f"; {DEPTH} batches ahead"

    @property
    def waited(self) -> float:
        return 0.0 if self._ahead is None else self._ahead.waited

    def take(self, index: Tensor, augmentation: Tensor | None = None) -> BatchFrames:
        return self._load(index, augmentation) if self._ahead is None else self._ahead.take(index, augmentation)

    def expect(self, batches: Iterable[BatchRequest]) -> None:
        if self._ahead is not None:
            self._ahead.expect(batches)

    def _load(self, index: Tensor, augmentation: Tensor | None) -> BatchFrames:
        assert augmentation is None, "maps cannot be moved or lit: `choose_source` refuses them"
        rows, place = torch.unique(index, return_inverse=True)  # in ascending order
        maps = self._rows.take(rows)
        return BatchFrames(rows=maps.view(-1, *self._shape), place=place.to(self._device))


class DenseMaps(MapRows):
    """Cached maps for a model that reads them: each place's own.  # (…,) → (…, C, h, w)"""

    def take(self, index: Tensor, augmentation: Tensor | None = None) -> Tensor:  # ty: ignore[incompatible-method-override]
        if self.on_device:
            assert augmentation is None, "maps cannot be moved or lit"
            return self._rows.take(index).view(*index.shape, *self._shape)
        found = super().take(index, augmentation)
        return found.rows[found.place]
