"""A feature array that is added to clips committed earlier: another tap of the same frames.

Clips are filled in the order of the table. Until the last one is committed readers do not see the array; a killed filling resumes where its
last commit was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from ...errors import CacheError
from .. import checksum
from ..clip import expect_finite, typed_rows
from ..interrupt import uninterrupted
from ..recipe import FeatureRecipe
from ..schema import CHECKSUMS, NO_FACE, ArraySpec, FeatureSpec
from ..stores.disk import Disk
from ..stores.manifest import Filling, Manifest
from ..stores.snapshot import Snapshot
from .appender import Appender
from .creation import add_array
from .table import Table


class FeatureFiller:
    """Takes the rows of one clip after the other: those of `next_clip`, until it is None."""

    def __init__(
        self, name: str, recipe: FeatureRecipe, clips: Table, rows: Appender, checksums: Appender, known: np.ndarray
    ) -> None:
        self.name = name
        self.recipe = recipe
        self.rows = rows
        self.checksums = checksums
        self._clips = clips
        self._known = known.tolist()
        self.skip_removed()

    @classmethod
    def open(cls, snapshot: Snapshot, name: str, filling: Filling, clips: Table) -> Self:
        """Resume what an earlier writer started."""
        rows, checksums = _specs(snapshot.manifest, name)
        known = snapshot.rows(checksums, 0, filling.clips)
        arrays = (Appender.open(snapshot, rows, filling.frames), Appender.open(snapshot, checksums, filling.clips))
        return cls(name, filling.recipe, clips, *arrays, known)

    @classmethod
    def create(cls, root: Path, name: str, manifest: Manifest, clips: Table, disk: Disk) -> Self:
        """Begin a new array."""
        specs = _specs(manifest, name)
        for spec in specs:
            disk.remove(root / spec.name)  # what a killed writer may have left
            add_array(root, spec, disk)
        arrays = [Appender(spec, 0, 0, np.empty((0, *spec.row_shape), spec.dtype)) for spec in specs]
        return cls(name, manifest.filling[name].recipe, clips, *arrays, np.empty(0, np.uint64))

    @property
    def is_done(self) -> bool:
        """Return whether every clip has its rows."""
        return self.checksums.rows == self._clips.length

    @property
    def next_clip(self) -> str | None:
        """Name the clip whose rows come next."""
        return None if self.is_done else self._clips.columns["id"][self.checksums.rows]

    def add(self, clip_id: str, rows: np.ndarray, state: np.ndarray) -> None:
        """Take the rows of the next clip; `state` is that of its frames."""
        if clip_id != self.next_clip:
            raise CacheError(
                f"{self.name!r} is filled in the order of the clips: expected {self.next_clip!r}, found {clip_id!r}."
            )
        who = f"Clip {clip_id!r}, {self.name}"
        count = int(self._clips.columns["count"][self.checksums.rows])
        if np.shape(state) != (count,):
            raise CacheError(f"{who}: expected the state of {count} frames, found {np.shape(state)}.")
        rows = typed_rows(rows, FeatureSpec(dtype=self.recipe.dtype, shape=self.recipe.shape), count, who)
        expect_finite(rows, who)
        if rows[np.asarray(state) == NO_FACE].any():
            raise CacheError(f"{who}: rows of frames without a face are zeros, found others.")
        with uninterrupted():
            self._append(rows)
            self.skip_removed()

    def holds(self, row: int, rows: np.ndarray) -> bool:
        """Return whether these are the rows that a clip was filled with; `row` is its place in the table."""
        typed = np.ascontiguousarray(rows, dtype=self.recipe.dtype)
        return row < len(self._known) and self._known[row] == checksum.of_rows(typed)

    def state(self) -> Filling:
        """Return what the next commit says of this array."""
        return Filling(recipe=self.recipe, clips=self.checksums.rows, frames=self.rows.rows)

    def all_checksums(self) -> np.ndarray:
        """Return the column that the clip table gains."""
        return np.array(self._known, np.uint64)

    def _append(self, rows: np.ndarray) -> None:
        self.rows.append(rows)
        self._known.append(checksum.of_rows(rows))
        self.checksums.append(np.array(self._known[-1:], np.uint64))

    def skip_removed(self) -> None:
        """Give clips that were removed rows of zeros, so that all others keep their places."""
        while not self.is_done and not self._clips.value("live", self.checksums.rows):
            count = int(self._clips.columns["count"][self.checksums.rows])
            self._append(np.zeros((count, *self.recipe.shape), self.recipe.dtype))


def _specs(manifest: Manifest, name: str) -> tuple[ArraySpec, ArraySpec]:
    schema = manifest.writing_schema
    return schema.frame_arrays()[name], schema.clip_columns()[CHECKSUMS + name]
