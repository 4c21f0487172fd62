"""Repairing: drop what is damaged, so that extraction makes it again; keep everything else as it is.

Chunks that are gone or cut off are put back as zeros, under the lock and before anything is dropped, because the writer continues the last
chunk of each array. The clips in them are removed in one commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import CacheDamaged
from ..schema import NO_LABEL, ROW_CHECKSUM, STRING, ArraySpec, Counts
from ..stores.disk import Data, Disk, writing
from ..stores.lock import WriterLock
from ..stores.segment import ZarrSegment, has_chunk
from ..stores.snapshot import Snapshot, open_snapshot
from ..stores.zarr_format import (
    METADATA,
    decode_strings,
    encode_document,
    encode_rows,
    encode_strings,
    group_document,
    num_chunks,
)
from ..writing.appender import metadata_file
from ..writing.creation import committed_rows
from ..writing.table import Table
from ..writing.writer import CacheWriter
from .verify import Report, verify_cache


def repair_cache(path: Path | str, *, disk: Disk | None = None) -> Report:
    """Drop the damaged clips of a cache and repair the rest; return what was found: `damaged` names the clips dropped."""
    path, disk = Path(path), disk or Disk()
    found = verify_cache(path)
    if not found.problems:
        return found
    lock = WriterLock(path)
    lock.acquire()
    try:
        with writing(path):
            _mend_files(open_snapshot(path), disk)
    finally:
        lock.release()
    report = verify_cache(path)  # damaged chunks of strings are empty strings now, and their rows are named
    with CacheWriter.open(path, disk=disk) as writer:
        for row in sorted({problem.row for problem in report.problems if problem.row is not None}):
            _drop(writer.clips, row, writer.manifest.commit.counts)
        for row in range(writer.failures.length):
            _mend_failure(writer.failures, row, len(writer.manifest.labels))
    mended = [replace(problem, clip="", row=None) for problem in found.problems if problem not in report.problems]
    return replace(report, problems=[*report.problems, *mended])


def _mend_files(snapshot: Snapshot, disk: Disk) -> None:
    """Give every chunk and metadata document that cannot be read one that can."""
    segment = snapshot.segments[-1]
    if not isinstance(segment, ZarrSegment):
        return
    for name in snapshot.manifest.writing_schema.groups():
        disk.make_folder(segment.root / name)
        disk.write_all([(segment.root / name / METADATA, encode_document(group_document()))])
    for spec in snapshot.manifest.writing_schema.arrays().values():
        rows = committed_rows(snapshot.manifest, spec) - segment.first_row(spec)
        folder = segment.root / spec.name
        disk.make_folder(folder)
        if not (folder / METADATA).exists():
            disk.write_all([metadata_file(segment.root, spec, rows)])
        disk.write_all(_readable_chunks(segment, spec, rows))
    if snapshot.manifest.crops:
        _mend_last_offset(snapshot, segment, disk)


def _mend_last_offset(snapshot: Snapshot, segment: ZarrSegment, disk: Disk) -> None:
    """Correct the last offset of the crops: the next clip begins there, whether or not the one before is dropped."""
    spec = snapshot.manifest.schema.crop_arrays()["crops/offset"]
    total, first_row = committed_rows(snapshot.manifest, spec), segment.first_row(spec)
    if total == first_row:
        return  # it lies in the HDF5 file, and folding puts it right
    index = (total - 1 - first_row) // spec.chunk_rows
    rows = snapshot.rows(spec, first_row + index * spec.chunk_rows, total)
    rows[-1] = snapshot.manifest.commit.counts.crop_bytes
    disk.write_all([(segment.chunk_path(spec, index), encode_rows(spec, rows))])


def _readable_chunks(segment: ZarrSegment, spec: ArraySpec, rows: int) -> Iterator[tuple[Path, Data]]:
    for index in range(num_chunks(spec, rows)):
        file = segment.chunk_path(spec, index)
        if spec.dtype == STRING:
            try:
                decode_strings(spec, file.read_bytes(), str(file))
            except (CacheDamaged, FileNotFoundError):
                yield file, encode_strings(spec, [])
        elif not has_chunk(spec, file):
            yield file, encode_rows(spec, np.zeros((0, *spec.row_shape), spec.dtype))


def _drop(clips: Table, row: int, counts: Counts) -> None:
    """Remove a clip whose row may itself be damaged: then its place is between its neighbours."""
    if _is_sound(clips, row):
        clips.change(row, {"live": 0})
        return
    values = {"live": 0, "label": NO_LABEL, **_between(clips, row, "start", "count", counts.frames)}
    if "windows" in clips.specs:
        values |= _between(clips, row, "first_window", "windows", counts.windows)
    clips.change(row, values)


def _between(clips: Table, row: int, first: str, count: str, total: int) -> dict[str, int]:
    """Return the place between a row's neighbours, along one axis."""
    start = int(clips.value(first, row - 1) + clips.value(count, row - 1)) if row else 0
    if row + 1 == clips.length:
        end = total
    elif _is_sound(clips, row + 1):
        end = int(clips.value(first, row + 1))
    else:
        end = start  # the next damaged one takes what lies between the sound ones
    return {first: start, count: max(end - start, 0)}


def _is_sound(table: Table, row: int) -> bool:
    return table.checksum_of(row) == int(table.value(ROW_CHECKSUM, row))


def _mend_failure(failures: Table, row: int, num_labels: int) -> None:
    """Remove a failure whose row is damaged: its input counts as new."""
    known = NO_LABEL <= failures.value("label", row) < num_labels or not failures.value("live", row)
    if not known or not _is_sound(failures, row):
        failures.change(row, {"live": 0, "label": NO_LABEL})
