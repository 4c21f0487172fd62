"""Writing a cache again in its place: without some of its clips, or with more columns. The bytes of what is left out are gone afterwards.

The copy is verified before it takes the old one's place; until then the old one is untouched. It has the newest format.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import CacheDamaged, CacheError, UsageError, quoted, some
from ..reading.reader import Cache
from ..recipe import Recipes
from ..remote.address import expect_writable
from ..schema import ColumnSpec
from ..stores.disk import PARTIAL, Disk, expect_free_space, writing
from ..stores.lock import WriterLock
from ..stores.manifest import REPAIR
from ..stores.snapshot import open_snapshot, replaced_path
from ..trained import TrainedOn, hex_digest
from ..watch import Watch
from ..writing.fold import SLACK_BYTES, num_bytes
from ..writing.writer import CacheWriter
from .copying import Wanted, bring_back, replacing, write_copy

FACE = re.compile(r"(.+)#[1-9]\d*")  # one of several clips of an input


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What an erasure took out of a cache."""

    clips: tuple[str, ...]
    failures: tuple[str, ...]
    known_as: tuple[str, ...]  # ids of all that went, those that were removed earlier too
    left: int  # clips
    features: tuple[str, ...]  # whose weights have learnt from some of them, and whose records no longer say so
    removed: int  # clips that were removed or replaced earlier, whose bytes were there still
    labels: tuple[str, ...]  # names of the erased that were labels and that no clip has: they are gone, too
    traces: tuple[str, ...]  # what still has the name of one of them: a label, a feature, a cache that was merged


def erase_clips(
    path: Path | str,
    ids: Collection[str] = (),
    *,
    subjects: Collection[str] = (),
    watch: Watch | None = None,
    disk: Disk | None = None,
) -> Erased:
    """Take clips and people out of a cache: rows, crops and names, also in its records of what weights have learnt from.

    >>> _ = est.convert_cache("cache.zarr", "copy.zarr")
    >>> _ = est.erase_clips("copy.zarr", subjects=["s000"])
    >>> est.open_cache("copy.zarr").ids  # those of s001 are left
    ['anger/s001_01', 'disgust/s001_00']
    """
    if not all((*ids, *subjects)):
        raise UsageError(
            "Expected ids of clips or names of subjects, found an empty one. Nothing is erased.",
            remedy="est cache ls shows them",
        )
    expect_writable(Path(path))
    path = Path(path).resolve()
    with naming_repair(path):
        fold_staging(path, disk)
        cache = Cache.open(path)
        return _erase(cache, clips_named(cache, ids), subjects, watch, disk)


def _erase(
    cache: Cache, ids: Collection[str], subjects: Collection[str], watch: Watch | None, disk: Disk | None
) -> Erased:
    clips, failures = _named(cache, ids, subjects)
    gone, digests = _known_as(cache, clips, ids, subjects)
    failures += [one.id for one in cache.failures if one.id in gone and one.id not in failures]  # of the same input
    gone |= set(failures) - (set(cache.ids) - set(clips))
    people = set(subjects)
    records = {
        name: record.without(clips=gone, digests=digests, subjects=people)
        for name in cache.recipes.features
        if (record := cache.trained_on(name)) is not None
    }
    changed = tuple(name for name, record in records.items() if record != cache.trained_on(name))
    names = {*clips, *failures, *ids, *subjects}
    idle = _idle_labels(cache, {*clips, *failures}, names)
    labels = [label for label in cache.labels if label not in idle]
    removed = cache.snapshot.manifest.commit.counts.clips - len(cache)
    rewrite(cache, without=clips, without_failures=failures, records=records, labels=labels, watch=watch, disk=disk)
    return Erased(
        clips=tuple(clips),
        failures=tuple(failures),
        known_as=tuple(sorted({*gone, *clips, *failures, *ids})),
        left=len(cache) - len(clips),
        features=changed,
        removed=removed,
        labels=idle,
        traces=tuple(_traces(cache.path, names)),
    )


def add_columns(
    path: Path | str, columns: Mapping[str, ColumnSpec], *, watch: Watch | None = None, disk: Disk | None = None
) -> None:
    """Give a cache extra columns without values."""
    path = Path(path).resolve()
    with naming_repair(path):
        fold_staging(path, disk)
        rewrite(Cache.open(path), columns=columns, watch=watch, disk=disk)


def clips_named(cache: Cache, ids: Collection[str]) -> list[str]:
    """Return the ids of the clips to erase: where `--face all` made several clips of an input, its id means all of them."""
    with naming_repair(cache.path):
        past, _ = _past(cache)
        known = dict.fromkeys([*cache.ids, *(failure.id for failure in cache.failures), *past])
    faces: dict[str, list[str]] = {}
    for name in known:
        if face := FACE.fullmatch(name):
            faces.setdefault(face[1], []).append(name)
    live = set(cache.ids)
    found = []
    for one in ids:
        several = [] if one in live else faces.get(one, [])
        found += [one] if one in known or not several else []
        found += several
    return list(dict.fromkeys(found))


@contextmanager
def naming_repair(path: Path) -> Generator[None]:
    """Let errors about damaged rows name the command that repairs the cache."""
    try:
        yield
    except CacheDamaged as error:
        if error.remedy == REPAIR or (error.remedy is not None and "verify" not in error.remedy):
            raise
        remedy = f"est cache verify {quoted(path)} --repair drops what is damaged; then run the same command again"
        raise CacheDamaged(error.message, remedy=remedy) from error.__cause__


def finish_rewriting(path: Path | str, disk: Disk | None = None) -> None:
    """Bring a cache back whose rewriting was interrupted, and remove what that left."""
    expect_writable(Path(path))
    path = Path(path).resolve()
    old = replaced_path(path)
    if not old.exists() and not old.with_name(old.name + PARTIAL).exists():
        return
    lock = WriterLock(path)
    lock.acquire()
    try:
        with writing(path):
            bring_back(path, disk or Disk())
    finally:
        lock.release()


def fold_staging(path: Path, disk: Disk | None) -> None:
    """Move staged clips into a cache, as every session of a writer does at its end."""
    finish_rewriting(path, disk)
    with CacheWriter.open(path, disk=disk) as writer:
        if writer.manifest.filling:
            names = ", ".join(writer.manifest.filling)
            raise UsageError(
                f"{path} is incomplete: only some of its clips have the features {names}.",
                remedy="finish that extraction first",
            )


def rewrite(
    cache: Cache,
    *,
    without: Collection[str] = (),
    without_failures: Collection[str] = (),
    columns: Mapping[str, ColumnSpec] | None = None,
    records: Mapping[str, TrainedOn] | None = None,
    labels: Sequence[str] | None = None,
    watch: Watch | None = None,
    disk: Disk | None = None,
) -> None:
    """Write a cache again in its place; `records` replace those of its features, `labels` its own."""
    disk, watch = disk or Disk(), watch or Watch()
    if records is None:
        names = cache.recipes.features
        records = {name: record for name in names if (record := cache.trained_on(name)) is not None}
    recipes = {
        name: replace(recipe, trained_on=records[name].fingerprint if name in records else "")
        for name, recipe in cache.recipes.features.items()
    }
    manifest = cache.snapshot.manifest
    wanted = Wanted(features={name: recipe.dtype for name, recipe in recipes.items()}, crops=cache.has_crops)
    with replacing(cache.path, disk) as growing:
        if open_snapshot(cache.path).manifest.commit.id != cache.commit_id:
            raise CacheError(
                f"{cache.path} has changed meanwhile; nothing was rewritten.", remedy="run the same command again"
            )
        expect_free_space(cache.path.parent, num_bytes(manifest) + SLACK_BYTES, f"Rewriting {cache.path.name}")
        write_copy(
            cache,
            growing,
            Recipes(frames=cache.recipes.frames, features=recipes),
            wanted,
            what="Rewriting",
            without=without,
            without_failures=without_failures,
            watch=watch,
            disk=disk,
            labels=cache.labels if labels is None else labels,
            targets=cache.targets,
            layout=manifest.layout,
            environment=cache.environment,
            black=cache.black,
            trained_on=records.values(),
            columns={**cache.schema.extra, **(columns or {})},
            extraction=cache.extraction,
        )


def _idle_labels(cache: Cache, gone: Collection[str], names: Collection[str]) -> tuple[str, ...]:
    """Return the labels that are a name of the erased, and that neither a clip nor a failure that stays has."""
    used = {label for clip_id, label in zip(cache.ids, cache.clips.label_names, strict=True) if clip_id not in gone}
    used |= {failure.label for failure in cache.failures if failure.id not in gone}
    folded = {name.casefold() for name in names}
    return tuple(label for label in cache.labels if label not in used and label.casefold() in folded)


def _traces(path: Path, names: Collection[str]) -> Iterator[str]:
    """Return what in the attributes of a cache has one of some names: nothing there is changed for a name alone."""
    cache = Cache.open(path)
    words = {name: re.compile(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", re.IGNORECASE) for name in sorted(names)}
    places = [("the label", label) for label in cache.labels]
    places += [("the feature", f"{name} {recipe.fold}") for name, recipe in cache.recipes.features.items()]
    places += [("the weights", recipe.weights) for recipe in cache.recipes.features.values()]
    for record in cache.snapshot.manifest.trained_on.values():
        places += [("a fold that weights have learnt from", fold) for fold in record.folds] + [("a record", record.how)]
    found = [(what, text) for what, text in places if any(word.search(text) for word in words.values())]
    telling = [word for name, word in words.items() if not name.isdigit()]  # a number stands in many a version
    found += [("the environment", text) for text in texts(cache.environment) if any(w.search(text) for w in telling)]
    yield from dict.fromkeys(f"{what} {text.strip()!r}" for what, text in found)


def texts(data: Any) -> Iterator[str]:
    """Yield every text in nested lists and mappings, keys left out."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping | list | tuple):
        for part in data.values() if isinstance(data, Mapping) else data:
            yield from texts(part)


def _known_as(
    cache: Cache, clips: Collection[str], ids: Collection[str], subjects: Collection[str]
) -> tuple[set[str], set[str]]:
    """Return ids, and digests of sources, by which records know what goes; clips that were removed earlier are in the table still."""
    columns = cache.schema.clip_columns()
    names, people, digests = (cache.snapshot.column(columns[name]) for name in ("id", "subject", "source_digest"))
    gone = set(clips)
    stay = set(cache.ids) - gone
    lost, sources, kept = set(gone), set(), set()
    for name, person, digest in zip(names, people, map(hex_digest, digests), strict=True):
        if name not in stay and (name in gone or name in ids or person in subjects):
            lost.add(name)
            sources.add(digest)
        else:
            kept.add(digest)
    return lost, sources - kept


def _named(cache: Cache, ids: Collection[str], subjects: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the clips and failures of some ids and subjects, or say which are not there."""
    failures = {failure.id: failure.subject for failure in cache.failures}
    people = np.asarray(cache.clips.subject, object)
    clips = [one for one, subject in zip(cache.ids, people, strict=True) if one in ids or subject in subjects]
    failed = [one for one, subject in failures.items() if one in ids or subject in subjects]
    past, past_people = _past(cache)
    unknown = [one for one in ids if one not in past and one not in failures]
    idle = {
        label.casefold() for label in _idle_labels(cache, (), subjects)
    }  # may be erased, although no clip has it any more
    strangers = [
        one
        for one in subjects
        if one not in past_people and one not in failures.values() and one.casefold() not in idle
    ]
    if unknown or strangers:
        what = f"clip {some(map(repr, unknown))}" if unknown else f"subject {some(map(repr, strangers))}"
        raise UsageError(f"{cache.path} has no {what}; nothing is erased.", remedy=f"est cache ls {quoted(cache.path)}")
    if not ids and not subjects:
        raise UsageError("Expected a subject or a clip to erase, found none.", remedy="--subject S, or --clip ID")
    return clips, failed


def _past(cache: Cache) -> tuple[set[str], set[str]]:
    """Return the ids and subjects in a cache, removed ones too."""
    columns = cache.schema.clip_columns()
    ids, people = (set(cache.snapshot.column(columns[name])) for name in ("id", "subject"))
    for name in cache.recipes.features:
        if (record := cache.trained_on(name)) is not None:
            ids, people = ids | set(record.clips), people | set(record.subjects)
    return ids, people
