"""Reading a cache: `open_cache(path)` shows its last commit, also while a writer appends.

A `Cache` holds the clip table in memory and reads rows by position when asked. It keeps no handle that a forked worker could spoil;
pickled, it opens the same path again and insists on the same state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np

from ...errors import CacheDamaged, CacheError, UsageError, quoted
from ..clip import Failure, Windows, failure_of
from ..recipe import Recipes
from ..remote.address import local_path, repair_of
from ..schema import CHECKSUMS, FRAME_COLUMNS, NO_FACE, WINDOW_ARRAYS, Schema
from ..stores.manifest import Extraction
from ..stores.snapshot import Snapshot, is_hdf5, is_outdated, open_snapshot, staging_path
from ..trained import TrainedOn
from .cliptable import ClipTable

ITERATE_BYTES = 256 * 2**20
ATTEMPTS = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """Rows of one feature array, and which of them show a face. Rows without a face are zeros."""

    rows: np.ndarray  # (frames, *shape)
    mask: np.ndarray  # (frames,) True where there is a face


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipFrames:
    """All rows of one clip."""

    id: str
    index: int  # in the clip table
    features: dict[str, np.ndarray]
    mask: np.ndarray
    state: np.ndarray
    time: np.ndarray
    box: np.ndarray
    landmarks: np.ndarray
    score: np.ndarray


class Cache:
    """A committed state of a cache."""

    def __init__(self, snapshot: Snapshot, clips: ClipTable, failures: list[Failure]) -> None:
        self._snapshot = snapshot
        self.path = snapshot.path
        self.clips = clips
        self._failures = failures

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open the last commit of a cache."""
        path = local_path(path)
        for _ in range(ATTEMPTS):
            snapshot = open_snapshot(path)
            try:
                clips, failures = ClipTable.read(snapshot), _read_failures(snapshot)
            except CacheDamaged:
                if is_outdated(snapshot):
                    continue
                raise
            if not is_outdated(snapshot):
                return cls(snapshot, clips, failures)
        raise CacheError(
            f"{path} keeps changing while it is being read.", remedy="try again when its writer has finished"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path.absolute(), self.commit_id)

    def __len__(self) -> int:
        return len(self.clips)

    def __repr__(self) -> str:
        return (
            f"<Cache {self.url or self.path}: {len(self)} clips, {self.num_frames} frames, {', '.join(self.features)}>"
        )

    @property
    def url(self) -> str:
        """Return the URL that it lies at; empty for a cache on this machine. `path` is then that of its mirror."""
        return self._snapshot.mirror.url if self._snapshot.mirror else ""

    @property
    def place(self) -> str:
        """Name where it is found again: its URL, or its absolute path."""
        return self.url or str(self.path.absolute())

    @property
    def ids(self) -> list[str]:
        """Name the clips, in order."""
        return self.clips.ids

    @property
    def labels(self) -> tuple[str, ...]:
        """Name the labels, in order."""
        return self._snapshot.manifest.labels

    @property
    def features(self) -> list[str]:
        """Name the feature arrays with a row per frame."""
        return list(self.schema.features)

    @property
    def window_features(self) -> list[str]:
        """Name the feature arrays with a row per window."""
        return list(self.schema.window_features)

    @property
    def recipes(self) -> Recipes:
        """Return how the rows were made."""
        return self._snapshot.manifest.recipes

    @property
    def schema(self) -> Schema:
        """Return the arrays."""
        return self._snapshot.manifest.schema

    @property
    def reads_like_opencv(self) -> bool:
        """Return whether `--decoder opencv` would give the same rows: no clip was read by another decoder."""
        decoders = self.clips.columns.get("decoder", [self.recipes.frames.decoder])
        return set(decoders) <= {"opencv", "pictures", ""}

    @property
    def commit_id(self) -> str:
        """Name the state that is shown."""
        return self._snapshot.manifest.commit.id

    @property
    def has_crops(self) -> bool:
        """Return whether the JPEG crops are here."""
        return self._snapshot.manifest.crops

    @property
    def targets(self) -> tuple[str, ...]:
        """Name the columns of `clips.target`."""
        return self._snapshot.manifest.targets

    @property
    def black(self) -> dict[str, tuple[float, ...]]:
        """Return what the backbone makes of a black crop, for flat features whose extraction kept it."""
        return dict(self._snapshot.manifest.black)

    @property
    def environment(self) -> dict[str, Any]:
        """Return what the cache was started with."""
        return dict(self._snapshot.manifest.environment)

    @property
    def extraction(self) -> Extraction | None:
        """Return how far the last extraction into it came; None where it has not recorded itself."""
        return self._snapshot.manifest.extraction

    @property
    def num_frames(self) -> int:
        """Count the rows of a feature array, those of removed clips included."""
        return self._snapshot.manifest.commit.counts.frames

    @property
    def snapshot(self) -> Snapshot:
        """Return the rows themselves, for verifying and copying."""
        return self._snapshot

    def trained_on(self, feature: str) -> TrainedOn | None:
        """Return what the weights behind a feature have learnt from; None for labels that they have not seen."""
        if feature not in self.schema.window_features:
            self._feature(feature)
        manifest, name = self._snapshot.manifest, self.recipes.features[feature].trained_on
        if feature in manifest.lacking_records:
            raise CacheDamaged(
                f"{self.path}: the record {name} of what the weights of {feature!r} have learnt from is missing.",
                remedy="extract again with these weights, whose file has the record",
            )
        return manifest.trained_on[name] if name else None

    def load(self, feature: str = "gap") -> Frames:
        """Read a whole feature array; clip i is rows `clips.start[i]` to `clips.start[i] + clips.count[i]`."""
        spec = self._feature(feature)
        return Frames(rows=self._snapshot.rows(spec, 0, self.num_frames), mask=self.load_column("state") != NO_FACE)

    def load_windows(self, feature: str) -> Windows:
        """Read a whole array of windows; clip i has rows `clips.first_window[i]` on, `clips.windows[i]` of them."""
        self._expect_windows(feature)
        return self._windows([feature], 0, self._snapshot.manifest.commit.counts.windows)

    def windows(self, which: str | int, features: Sequence[str] | None = None) -> Windows:
        """Read the windows of one clip."""
        names = self.window_features if features is None else list(features)
        for name in names or [""]:
            self._expect_windows(name)
        index = self.clips.index(which)
        start = int(np.asarray(self.clips.first_window)[index])
        return self._windows(names, start, start + int(np.asarray(self.clips.windows)[index]))

    def load_column(self, name: str) -> np.ndarray:
        """Read box, landmarks, score, time or state of all frames."""
        if name not in FRAME_COLUMNS:
            raise UsageError(f"A frame has {', '.join(FRAME_COLUMNS)}, found {name!r}.")
        return self._snapshot.rows(self.schema.frame_arrays()[name], 0, self.num_frames)

    def clip(self, which: str | int, features: Sequence[str] | None = None) -> ClipFrames:
        """Read one clip, by id or by its place in the table."""
        index = self.clips.index(which)
        start = int(self.clips.start[index])
        return self._read([index], start, start + int(self.clips.count[index]), features)[0]

    def crops(self, which: str | int) -> list[bytes]:
        """Read a clip's JPEG crops, empty where there is no face."""
        index = self.clips.index(which)
        start, count = int(self.clips.start[index]), int(self.clips.count[index])
        data, offsets = self.crop_rows(start, start + count)
        offsets = offsets - offsets[0]
        return [data[a:b].tobytes() for a, b in pairwise(offsets)]

    def crop_rows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Read the JPEG bytes of a range of frames, and the offsets of each."""
        arrays = self.schema.crop_arrays()
        if not arrays:
            raise UsageError(f"{self.path} has no crops.", remedy="extract with --crops")
        offsets = self._snapshot.rows(arrays["crops/offset"], start, stop + 1)
        if (
            offsets[0] < 0
            or (np.diff(offsets) < 0).any()
            or offsets[-1] > self._snapshot.manifest.commit.counts.crop_bytes
        ):
            raise CacheDamaged(
                f"{self.path}: the offsets of the crops of frames {start} to {stop} do not match their checksum.",
                remedy=repair_of(self.path),
            )
        return self._snapshot.rows(arrays["crops/data"], int(offsets[0]), int(offsets[-1])), offsets

    def iterate(
        self,
        features: Sequence[str] | None = None,
        *,
        which: Sequence[int] | np.ndarray | None = None,
        max_bytes: int = ITERATE_BYTES,
    ) -> Iterator[ClipFrames]:
        """Yield clips one by one, reading neighbours together in at most `max_bytes` (one clip at least)."""
        order = range(len(self)) if which is None else [self.clips.index(int(place)) for place in which]
        row_bytes = sum(self._feature(name).row_bytes for name in self._features(features)) + 100
        group: list[int] = []
        for index in order:
            start = int(self.clips.start[index])
            stop = start + int(self.clips.count[index])
            if group:
                follows = start == int(self.clips.start[group[-1]] + self.clips.count[group[-1]])
                if not follows or (stop - int(self.clips.start[group[0]])) * row_bytes > max_bytes:
                    yield from self._read_group(group, features)
                    group = []
            group.append(index)
        if group:
            yield from self._read_group(group, features)

    def select(
        self,
        *,
        label: str | Sequence[str] | None = None,
        subject: str | Sequence[str] | None = None,
        split: str | Sequence[str] | None = None,
        fold: int | Sequence[int] | None = None,
    ) -> np.ndarray:
        """Return the places of the clips that meet all conditions."""
        return self.clips.select(label=label, subject=subject, split=split, fold=fold)

    @property
    def failures(self) -> list[Failure]:
        """List what could not be extracted."""
        return list(self._failures)

    def group(self) -> Any:
        """Open the store with its own library, read-only, for what this class does not offer: a zarr.Group or an h5py.File."""
        if staging_path(self.path).exists():
            raise CacheError(
                f"{self.path} has clips that are still in its staging folder.",
                remedy=f"est cache verify {quoted(self.path)} --repair, or the next est extract, moves them into the file",
            )
        if is_hdf5(self.path):
            from ..stores.hdf5_format import open_file

            return open_file(self.path)
        if self._snapshot.mirror is not None:
            self._snapshot.mirror.bring_all()
        import zarr

        return zarr.open_group(self.path, mode="r")

    def told_features(self, *, of_windows: bool = False) -> str:
        """Name the features of frames, or those of windows, for a sentence that begins with `the cache has`."""
        names = self.window_features if of_windows else self.features
        if of_windows:
            return f"the features {', '.join(names)} of windows" if names else "no features of windows"
        return f"the features {', '.join(names)}" if names else "no features of frames"

    def _windows(self, names: Sequence[str], start: int, stop: int) -> Windows:
        arrays = self.schema.window_arrays()
        places = {
            name.removeprefix("window_"): self._snapshot.rows(arrays[name], start, stop) for name in WINDOW_ARRAYS
        }
        return Windows(**places, features={name: self._snapshot.rows(arrays[name], start, stop) for name in names})

    def _expect_windows(self, name: str) -> None:
        if name not in self.schema.window_features:
            raise UsageError(f"{self.path} has {self.told_features(of_windows=True)}, asked for {name!r}.")

    def _feature(self, name: str) -> Any:
        if name in self.schema.window_features:
            raise UsageError(
                f"{name!r} of {self.path} has a row per window, and not per frame.", remedy="cache.load_windows"
            )
        if name not in self.recipes.features:
            raise UsageError(
                f"{self.path} has {self.told_features()}, asked for {name!r}.",
                remedy=f"est extract … --features {','.join([*self.features, name])} adds them",
            )
        return self.schema.frame_arrays()[name]

    def _features(self, names: Sequence[str] | None) -> list[str]:
        return self.features if names is None else list(names)

    def _read_group(self, group: list[int], features: Sequence[str] | None) -> list[ClipFrames]:
        start = int(self.clips.start[group[0]])
        return self._read(group, start, int(self.clips.start[group[-1]] + self.clips.count[group[-1]]), features)

    def _read(self, group: list[int], start: int, stop: int, features: Sequence[str] | None) -> list[ClipFrames]:
        """Read a run of frames and cut it into its clips."""
        arrays = self.schema.frame_arrays()
        names = self._features(features)
        rows = {name: self._snapshot.rows(self._feature(name), start, stop) for name in names}
        columns = {name: self._snapshot.rows(arrays[name], start, stop) for name in FRAME_COLUMNS}
        found = []
        for index in group:
            first = int(self.clips.start[index]) - start
            cut = slice(first, first + int(self.clips.count[index]))
            found.append(
                ClipFrames(
                    id=self.clips.ids[index],
                    index=index,
                    features={name: rows[name][cut] for name in names},
                    mask=columns["state"][cut] != NO_FACE,
                    **{name: column[cut] for name, column in columns.items()},
                )
            )
        return found


def open_cache(path: Path | str) -> Cache:
    """Open the last committed state of a `.zarr`, `.h5` or `.hdf5` cache, also while it is being written; or one at a URL.

    Nothing is read but the table of clips. `cache.clips.to_pandas()` is that table, `cache.load("gap")` the rows of all frames,
    `cache.clip(id)` what is known of one clip.

    >>> cache = est.open_cache("cache.zarr")
    >>> len(cache), cache.labels
    (4, ('anger', 'disgust', 'happiness', 'neutral'))
    >>> cache.load("gap").rows.shape == (cache.num_frames, 512)
    True
    >>> cache.clips.to_pandas()[["id", "label", "subject"]].head(1).values.tolist()
    [['anger/s001_01', 'anger', 's001']]
    """
    return Cache.open(path)


def _read_failures(snapshot: Snapshot) -> list[Failure]:
    specs = snapshot.manifest.schema.failure_columns()
    columns = {name: snapshot.column(spec) for name, spec in specs.items() if not name.startswith(CHECKSUMS)}
    rows = np.flatnonzero(columns["live"]).tolist()
    return [
        failure_of({name: column[row] for name, column in columns.items()}, snapshot.manifest.labels, snapshot.path)
        for row in rows
    ]


def _reopen(path: Path, commit_id: str) -> Cache:
    cache = Cache.open(path)
    if cache.commit_id != commit_id:
        raise CacheError(f"{path} has changed since it was opened in another process.", remedy="open it again there")
    return cache
