"""An HDF5 cache's normal end: the file and its staging become one new file, which takes the old one's place.

Written beside, flushed, renamed: whenever this is killed, either the old state or the new one is there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..schema import STRING, ArraySpec
from ..stores.disk import PARTIAL, Disk, expect_free_space
from ..stores.hdf5_builder import Hdf5Builder
from ..stores.manifest import Manifest
from ..stores.snapshot import Snapshot, staging_path

SLICE_BYTES = 64 * 2**20
SLACK_BYTES = 16 * 2**20


def fold(snapshot: Snapshot, disk: Disk) -> None:
    """Write what a snapshot shows as one HDF5 file, and remove the staging."""
    staged = snapshot.manifest
    partial = snapshot.path.with_name(snapshot.path.name + PARTIAL)
    commit = staged.commit.following(staged.commit.counts, edited=False)
    manifest = replace(staged, commit=commit, edits={}, staging=None, folded=staged.commit.id)
    expect_free_space(snapshot.path.parent, num_bytes(manifest) + SLACK_BYTES, f"Folding {snapshot.path.name}")
    write_hdf5(partial, manifest, snapshot)
    disk.flush_file(partial)
    disk.rename(partial, snapshot.path)
    disk.remove(staging_path(snapshot.path))


def write_hdf5(path: Path, manifest: Manifest, snapshot: Snapshot) -> None:
    """Write every array of a snapshot into a new file, in bounded memory."""
    builder = Hdf5Builder(path, manifest)
    try:
        for spec in manifest.schema.arrays().values():
            if spec.dtype == STRING:
                values = snapshot.column(spec)
                assert isinstance(values, list)
                builder.strings(spec, values)
            elif spec.axis in ("clip", "failure"):
                builder.array(spec)
                builder.write(0, np.asarray(snapshot.column(spec)))
            else:
                _copy(builder, spec, snapshot)
    finally:
        builder.close()


def num_bytes(manifest: Manifest) -> int:
    """Estimate the size of a cache from its counts; a string counts for 64 bytes."""
    counts = manifest.commit.counts
    return sum(counts.of(spec.axis) * (spec.row_bytes or 64) for spec in manifest.schema.arrays().values())


def _copy(builder: Hdf5Builder, spec: ArraySpec, snapshot: Snapshot) -> None:
    builder.array(spec)
    rows = max(1, SLICE_BYTES // spec.row_bytes)
    total = snapshot.manifest.commit.counts.of(spec.axis)
    for start in range(0, total, rows):
        stop = min(start + rows, total)
        data = snapshot.rows(spec, start, stop)
        if spec.axis == "offset" and stop == total:
            data[-1] = snapshot.manifest.commit.counts.crop_bytes  # damage here would spoil the next clip
        builder.write(start, data)
