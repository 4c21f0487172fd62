"""What a cache holds, on one page: sizes, clips per label and subject, face coverage, failures, bytes per array."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..schema import DETECTED, INTERPOLATED, STRING, ColumnSpec
from ..stores.snapshot import is_hdf5, staging_path
from .reader import Cache


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of `est cache info`."""

    path: Path
    url: str  # that it lies at; empty for a cache on this machine
    store: str
    format: int  # version
    clips: int
    frames: int
    hours: float
    median_frames: float
    labels: dict[str, int]
    unlabelled: int
    subjects: int
    splits: dict[str, int]
    folds: dict[int, int]
    detected: float  # share of the frames
    interpolated: float
    without_face: int  # clips without any
    incomplete: int  # clips with fewer frames than their files declare
    decoders: dict[str, int]  # clips by what read them, those of which it is not known left out
    decode_errors: int  # clips of which the decoder reported errors
    extra: dict[str, str]  # extra columns → their types
    failures: dict[str, int]  # by stage
    failed_labels: dict[str, int]  # failures by label, those without one left out
    removed: int  # clips whose room convert gives back
    face_pictures: int  # JPEG crops of the clips
    removed_face_pictures: int  # of clips that were removed: the bytes are there still
    array_bytes: dict[str, int]
    disk_bytes: int  # of its files, with what is staged beside an HDF5 file
    recipes: dict[str, Any]
    fingerprints: dict[str, str]
    trained_on: dict[str, str]  # features tuned on labels → on which, in a few words
    environment: dict[str, Any]
    commit: dict[str, Any]
    missing: int  # inputs that the last extraction has left, as far as is known
    folded: bool  # False: the HDF5 file and a staging beside it

    @property
    def num_bytes(self) -> int:
        """Add up the arrays: what their rows take in memory."""
        return sum(self.array_bytes.values())

    @property
    def merged(self) -> list[str]:
        """Say in what the caches that it was merged from differ; a name may have been erased."""
        return [
            ": ".join(entry[key] for key in ("cache", "difference") if key in entry)
            for entry in self.environment.get("merged", ())
        ]


def disk_bytes(path: Path) -> int:
    """Add up the files of a cache; one that another process removes meanwhile counts nothing."""
    total = 0
    for place in (path, staging_path(path)):
        for file in [place] if place.is_file() else place.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                total += file.stat().st_size if file.is_file() else 0
    return total


KINDS = {STRING: "text", "int64": "whole numbers", "float64": "numbers"}


def describe_column(spec: ColumnSpec) -> str:
    """Return what stands in an extra column."""
    return f"rows of {spec.shape[0]} numbers" if spec.shape else KINDS[spec.dtype]


def summarise(cache: Cache) -> Summary:
    """Compute the figures of a cache."""
    manifest = cache.snapshot.manifest
    counts = manifest.commit.counts
    clips = {name: np.asarray(values) for name, values in cache.clips.columns.items() if not isinstance(values, list)}
    state = cache.load_column("state")
    time = cache.load_column("time")
    starts, sizes = clips["start"], clips["count"]
    live = np.zeros(counts.frames, bool)
    seconds, without = 0.0, 0
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        live[start : start + size] = True
        without += not state[start : start + size].any()
        seconds += float(time[start + size - 1] - time[start]) if size else 0.0
    frames = int(sizes.sum())
    pictures = np.zeros(counts.frames, bool)
    if cache.has_crops:
        pictures = np.diff(cache.snapshot.rows(cache.schema.crop_arrays()["crops/offset"], 0, counts.frames + 1)) > 0
    names = Counter(cache.clips.label_names)
    failed = Counter(failure.label for failure in cache.failures)
    return Summary(
        path=cache.path,
        url=cache.url,
        store="HDF5" if is_hdf5(cache.path) else "Zarr",
        format=manifest.version,
        clips=len(cache),
        frames=frames,
        hours=seconds / 3600,
        median_frames=float(np.median(sizes)) if len(sizes) else 0.0,
        labels={label: names[label] for label in cache.labels},
        unlabelled=names[None],
        subjects=len({subject for subject in cache.clips.columns["subject"] if subject}),
        splits=dict(Counter(split for split in cache.clips.columns["split"] if split)),
        folds={fold: count for fold, count in sorted(Counter(clips["fold"].tolist()).items()) if fold >= 0},
        detected=float((state[live] == DETECTED).mean()) if frames else 0.0,
        interpolated=float((state[live] == INTERPOLATED).mean()) if frames else 0.0,
        without_face=without,
        incomplete=int((clips["decoded"] < clips["declared"]).sum()),
        decoders=dict(sorted(Counter(name for name in cache.clips.columns.get("decoder", ()) if name).items())),
        decode_errors=int((clips["decode_errors"] > 0).sum()) if "decode_errors" in clips else 0,
        extra={name: describe_column(spec) for name, spec in cache.schema.extra.items()},
        failures=dict(Counter(failure.stage for failure in cache.failures)),
        failed_labels={label: failed[label] for label in cache.labels if failed[label]},
        removed=counts.clips - len(cache),
        face_pictures=int(pictures[live].sum()),
        removed_face_pictures=int(pictures[~live].sum()),
        array_bytes={name: counts.of(spec.axis) * spec.row_bytes for name, spec in cache.schema.arrays().items()},
        disk_bytes=disk_bytes(cache.path),
        recipes=cache.recipes.identity(),
        fingerprints=cache.recipes.fingerprints(),
        trained_on=manifest.describe_records(),
        environment=cache.environment,
        commit={"id": manifest.commit.id, "sequence": manifest.commit.sequence, "time": manifest.commit.time},
        missing=manifest.left,
        folded=not (is_hdf5(cache.path) and staging_path(cache.path).exists()),
    )
