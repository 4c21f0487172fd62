"""Verifying: whether all data of the last commit is there and matches its checksums.

Every checksum, offset, chunk and metadata document is looked at, and every damaged clip is named. Rows of removed clips do not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import CacheDamaged
from .. import checksum
from ..remote.address import local_path, mirrored
from ..schema import CHECKSUMS, NO_LABEL, ROW_CHECKSUM, STRING, ArraySpec
from ..sources import source_problem
from ..stores.manifest import Manifest
from ..stores.segment import THREADS, ZarrSegment
from ..stores.snapshot import Snapshot, is_outdated, open_snapshot
from ..stores.zarr_format import METADATA, array_document, group_document, num_chunks
from ..watch import Progress, Watch

BLOCK_BYTES = 16 * 2**20
ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem; `row` is the place in the stored table of the clip that it damages, if it damages one."""

    what: str
    clip: str = ""
    row: int | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What verifying found."""

    path: Path
    clips: int
    frames: int
    num_bytes: int
    problems: list[Problem] = field(default_factory=list)
    sources: list[Problem] = field(default_factory=list)  # of the videos, not of the cache
    fetched_again: int = 0  # files of a mirror that were not what was uploaded
    trained_on: dict[str, str] = field(default_factory=dict)  # features tuned on labels → on which, in a few words

    @property
    def damaged(self) -> list[str]:
        """Name the damaged clips."""
        return sorted({problem.clip for problem in self.problems if problem.clip})


def verify_cache(path: Path | str, *, sources: bool = False, watch: Watch | None = None) -> Report:
    """Check the last commit of a cache; with `sources` also that the videos are there and unchanged.

    At a URL, the files of its mirror are compared with the digests of the upload first, and those that differ fetched again.

    >>> est.verify_cache("cache.zarr", sources=True).problems
    []
    """
    path = local_path(path, watch)
    mirror = mirrored(path)
    fetched_again = mirror.compare(watch) if mirror else 0
    for _ in range(ATTEMPTS):
        snapshot = open_snapshot(path)
        report = _verify(snapshot, sources, watch or Watch())
        if not report.problems or not is_outdated(snapshot):  # else a writer may have caused them while this looked
            break
    return replace(report, fetched_again=fetched_again)


def _verify(snapshot: Snapshot, sources: bool, watch: Watch) -> Report:
    tables = _Tables(snapshot)
    problems = [*_record_problems(snapshot.manifest), *_metadata_problems(snapshot), *tables.problems]
    sound = [row for row in tables.live if row not in tables.spoilt]
    problems += _data_problems(snapshot, tables, sound, watch)
    problems += _chunk_problems(snapshot, " ".join(problem.what for problem in problems))
    found = [problem for row in sound if sources and (problem := _source_problem(tables, row))]
    num_bytes = sum(
        snapshot.manifest.commit.counts.of(spec.axis) * spec.row_bytes
        for spec in snapshot.manifest.schema.arrays().values()
    )
    frames = sum(int(tables.clips["count"][row]) for row in sound)
    return Report(
        path=snapshot.path,
        clips=len(tables.live),
        frames=frames,
        num_bytes=num_bytes,
        problems=problems,
        sources=found,
        trained_on=snapshot.manifest.describe_records(),
    )


class _Tables:
    """Both tables, read column by column, and what is wrong with their rows."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.problems: list[Problem] = []
        self.spoilt: set[int] = set()  # rows of the clip table that cannot be trusted
        self._snapshot = snapshot
        manifest = snapshot.manifest
        self.clips = self._read(manifest.schema.clip_columns())
        self.failures = self._read(manifest.schema.failure_columns())
        for row in spoilt_rows(self.clips, manifest.schema.clip_columns()):
            self._spoil(row, "its row of the clip table does not match its checksum")
        self.live = np.flatnonzero(self.clips["live"]).tolist()
        self._check_order(manifest)
        self._check_failures(manifest)

    def name(self, row: int) -> str:
        """Name the clip of a row as well as its damage allows."""
        return self.clips["id"][row] or f"(row {row})"

    def _read(self, specs: dict[str, ArraySpec]) -> dict[str, Any]:
        """Read columns; what cannot be read is named and stands as empty."""
        columns: dict[str, Any] = {}
        for name, spec in specs.items():
            try:
                columns[name] = self._snapshot.column(spec)
            except CacheDamaged as error:
                self.problems.append(Problem(what=error.message))
                total = self._snapshot.manifest.commit.counts.of(spec.axis)
                columns[name] = [""] * total if spec.dtype == STRING else np.zeros((total, *spec.row_shape), spec.dtype)
        return columns

    def _check_order(self, manifest: Manifest) -> None:
        """Rows of clips follow each other without a gap, live ids are unique, labels are known."""
        counts = manifest.commit.counts
        self._check_places("start", "count", "frames", counts.frames)
        if "windows" in self.clips:
            self._check_places("first_window", "windows", "windows", counts.windows)
        seen: dict[str, int] = {}
        for row in range(counts.clips):
            if self.clips["live"][row] and row not in self.spoilt:
                if seen.setdefault(self.name(row), row) != row:
                    self._spoil(row, "another clip has its id")
                if not NO_LABEL <= self.clips["label"][row] < len(manifest.labels):
                    self._spoil(row, f"its label is number {self.clips['label'][row]} of {len(manifest.labels)}")

    def _check_places(self, first: str, count: str, what: str, total: int) -> None:
        """Rows of clips follow each other along an axis."""
        end = 0
        for row in range(len(self.clips[first])):
            start, length = int(self.clips[first][row]), int(self.clips[count][row])
            if (start != end or length < 0) and row not in self.spoilt:
                self._spoil(
                    row,
                    f"its {'rows' if what == 'frames' else what} begin at {start}, and those before it end at {end}",
                )
            end = start + length if row not in self.spoilt else self._next_start(first, row, total)
        if end != total:
            self.problems.append(Problem(what=f"the clips have {end} {what}, and the commit counts {total}"))

    def _check_failures(self, manifest: Manifest) -> None:
        """Rows of failures are what was written, labels are known."""
        spoilt = spoilt_rows(self.failures, manifest.schema.failure_columns())
        self.problems += [Problem(what=f"row {row} of the failures does not match its checksum") for row in spoilt]
        for row in np.flatnonzero(self.failures["live"]).tolist():
            label = int(self.failures["label"][row])
            if row not in spoilt and not NO_LABEL <= label < len(manifest.labels):
                what = f"row {row} of the failures: its label is number {label} of {len(manifest.labels)}"
                self.problems.append(Problem(what=what))

    def _next_start(self, first: str, row: int, total: int) -> int:
        """After a damaged row, use the start that the next row gives."""
        starts = self.clips[first]
        return int(starts[row + 1]) if row + 1 < len(starts) else total

    def _spoil(self, row: int, what: str) -> None:
        self.spoilt.add(row)
        self.problems.append(Problem(what=what, clip=self.name(row), row=row))


def spoilt_rows(columns: dict[str, Any], specs: dict[str, ArraySpec]) -> list[int]:
    """Return the rows of a table whose checksum differs."""
    stored = columns[ROW_CHECKSUM]
    rows = ({name: column[row] for name, column in columns.items()} for row in range(len(stored)))
    return [row for row, values in enumerate(rows) if checksum.of_table_row(values, specs) != int(stored[row])]


def _record_problems(manifest: Manifest) -> list[Problem]:
    """Name the features whose record of training clips is missing."""
    return [
        Problem(what=f"the record {record} of what the weights of {name!r} have learnt from is missing")
        for name, record in manifest.lacking_records.items()
    ]


def _metadata_problems(snapshot: Snapshot) -> Iterator[Problem]:
    """Compare the documents of a Zarr directory with what the schema writes; an HDF5 file was checked when it was opened."""
    segment = snapshot.segments[-1]
    if not isinstance(segment, ZarrSegment):
        return
    schema = snapshot.manifest.schema
    expected: dict[str, dict[str, Any]] = {name: group_document() for name in schema.groups()}
    for name, spec in schema.arrays().items():
        expected[name] = array_document(spec, snapshot.manifest.commit.counts.of(spec.axis) - segment.first_row(spec))
    for name, document in expected.items():
        file = segment.root / name / METADATA
        try:
            found = json.loads(file.read_bytes())
        except (FileNotFoundError, ValueError, RecursionError):
            yield Problem(what=f"{file} is missing or not JSON")
            continue
        if document["node_type"] == "array" and isinstance(found, dict) and isinstance(found.get("shape"), list):
            rows, shape = document["shape"][0], found["shape"]
            if shape and isinstance(shape[0], int) and shape[0] > rows:  # a writer is at work, or was killed
                found = {**found, "shape": [rows, *shape[1:]]}
        if found != document:
            yield Problem(what=f"{file} does not match its checksum")


def _chunk_problems(snapshot: Snapshot, said: str) -> Iterator[Problem]:
    """Check chunks that contain no live clip: they must be there, too, and complete."""
    segment = snapshot.segments[-1]
    if not isinstance(segment, ZarrSegment):
        return
    for spec in snapshot.manifest.schema.arrays().values():
        rows = snapshot.manifest.commit.counts.of(spec.axis) - segment.first_row(spec)
        for index in range(num_chunks(spec, rows)):
            file = segment.chunk_path(spec, index)
            try:
                what = "" if segment.has_chunk(spec, index) else f"{file} is missing, or not as long as it was written"
            except CacheDamaged as error:
                what = error.message
            if what and str(file) not in said and what not in said:
                yield Problem(what=what)


def _data_problems(snapshot: Snapshot, tables: _Tables, rows: list[int], watch: Watch) -> list[Problem]:
    """Compare the checksums of all clips, block by block, on a few threads."""
    blocks = list(_blocks(snapshot, tables, rows))
    problems: list[Problem] = []
    done = 0
    if snapshot.mirror is not None:  # the first block may have to come over a slow network
        watch.progress(Progress(what="Verifying", unit="clips", done=done, total=len(rows)))
    with ThreadPoolExecutor(THREADS) as pool:
        for block, found in zip(
            blocks, pool.map(lambda block: _block_problems(snapshot, tables, block), blocks), strict=True
        ):
            problems += found
            done += len(block)
            watch.progress(Progress(what="Verifying", unit="clips", done=done, total=len(rows)))
    return problems


def _blocks(snapshot: Snapshot, tables: _Tables, rows: list[int]) -> Iterator[list[int]]:
    """Group neighbouring clips, so that small ones are read together."""
    frame_bytes = sum(spec.row_bytes for spec in snapshot.manifest.schema.frame_arrays().values())
    block: list[int] = []
    size = 0
    for row in rows:
        if block and (row != block[-1] + 1 or size >= BLOCK_BYTES):
            yield block
            block, size = [], 0
        block.append(row)
        size += int(tables.clips["count"][row]) * frame_bytes
    if block:
        yield block


def _block_problems(snapshot: Snapshot, tables: _Tables, block: list[int]) -> list[Problem]:
    problems = []
    schema = snapshot.manifest.schema
    for name, spec in (*schema.frame_arrays().items(), *schema.window_arrays().items()):
        problems += _array_problems(snapshot, tables, block, name, spec)
    if schema.crops:
        problems += [problem for row in block if (problem := _crop_problem(snapshot, tables, row))]
    return problems


def _array_problems(snapshot: Snapshot, tables: _Tables, block: list[int], name: str, spec: ArraySpec) -> list[Problem]:
    places = ("first_window", "windows") if spec.axis == "window" else ("start", "count")
    starts, counts = (tables.clips[name] for name in places)
    first, last = int(starts[block[0]]), int(starts[block[-1]] + counts[block[-1]])
    try:
        data = snapshot.rows(spec, first, last)
    except (CacheDamaged, OSError) as error:
        if len(block) == 1:
            return [Problem(what=f"{name}: {error}", clip=tables.name(block[0]), row=block[0])]
        return [problem for row in block for problem in _array_problems(snapshot, tables, [row], name, spec)]
    expected = tables.clips[CHECKSUMS + name]
    problems = []
    for row in block:
        begin = int(starts[row]) - first
        if checksum.of_rows(data[begin : begin + int(counts[row])]) != int(expected[row]):
            problems.append(Problem(what=f"{name} does not match its checksum", clip=tables.name(row), row=row))
    return problems


def _crop_problem(snapshot: Snapshot, tables: _Tables, row: int) -> Problem | None:
    arrays = snapshot.manifest.schema.crop_arrays()
    start, count = int(tables.clips["start"][row]), int(tables.clips["count"][row])
    try:
        offsets = snapshot.rows(arrays["crops/offset"], start, start + count + 1)
        if offsets[0] < 0 or offsets[-1] > snapshot.manifest.commit.counts.crop_bytes or (np.diff(offsets) < 0).any():
            return Problem(what="crops: the offsets do not ascend", clip=tables.name(row), row=row)
        found = checksum.of_crops(snapshot.rows(arrays["crops/data"], int(offsets[0]), int(offsets[-1])), offsets)
    except (CacheDamaged, OSError) as error:
        return Problem(what=f"crops: {error}", clip=tables.name(row), row=row)
    if found != int(tables.clips[CHECKSUMS + "crops"][row]):
        return Problem(what="crops do not match their checksum", clip=tables.name(row), row=row)
    return None


def _source_problem(tables: _Tables, row: int) -> Problem | None:
    clips = tables.clips
    what = source_problem(clips["path"][row], int(clips["source_bytes"][row]), bytes(clips["source_digest"][row]))
    return Problem(what=what, clip=tables.name(row), row=row) if what else None
