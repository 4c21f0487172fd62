"""Copying clips from one cache into another: used by merge and convert.

What is read is compared with its checksums first, so that damage is not given new ones. The copy grows under a name of its own and
takes its place when it is whole.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import CacheDamaged, UsageError, quoted, some
from .. import checksum
from ..clip import Clip, Failure, Source, Windows
from ..reading.reader import Cache, ClipFrames
from ..recipe import Recipes
from ..remote.address import repair_of
from ..schema import CHECKSUMS, FRAME_COLUMNS, NEW_COLUMNS, WINDOW_ARRAYS
from ..stores.disk import PARTIAL, Disk, writing
from ..stores.lock import WriterLock
from ..stores.snapshot import Column, is_hdf5, replaced_path, staging_path
from ..trained import TrainedOn, hex_digest
from ..watch import Progress, Watch
from ..writing.writer import CacheWriter
from .verify import spoilt_rows, verify_cache

TOLD = tuple(name for name in NEW_COLUMNS if name in Clip.__dataclass_fields__)  # the others are computed from the rows


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a copy takes over."""

    features: dict[str, str]  # name → dtype; of frames and of windows
    crops: bool
    landmarks: bool = True
    names: bool = True  # paths, names of subjects, sources, and ids that tell them
    seed: int = 0  # of the order of clips and failures and of pseudonyms, where names are lost: the order of ids tells names, too

    def order(self, total: int) -> list[int]:
        """Return which clip, or failure, comes at each place of the copy."""
        return list(range(total)) if self.names else np.random.default_rng(self.seed).permutation(total).tolist()

    def person(self, subject: str) -> str:
        """Return what a person is called in the copy: clips of one person stay together, so that halves can be divided by person."""
        return subject if self.names or not subject else f"person-{self._drawn(f'person:{subject}')[:12]}"

    @property
    def salt(self) -> str:
        """Return the salt of the names that records keep as hashes."""
        return self._drawn("salt")[:16]

    def _drawn(self, what: str) -> str:
        """Return random digits for something, the same ones for the same thing; the seed is not kept."""
        return hashlib.sha256(f"{self.seed}:{what}".encode()).hexdigest()


def copied_clips(cache: Cache, wanted: Wanted) -> Iterator[Clip]:
    """Yield the clips of a cache as they are to be added to another; those that lose their names are numbered."""
    columns = cache.schema.clip_columns()
    stored = {name: cache.snapshot.column(columns[CHECKSUMS + name]) for name in cache.schema.checked}
    table = {name: cache.snapshot.column(spec) for name, spec in columns.items()}
    if spoilt := set(spoilt_rows(table, columns)) & set(cache.clips.rows.tolist()):
        names = some(repr(table["id"][row]) for row in sorted(spoilt))
        raise CacheDamaged(
            f"{cache.path}: the row of the clip table of {names} does not match its checksum.",
            remedy=repair_of(cache.path),
        )
    names = [name for name in cache.features if name in wanted.features]
    of_windows = [name for name in cache.window_features if name in wanted.features]
    for place, frames in enumerate(cache.iterate(names, which=wanted.order(len(cache)))):
        _expect_sound(cache, frames, stored, names)
        crops = _sound_crops(cache, frames, stored) if wanted.crops else None
        windows = _sound_windows(cache, frames, stored, of_windows) if of_windows else None
        yield _clip(cache, frames, wanted, crops, windows, number=place)


def write_copy(
    cache: Cache,
    out: Path,
    recipes: Recipes,
    wanted: Wanted,
    *,
    what: str,
    without: Collection[str] = (),
    without_failures: Collection[str] = (),
    watch: Watch,
    disk: Disk,
    **settings: Any,
) -> None:
    """Write a cache into a new one, but clips and failures of some ids, and verify it; `settings` are those of the writer."""
    with CacheWriter.open(out, recipes, crops=wanted.crops, disk=disk, **settings) as writer:
        for done, clip in enumerate(copied_clips(cache, wanted), start=1):
            if clip.id not in without:
                writer.add(clip)
            watch.progress(Progress(what=what, unit="clips", done=done, total=len(cache)))
        for failure in copied_failures(cache, wanted):
            if failure.id not in without_failures:
                writer.fail(failure)
    report = verify_cache(out)
    if report.problems or report.clips != sum(one not in without for one in cache.ids):
        what = report.problems[0].what if report.problems else "clips are missing"
        raise CacheDamaged(f"The copy is not sound: {what}.")


def copied_record(cache: Cache, feature: str, wanted: Wanted) -> TrainedOn | None:
    """Return what a copy says that the weights behind a feature have learnt from.

    Without names: its own clips and people by their new ones; others, and the content of all sources, as hashes.
    """
    record = cache.trained_on(feature)
    if record is None or wanted.names:
        return record
    clips = cache.clips
    first = np.asarray(clips.first_frame)
    spans = np.stack([first, first + np.asarray(clips.count)], axis=1)
    by_id, by_content = record.seen(cache.ids, [hex_digest(digest) for digest in clips.source_digest], spans)
    seen = (by_id | by_content)[wanted.order(len(cache))]
    here, people = set(cache.ids), set(clips.subject)
    others = replace(
        record,
        clips=tuple(one for one in record.clips if one not in here),
        subjects=tuple(one for one in record.subjects if one not in people),
    ).hashed(wanted.salt)
    known = record.knows_subjects(sorted(people))
    own = [wanted.person(one) for one, is_known in zip(sorted(people), known.tolist(), strict=True) if is_known]
    return replace(
        others,
        clips=(*map(shared_id, np.flatnonzero(seen).tolist()), *others.clips),
        subjects=(*own, *others.subjects),
    )


def shared_id(number: int) -> str:
    """Return the id of a clip that loses its own."""
    return f"clip{number:06d}"


def copied_failures(cache: Cache, wanted: Wanted) -> Iterator[Failure]:
    """Yield the failures of a cache as they are to be recorded in another; without names, what scores need of them."""
    extracted = set(cache.ids)
    # without names: where an earlier extraction gave a clip, that stands for the failure
    failures = [failure for failure in cache.failures if wanted.names or failure.id not in extracted]
    for number, place in enumerate(wanted.order(len(failures))):
        unnamed = {
            "id": f"failure{number:06d}",
            "path": "",
            "error": "",
            "subject": wanted.person(failures[place].subject),
            "source": Source(),
            "extra": {},
        }
        yield failures[place] if wanted.names else replace(failures[place], **unnamed)


@contextmanager
def creating(out: Path, disk: Disk) -> Generator[Path]:
    """Yield the temporary name of a new cache; it becomes `out` if the block succeeds, and is removed if not."""
    if (is_hdf5(out) and staging_path(out).exists()) or out.exists():  # another suffix is refused
        raise UsageError(f"{out} exists already.", remedy="choose another name, or remove it first")
    if not out.parent.is_dir():
        raise UsageError(f"The folder {out.parent} does not exist.", remedy=f"mkdir -p {quoted(out.parent)}")
    with _growing(out, disk) as growing:
        yield growing
        disk.rename(growing, out)


@contextmanager
def replacing(path: Path, disk: Disk) -> Generator[Path]:
    """Yield the temporary name of another state of a cache; it replaces the old one if the block succeeds.

    A directory cannot be replaced at once: for a moment the old one has another name (`replaced_path`).
    """
    old = replaced_path(path)
    with _growing(path, disk) as growing:
        yield growing
        shutil.copymode(path, growing)
        if is_hdf5(path):
            disk.rename(growing, path)
        else:
            disk.remove(old)
            disk.rename(path, old)
            disk.rename(growing, path)
            disk.remove(old)


def bring_back(path: Path, disk: Disk) -> None:
    """Restore the name of a cache if replacing it was interrupted; if the new state was in place, remove the old one."""
    old = replaced_path(path)
    disk.remove(old.with_name(old.name + PARTIAL))
    if not old.exists():
        return
    if not path.exists():
        disk.rename(old, path)
    elif set(Cache.open(path).ids) <= set(Cache.open(old).ids):
        disk.remove(old)
    else:
        raise UsageError(
            f"{old} is an earlier version of {path} with other clips.",
            remedy="keep the right one, and remove the other",
        )


@contextmanager
def _growing(out: Path, disk: Disk) -> Generator[Path]:
    """Yield a temporary name beside a cache, while no other writer is active."""
    growing = out.with_name(f".{out.stem}.growing{out.suffix}")
    lock = WriterLock(out)
    lock.acquire()
    try:
        with writing(out):
            _clear(growing, disk)
            try:
                yield growing
            except BaseException:
                _clear(growing, disk)
                raise
    finally:
        lock.release()


def _clear(growing: Path, disk: Disk) -> None:
    """Remove what a failed copy has left."""
    for path in (growing, staging_path(growing)):
        disk.remove(path)
        disk.remove(path.with_name(path.name + PARTIAL))


def _expect_sound(cache: Cache, frames: ClipFrames, stored: dict[str, Column], features: list[str]) -> None:
    row = int(cache.clips.rows[frames.index])
    found = {
        **{name: getattr(frames, name) for name in FRAME_COLUMNS},
        **{name: frames.features[name] for name in features},
    }
    for name, rows in found.items():
        if checksum.of_rows(rows) != int(np.asarray(stored[name])[row]):
            raise _damaged(cache, frames, name)


def _sound_crops(cache: Cache, frames: ClipFrames, stored: dict[str, Column]) -> list[bytes]:
    start = int(cache.clips.start[frames.index])
    data, offsets = cache.crop_rows(start, start + len(frames.state))
    if checksum.of_crops(data, offsets) != int(np.asarray(stored["crops"])[int(cache.clips.rows[frames.index])]):
        raise _damaged(cache, frames, "crops")
    return [data[a:b].tobytes() for a, b in pairwise(offsets - offsets[0])]


def _sound_windows(cache: Cache, frames: ClipFrames, stored: dict[str, Column], names: list[str]) -> Windows:
    windows = cache.windows(frames.index, names)
    found = {**{name: getattr(windows, name.removeprefix("window_")) for name in WINDOW_ARRAYS}, **windows.features}
    for name, rows in found.items():
        if checksum.of_rows(rows) != int(np.asarray(stored[name])[int(cache.clips.rows[frames.index])]):
            raise _damaged(cache, frames, name)
    return windows


def _damaged(cache: Cache, frames: ClipFrames, name: str) -> CacheDamaged:
    return CacheDamaged(
        f"{cache.path}: {name} of clip {frames.id!r} does not match its checksum.",
        remedy=repair_of(cache.path),
    )


def _clip(
    cache: Cache,
    frames: ClipFrames,
    wanted: Wanted,
    crops: list[bytes] | None,
    windows: Windows | None,
    *,
    number: int,
) -> Clip:
    row = cache.clips.row(frames.index)
    named: dict[str, Any] = {"id": row["id"], "path": row["path"]} if wanted.names else {"id": shared_id(number)}
    source = Source(num_bytes=row["source_bytes"], mtime_ns=row["source_mtime_ns"], digest=bytes(row["source_digest"]))
    return Clip(
        **named,
        subject=wanted.person(row["subject"]),
        **{name: row[name] for name in ("label", "split", "fold", "fps", "rotation", "declared", "first_frame")},
        target=None if not cache.targets or np.isnan(row["target"]).all() else row["target"],
        size=(row["size"][0], row["size"][1]),
        mirrored=bool(row["mirrored"]),
        source=source if wanted.names else Source(),
        **{name: getattr(frames, name) for name in ("state", "time", "box", "score")},
        landmarks=frames.landmarks if wanted.landmarks else np.full_like(frames.landmarks, np.nan),
        features={name: _cast(rows, wanted.features[name]) for name, rows in frames.features.items()},
        crops=crops,
        windows=windows
        and replace(windows, features={n: _cast(rows, wanted.features[n]) for n, rows in windows.features.items()}),
        **{name: row[name] for name in TOLD if name in row},
        extra=row.get("extra", {}) if wanted.names else {},
    )


def _cast(rows: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):  # what does not fit is refused when it is added
        return rows.astype(dtype, copy=False)
