"""The writer of a cache: adds whole clips, and commits them in groups, atomically and durably.

A commit falls due after 20 s or 128 MB. Chunks are written and flushed first, then the root's attributes are replaced: that is the commit.
Leaving the `with` block commits what is whole, also after Ctrl-C or an error; a normal end folds an HDF5 cache into its file.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from ...errors import CacheError, RecipeMismatch, UsageError, quoted, some
from .. import checksum
from ..clip import Clip, Failure, Source, checked_rows, clip_row, crop_rows, failure_of, failure_row, typed_update
from ..environment import datasets_in
from ..interrupt import uninterrupted
from ..recipe import FeatureRecipe, Recipes, expect_recipes
from ..schema import CHECKSUMS, NO_LABEL, ColumnSpec, Counts, FeatureSpec, Layout
from ..stores.disk import Disk, writing
from ..stores.lock import WriterLock
from ..stores.manifest import Edits, Extraction, Manifest, expect_environment, expect_settings
from ..stores.snapshot import Snapshot, is_hdf5, no_cache, open_snapshot, replaced_path, staging_path
from ..trained import TrainedOn, records_for
from .appender import Appender, changed_files
from .creation import clean_up, continue_hdf5, create, expect_last_commit, is_begun, root_file
from .filling import FeatureFiller
from .fold import fold
from .table import Table, same_cell, shown

COMMIT_SECONDS = 20.0
COMMIT_BYTES = 128 * 2**20

Status = Literal["new", "unchanged", "changed", "failed"]


class CacheWriter:
    """Adds, replaces, removes and relabels clips. Use as a context manager; one per cache at a time."""

    def __init__(self, snapshot: Snapshot, lock: WriterLock, disk: Disk) -> None:
        self.path = snapshot.path
        self.root = staging_path(self.path) if is_hdf5(self.path) else self.path
        self.manifest = snapshot.manifest
        self.environment_changes: list[str] = []
        self.missing_features: dict[str, FeatureRecipe] = {}  # asked for, not in the cache yet
        self._records = dict(self.manifest.trained_on)  # with those that were given
        self._lock, self._disk, self._broken = lock, disk, False
        self._recorded = self.manifest  # as it is committed
        self._begun = {self.manifest.commit.id}  # one of these commits is the last: Ctrl-C may have cut one off
        self._last_commit = time.monotonic()
        schema, counts = self.manifest.schema, self.manifest.commit.counts
        arrays = {**schema.frame_arrays(), **schema.window_arrays(), **schema.crop_arrays()}
        self._arrays = {name: Appender.open(snapshot, spec, counts.of(spec.axis)) for name, spec in arrays.items()}
        self.clips = Table.open(snapshot, schema.clip_columns())
        self.failures = Table.open(snapshot, schema.failure_columns())
        self._tables = {"clips": self.clips, "failures": self.failures}
        self._row_of, self._failure_of = self.clips.live_rows("id"), self.failures.live_rows("id")
        self._fillers = {
            name: FeatureFiller.open(snapshot, name, filling, self.clips)
            for name, filling in self.manifest.filling.items()
        }

    @classmethod
    def open(
        cls,
        path: Path | str,
        recipes: Recipes | None = None,
        *,
        labels: Sequence[str] = (),
        targets: Sequence[str] = (),
        crops: bool = False,
        layout: Layout | None = None,
        environment: Mapping[str, Any] | None = None,
        black: Mapping[str, tuple[float, ...]] | None = None,
        trained_on: Iterable[TrainedOn] = (),
        columns: Mapping[str, ColumnSpec] | None = None,
        extraction: Extraction | None = None,
        strict: bool = False,
        disk: Disk | None = None,
    ) -> Self:
        """Open a cache to write, or make it; without `recipes` only an existing one is opened. `trained_on`: the records that they name."""
        path, disk = Path(path), disk or Disk()
        records = {record.fingerprint: record for record in trained_on}
        lock = WriterLock(path)
        if not is_begun(path) and (recipes is None or replaced_path(path).exists()):
            raise no_cache(path)
        if not path.parent.is_dir():
            raise UsageError(f"The folder {path.parent} does not exist.", remedy=f"mkdir -p {quoted(path.parent)}")
        lock.acquire()
        try:
            with writing(path):
                if is_begun(path):  # another writer may have started it before this one had the lock
                    snapshot = clean_up(open_snapshot(path), disk)
                    if recipes is not None:
                        expect_settings(snapshot.manifest, targets, crops, columns or {}, path)
                elif recipes is None:
                    raise no_cache(path)
                else:
                    manifest = Manifest(
                        recipes=recipes,
                        labels=tuple(labels),
                        targets=tuple(targets),
                        crops=crops,
                        layout=layout or Layout(),
                        environment=environment or {},
                        black=black or {},
                        trained_on=records_for(recipes.features.values(), records),
                        extra=columns or {},
                        extraction=extraction,
                    )
                    snapshot = create(path, manifest, disk)
                missing = expect_recipes(snapshot.manifest.recipes, recipes, path) if recipes is not None else {}
                changes = expect_environment(snapshot.manifest, environment or {}, path, strict=strict)
                if is_hdf5(path) and not staging_path(path).exists():
                    snapshot = continue_hdf5(snapshot, disk)
            writer = cls(snapshot, lock, disk)
            writer.environment_changes = changes
            writer.missing_features = missing
            writer._records |= records
            writer._add_labels(labels)
            writer.manifest = writer.manifest.with_datasets(datasets_in(environment or {}))
        except BaseException:
            lock.release()
            raise
        return writer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close(folding=error is None)

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._row_of

    @property
    def features(self) -> Mapping[str, FeatureSpec]:
        """The arrays that each clip is added with."""
        return self.manifest.schema.features

    @property
    def stale_lock(self) -> str | None:
        """Name the writer that died on this cache before, if one did."""
        return self._lock.stale

    def status(self, clip_id: str, source: Source) -> Status:
        """Return whether a clip is here, of this very source; a source is unchanged when its size and time are."""
        for name, rows, table in (("unchanged", self._row_of, self.clips), ("failed", self._failure_of, self.failures)):
            row = rows.get(clip_id)
            if row is not None:
                stored = (table.value("source_bytes", row), table.value("source_mtime_ns", row))
                return name if stored == (source.num_bytes, source.mtime_ns) else "changed"
        return "new"

    def failure(self, clip_id: str) -> Failure | None:
        """Return what is recorded of an input that failed."""
        row = self._failure_of.get(clip_id)
        values = None if row is None else {name: self.failures.value(name, row) for name in self.failures.specs}
        return None if values is None else failure_of(values, self.manifest.labels, self.path)

    def begin(self, extraction: Extraction) -> None:
        """Record what an extraction is to do, durably; one with nothing left to do only ends an earlier one that had."""
        if extraction.left or self.manifest.left:
            self.manifest = replace(self.manifest, extraction=extraction)
            self.commit()

    def one_less(self) -> None:
        """Record that an input of the extraction that was started is done; it is committed together with its clips or its failure."""
        if (known := self.manifest.extraction) is not None and known.left:
            self.manifest = replace(self.manifest, extraction=replace(known, left=known.left - 1))

    def add(self, clip: Clip, *, replacing: bool = False) -> None:
        """Add a clip; with `replacing` in the place of the one of that id. A failure recorded under its id is forgotten."""
        if self._fillers or self.missing_features:
            names = sorted({*self._fillers, *self.missing_features})
            raise CacheError(
                f"{self.path} lacks {', '.join(names)} for its earlier clips.",
                remedy="fill them first: writer.fill(name, recipe)",
            )
        if clip.id in self._row_of and not replacing:
            raise CacheError(f"A clip {clip.id!r} is in {self.path} already.", remedy="give each input its own id")
        rows = checked_rows(clip, self.manifest.schema)
        first_window = self._arrays["window_start"].rows if clip.windows is not None else 0
        values = clip_row(clip, self.clips.specs, start=self._arrays["state"].rows, first_window=first_window)
        values |= {CHECKSUMS + name: checksum.of_rows(array) for name, array in rows.items()}
        if clip.crops is not None:
            pictures, values[CHECKSUMS + "crops"] = crop_rows(clip.crops, self._arrays["crops/data"].rows)
            rows |= pictures
        with self._whole():
            values["label"] = self._label_code(clip.label)
            for name, array in rows.items():
                self._arrays[name].append(array)
            row = self.clips.append(values)
            if clip.id in self._row_of:
                self._drop(clip.id)
            self._row_of[clip.id] = row
            self.forget(clip.id)
        self.commit_if_due()

    def fill(self, name: str, recipe: FeatureRecipe) -> FeatureFiller:
        """Start, or resume, adding a feature array to the clips in the cache; see `FeatureFiller`."""
        if name not in self._fillers:
            if name in self.manifest.recipes.features:
                raise CacheError(f"{self.path} has the features {name!r} already.")
            self.commit()
            manifest = self.manifest.with_filling(name, recipe, self._records)
            with writing(self.path):
                self._fillers[name] = FeatureFiller.create(self.root, name, manifest, self.clips, self._disk)
            self.manifest = manifest
        elif self._fillers[name].recipe != recipe:
            raise RecipeMismatch(
                f"{name!r} is being added to {self.path} with another recipe.",
                remedy="finish adding with that recipe first",
            )
        self.missing_features.pop(name, None)
        return self._fillers[name]

    def fail(self, failure: Failure) -> None:
        """Record an input that could not be extracted."""
        values = failure_row(failure, self.manifest.schema)
        with self._whole():
            values["label"] = self._label_code(failure.label)
            self.forget(failure.id)
            self._failure_of[failure.id] = self.failures.append(values)
        self.commit_if_due()

    def forget(self, clip_id: str) -> None:
        """Remove the record of a failure, if there is one."""
        with self._whole():
            row = self._failure_of.pop(clip_id, None)
            if row is not None:
                self.failures.change(row, {"live": 0})

    def remove(self, clip_ids: Sequence[str]) -> None:
        """Remove clips; `est cache convert` frees their space."""
        self._expect_clips(clip_ids)
        with self._whole():
            for clip_id in dict.fromkeys(clip_ids):
                self._drop(clip_id)
            for filler in self._fillers.values():
                filler.skip_removed()

    def num_frames(self, clip_id: str) -> int:
        """Count the frames of a clip."""
        return int(self.cell(clip_id, "count"))

    def cell(self, clip_id: str, column: str) -> Any:
        """Return what a clip's row says, a label by its number."""
        return self.clips.value(column, self._row_of[clip_id])

    def update(self, clip_id: str, **values: Any) -> list[str]:
        """Set a clip's, or else a failure's, columns of `UPDATED`, or extra ones; return changes as `label: sad → fear`."""
        failed = clip_id in self._failure_of and clip_id not in self
        if not failed:
            self._expect_clips([clip_id])
        table, row = (self.failures, self._failure_of[clip_id]) if failed else (self.clips, self._row_of[clip_id])
        who = f"{'Failure' if failed else 'Clip'} {clip_id!r}"
        num_frames = 0 if failed else self.num_frames(clip_id)
        new = {name: typed_update(who, name, value, table.specs, num_frames) for name, value in values.items()}
        with self._whole():
            if "label" in new:
                new["label"] = self._label_code(new["label"])
            old = {name: table.value(name, row) for name in new}
            changed = {n: v for n, v in new.items() if not same_cell(old[n], v)}
            if changed:
                table.change(row, changed)
        if "label" in changed:
            old["label"] = self.manifest.labels[old["label"]] if old["label"] != NO_LABEL else None
        return [f"{name}: {shown(old[name])} → {shown(values[name])}" for name in changed]

    def commit_if_due(self) -> None:
        """Commit when 20 s or 128 MB have passed."""
        if self.pending_bytes >= COMMIT_BYTES or time.monotonic() - self._last_commit >= COMMIT_SECONDS:
            self.commit()

    @property
    def pending_bytes(self) -> int:
        """Count the bytes of rows that wait for a commit."""
        return sum(array.pending_rows * array.spec.row_bytes for array in self._growing())

    def commit(self) -> None:
        """Make all that was added or changed durable, at once."""
        if self._broken:
            raise CacheError(
                f"An earlier change of {self.path} failed.", remedy="open the cache again: what was committed is intact"
            )
        self._last_commit = time.monotonic()
        if not self._is_dirty():
            return
        manifest = self._next_manifest()
        try:
            with writing(self.path):
                expect_last_commit(self.path, self.root, self._begun)
                self._begun.add(manifest.commit.id)
                self._disk.write_all(changed_files(self.root, self._growing(), self._tables, self.manifest.edits))
                self._disk.write(*root_file(self.root, manifest))
                self._disk.flush_folder(self.root)
        except CacheError:
            self._broken = True  # a Ctrl-C does not: the same commit can be made again
            raise
        with self._whole():
            self.manifest = manifest
            self._recorded = manifest
            for part in (*self._growing(), self.clips, self.failures):
                part.settle()
            for name in [name for name in self._fillers if name in manifest.recipes.features]:
                filler = self._fillers.pop(name)
                self._arrays[name] = filler.rows
                self.clips.add_column(CHECKSUMS + name, filler.checksums.spec, filler.all_checksums())

    def close(self, *, folding: bool = True) -> None:
        """Commit what is whole and let the next writer in; `folding` ends the staging of an HDF5 cache."""
        try:
            if not self._broken:
                self.commit()
                self.commit()  # by now the arrays hold the edits: they leave the attributes
                if folding and is_hdf5(self.path) and not self._fillers:
                    with writing(self.path):
                        expect_last_commit(self.path, self.root, self._begun)
                        self._fold()
        finally:
            self._broken = True
            self._lock.release()

    def _fold(self) -> None:
        staging = self.manifest.staging
        assert staging is not None, "a staged cache has a record of the file that it continues"
        if staging.commit and self.manifest.commit.sequence == staging.sequence + 1:
            self._disk.remove(self.root)  # nothing was committed but the staging itself: the file stays as it is
        else:
            fold(open_snapshot(self.path), self._disk)

    @contextmanager
    def _whole(self) -> Generator[None]:
        """Change what is in memory whole: Ctrl-C waits, and after an error nothing of it is committed."""
        with uninterrupted():
            try:
                yield
            except BaseException:
                self._broken = True
                raise

    def _growing(self) -> Iterator[Appender]:
        yield from self._arrays.values()
        for filler in self._fillers.values():
            yield from (filler.rows, filler.checksums)

    def _is_dirty(self) -> bool:
        """Return whether a commit would change anything; edits that the arrays hold by now are such a change."""
        grown = any(table.length > table.committed for table in (self.clips, self.failures))
        pending = any(array.pending_rows for array in self._growing())
        done = any(filler.is_done for filler in self._fillers.values())
        told = self.manifest.told != self._recorded.told
        return grown or pending or done or told or self._next_edits() != self.manifest.edits

    def _next_manifest(self) -> Manifest:
        counts = Counts(
            clips=self.clips.length,
            frames=self._arrays["state"].rows,
            crop_bytes=self._arrays["crops/data"].rows if self.manifest.crops else 0,
            failures=self.failures.length,
            windows=self._arrays["window_start"].rows if self.manifest.schema.window_features else 0,
        )
        return self.manifest.following(
            self.manifest.commit.following(counts, edited=bool(self.clips.edits or self.failures.edits)),
            edits=self._next_edits(),
            done={name: filler.recipe for name, filler in self._fillers.items() if filler.is_done},
            filling={name: filler.state() for name, filler in self._fillers.items() if not filler.is_done},
        )

    def _next_edits(self) -> Edits:
        found = {name: table.next_edits(self.manifest.edits.get(name, {})) for name, table in self._tables.items()}
        return {name: edits for name, edits in found.items() if edits}

    def _expect_clips(self, clip_ids: Sequence[str]) -> None:
        unknown = [clip_id for clip_id in clip_ids if clip_id not in self._row_of]
        if unknown:
            found = f"{self.path} has no clip {some(map(repr, unknown))}."
            raise UsageError(found, remedy=f"est cache ls {quoted(self.path)}")

    def _drop(self, clip_id: str) -> None:
        self.clips.change(self._row_of.pop(clip_id), {"live": 0})

    def _label_code(self, label: str | None) -> int:
        """Return the number of a label; a new one is put behind the others."""
        if label is None:
            return NO_LABEL
        self._add_labels([label])
        return self.manifest.labels.index(label)

    def _add_labels(self, labels: Sequence[str]) -> None:
        new = tuple(label for label in labels if label not in self.manifest.labels)
        if new:
            self.manifest = replace(self.manifest, labels=(*self.manifest.labels, *new))
