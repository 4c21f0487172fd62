"""The rows of a clip while they come back from the encoder: in the cache's types, many to a block.

A block is large and lives as long as the clip. Thousands of small arrays that live as long, made between the large ones of batches that
come and go, would leave holes in the process's memory that no batch fits into: it would grow by a crop a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...cache.schema import NO_FACE, FeatureSpec

BLOCK_BYTES = 4 * 2**20


class RowBuffer:
    """Rows of each feature by track and frame."""

    def __init__(self, specs: Mapping[str, FeatureSpec]) -> None:
        self._specs = specs
        self._place: dict[str, dict[tuple[int, int], int]] = {name: {} for name in specs}  # (track, frame) → which row
        self._blocks: dict[str, list[np.ndarray]] = {name: [] for name in specs}
        self._rows = {name: rows_of_block(spec) for name, spec in specs.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the rows of blocks that hold nothing: it is sent to another machine."""
        blocks = {}
        for name, found in self._blocks.items():
            count, size = len(self._place[name]), self._rows[name]
            blocks[name] = [block[: count - number * size] for number, block in enumerate(found)]
        return self.__dict__ | {"_blocks": blocks}

    def put(self, track: int, frame: int, results: Mapping[str, np.ndarray], place: int) -> None:
        """Take in one row of each array of a batch's results."""
        key = (track, frame)
        for name, rows in results.items():
            spec, places = self._specs[name], self._place[name]
            block, position = divmod(places.setdefault(key, len(places)), self._rows[name])
            blocks = self._blocks[name]
            while len(blocks) <= block:
                blocks.append(np.zeros((self._rows[name], *spec.shape), spec.dtype))
            blocks[block][position] = rows[place]

    def of_track(self, track: int, state: np.ndarray, name: str, start: int = 0) -> np.ndarray:
        """Return the rows of one feature from a frame on, as the cache keeps them: zeros where there is no face."""
        spec = self._specs[name]
        array = np.zeros((len(state), *spec.shape), spec.dtype)
        for frame in np.flatnonzero(state != NO_FACE).tolist():
            block, position = divmod(self._place[name][track, start + frame], self._rows[name])
            array[frame] = self._blocks[name][block][position]
        return array


def rows_of_block(spec: FeatureSpec) -> int:
    """Count the rows that stand in a block."""
    return max(1, BLOCK_BYTES // (int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize))
