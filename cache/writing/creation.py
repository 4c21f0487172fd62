"""Making an empty cache, and cleaning one up that a killed writer left: both leave a directory that is whole."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import CacheLocked, UsageError, quoted
from ..schema import ArraySpec
from ..stores.disk import PARTIAL, Data, Disk
from ..stores.manifest import Manifest, Staging
from ..stores.snapshot import Snapshot, first_rows, is_hdf5, open_snapshot, read_attributes, staging_path
from ..stores.zarr_format import (
    METADATA,
    chunk_index,
    chunk_key,
    encode_document,
    encode_rows,
    group_document,
    num_chunks,
)
from .appender import metadata_file


def is_begun(path: Path) -> bool:
    """Return whether a cache is there, or the staging in which the first session of an HDF5 file grows; another suffix is refused."""
    return (is_hdf5(path) and staging_path(path).exists()) or path.exists()


def create(path: Path, manifest: Manifest, disk: Disk) -> Snapshot:
    """Make an empty cache; for HDF5, the staging in which its first session grows."""
    if path.exists():
        raise UsageError(f"{path} exists already.", remedy="choose another name")
    if not path.parent.is_dir():
        raise UsageError(f"The folder {path.parent} does not exist.", remedy=f"mkdir -p {quoted(path.parent)}")
    if is_hdf5(path):
        _make_directory(staging_path(path), replace(manifest, staging=Staging()), disk)
    else:
        _make_directory(path, manifest, disk)
    return open_snapshot(path)


def continue_hdf5(snapshot: Snapshot, disk: Disk) -> Snapshot:
    """Make the staging that continues an HDF5 file."""
    file = snapshot.manifest
    staging = Staging(commit=file.commit.id, sequence=file.commit.sequence, base=file.commit.counts)
    manifest = replace(file, staging=staging, folded="", commit=file.commit.following(file.commit.counts, edited=False))
    _make_directory(staging_path(snapshot.path), manifest, disk)
    return open_snapshot(snapshot.path)


def _make_directory(root: Path, manifest: Manifest, disk: Disk) -> None:
    """Write the groups and arrays of a cache without clips, under another name until it is whole."""
    partial = root.with_name(root.name + PARTIAL)
    disk.remove(partial)
    schema = manifest.schema
    starts = first_rows(manifest)
    folders = [partial, *(partial / name for name in schema.groups()), *(partial / name for name in schema.arrays())]
    for folder in folders:
        disk.make_folder(folder)
    files: list[tuple[Path, Data]] = [
        (partial / name / METADATA, encode_document(group_document())) for name in schema.groups()
    ]
    for spec in schema.arrays().values():
        rows = 0 if spec.name in starts else manifest.commit.counts.of(spec.axis)
        files.append(metadata_file(partial, spec, rows))
        if rows:  # crops/offset begins with a zero
            files.append(
                (
                    partial / spec.name / chunk_key(spec, 0),
                    encode_rows(spec, np.zeros((rows, *spec.row_shape), spec.dtype)),
                )
            )
    files.append(root_file(partial, manifest))
    disk.write_all(files)
    for folder in reversed(folders):
        disk.flush_folder(folder)
    disk.rename(partial, root)


def root_file(root: Path, manifest: Manifest) -> tuple[Path, bytes]:
    """Return the metadata of the root group: writing it is a commit."""
    return root / METADATA, encode_document(group_document(manifest.attributes()))


def expect_last_commit(path: Path, root: Path, begun: Collection[str]) -> None:
    """Refuse to write over what another writer has committed: locks that hold on one machine alone let both of them in."""
    if read_attributes(root)["commit"]["id"] not in begun:
        raise CacheLocked(
            f"{path} has been written by another process meanwhile, although this one has its lock: the locks of this file system do "
            "not hold between machines. What this process had not committed is lost.",
            remedy="write it from one machine, or each machine a cache of its own, then est cache merge",
        )


def add_array(root: Path, spec: ArraySpec, disk: Disk) -> None:
    """Give a directory one more, empty, array."""
    disk.make_folder(root / spec.name)
    disk.write_all([metadata_file(root, spec, 0)])
    disk.flush_folder((root / spec.name).parent)


def clean_up(snapshot: Snapshot, disk: Disk) -> Snapshot:
    """Under the lock: remove what a killed writer left behind its last commit."""
    path = snapshot.path
    disk.remove(path.with_name(path.name + PARTIAL))
    staging = staging_path(path)
    disk.remove(staging.with_name(staging.name + PARTIAL))
    if is_hdf5(path):
        if not staging.exists():
            return snapshot
        if snapshot.manifest.staging is None:  # the fold was killed between its last two steps
            disk.remove(staging)
            return snapshot
    root = staging if is_hdf5(path) else path
    arrays = snapshot.manifest.writing_schema.arrays()
    starts = first_rows(snapshot.manifest)
    for folder, _, names in os.walk(root):
        spec = arrays.get(str(Path(folder).relative_to(root)))
        rows = None if spec is None else committed_rows(snapshot.manifest, spec) - starts.get(spec.name, 0)
        for name in names:
            index = chunk_index(name)
            stale = spec is not None and rows is not None and index is not None and index >= num_chunks(spec, rows)
            if name.endswith(PARTIAL) or stale:
                disk.remove(Path(folder) / name)
        if spec is not None and rows is not None:
            path, data = metadata_file(root, spec, rows)
            if path.read_bytes() != data:
                disk.write(path, data)
    return snapshot


def committed_rows(manifest: Manifest, spec: ArraySpec) -> int:
    """Count the committed rows of an array, one that is being filled included."""
    short = spec.name.rsplit("/", 1)[1]
    filling = manifest.filling.get(short)
    if filling is not None and spec.name in (f"frames/{short}", f"clips/xxh3/{short}"):
        return filling.frames if spec.axis == "frame" else filling.clips
    return manifest.commit.counts.of(spec.axis)
