"""`est cache upload` and `est cache download`: a cache to an object store and back, whole or not at all.

An upload begins with a verification, under the writer's lock: what is sent is one committed state. Objects that the store has already are
not sent again, so that the same command resumes. The list, sent last, makes it the cache at the URL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import CacheDamaged, CacheError, UsageError, counted, quoted
from ..reading.reader import open_cache
from ..remote.address import ZARR, expect_cache_url, mirrored, url_of
from ..remote.client import THREADS, ObjectStore
from ..remote.mirror import fetch
from ..remote.upload import FOLDER, LIST, Entry, Upload, read_upload
from ..stores.disk import PARTIAL, Disk, writing
from ..stores.lock import WriterLock
from ..stores.snapshot import Snapshot, is_hdf5, open_snapshot
from ..stores.zarr_format import METADATA, chunk_key, num_chunks
from ..watch import Progress, Watch
from .verify import verify_cache

ENDING = f"/{METADATA}"


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """What an upload did."""

    url: str
    commit: str
    clips: int
    files: int
    num_bytes: int  # of the cache
    sent: int  # objects
    sent_bytes: int
    left_over: int  # objects of earlier uploads, which the new list does not name
    left_over_bytes: int
    pruned: bool  # they are removed

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return asdict(self)

    def line(self) -> str:
        """Say it in a line or two."""
        size = f"{self.num_bytes / 1e6:.1f} MB"
        said = f"{counted(self.clips, 'clip')}, {size} at {self.url}; {self.sent_bytes / 1e6:.1f} MB were sent"
        if not self.left_over:
            return said
        rest = f"{self.left_over_bytes / 1e6:.1f} MB of earlier uploads"
        if self.pruned:
            return f"{said}, {rest} removed"
        return f"{said}\n{rest} are left for those who read them now; --prune removes them"


def upload_cache(
    path: Path | str, url: str, *, resend: bool = False, prune: bool = False, watch: Watch | None = None
) -> Uploaded:
    """Upload a `.zarr` cache to a URL, verified; the same call resumes.

    `resend` sends what is there already too, `prune` removes what earlier uploads left there: with it, one machine at a time
    uploads to a URL.
    """
    path, watch = Path(path), watch or Watch()
    target = _target(path, str(url))
    store = ObjectStore(target)
    lock = WriterLock(path)
    lock.acquire()
    try:
        snapshot = _sound(path, watch)
        upload = _list_files(snapshot, len(open_cache(path)), watch)
        listed = _sizes(store)
        there = {} if resend else listed
        missing = {name: entry for name, entry in upload.objects.items() if there.get(name) != entry.size}
        _send(store, path, upload, missing, watch)
        there = _sizes(store)  # once more: an upload from another machine may have pruned meanwhile
        gone = {name: entry for name, entry in upload.objects.items() if there.get(name) != entry.size}
        _send(store, path, upload, gone, watch)
        if open_snapshot(path).manifest.commit.id != upload.commit:
            raise CacheError(f"{path} has changed meanwhile; nothing was published.", remedy="the same command again")
        store.write(LIST, upload.encode())
    finally:
        lock.release()
    left = {name: size for name, size in listed.items() if name not in upload.objects}
    if prune and left:
        kept = read_upload(store)[0].objects  # another upload may have replaced this one already
        left = {name: size for name, size in left.items() if name not in kept}
        store.remove(left)
    return Uploaded(
        url=target,
        commit=upload.commit,
        clips=upload.clips,
        files=len(upload.files),
        num_bytes=upload.num_bytes,
        sent=len(missing | gone),
        sent_bytes=sum(entry.size for entry in (missing | gone).values()),
        left_over=len(left),
        left_over_bytes=sum(left.values()),
        pruned=prune,
    )


def download_cache(url: str, out: Path | str, *, watch: Watch | None = None) -> Path:
    """Write a cache at a URL into a folder of this machine, whole; the same call resumes."""
    source, out, watch, disk = url_of(url), Path(out), watch or Watch(), Disk()
    if source is None:
        raise UsageError(
            f"{url} is no URL.", remedy=f"est cache convert {quoted(url)} {quoted(out)} copies a cache of this machine"
        )
    expect_cache_url(source)
    if url_of(out) or out.suffix != ZARR:
        raise UsageError(
            f"A download is a .zarr folder of this machine, found {out}.", remedy=f"--out {out.stem}{ZARR}"
        )
    if out.exists():
        raise UsageError(f"{out} exists already.", remedy="choose another name, or remove it first")
    store = ObjectStore(source)
    upload, _ = read_upload(store)
    growing = out.with_name(out.name + PARTIAL)
    with writing(out):
        growing.mkdir(parents=True, exist_ok=True)
        wanted = {name: entry for name, entry in upload.files.items() if not _has(growing / name, entry)}
        fetch(store, wanted, growing, watch)
        for found in growing.rglob("*"):
            if found.is_file() and found.relative_to(growing).as_posix() not in upload.files:
                found.unlink()  # of another upload, or cut off
        disk.rename(growing, out)
    return out


def _target(path: Path, url: str) -> str:
    """Return the URL to upload to; refuse what cannot be uploaded, or not there."""
    target = url_of(url)
    if target is None:
        raise UsageError(
            f"An upload goes to a URL, found {url!r}.",
            remedy=f"est cache convert {quoted(path)} {quoted(url)} copies a cache",
        )
    expect_cache_url(target)
    if target.startswith("http"):
        raise UsageError(
            f"{target} is read only: a plain web server takes no uploads.",
            remedy="s3://… or gs://…, whose objects a server may then show",
        )
    if url_of(path) or mirrored(path):
        raise UsageError(f"{path} lies at a URL already.", remedy="est cache download URL --out CACHE.zarr first")
    if is_hdf5(path):
        zarr = quoted(f"{path.stem}.zarr")
        raise UsageError(
            f"A .zarr cache is uploaded, found {path}: an HDF5 file is read whole or not at all.",
            remedy=f"est cache convert {quoted(path)} {zarr}, then est cache upload {zarr} {quoted(target)}",
        )
    open_snapshot(path)  # says so where it is no cache, before a lock is made
    return target


def _sound(path: Path, watch: Watch) -> Snapshot:
    """Return the state to upload; refuse a damaged one, and one to which features are being added."""
    snapshot = open_snapshot(path)
    if snapshot.manifest.filling:
        raise UsageError(
            f"The features {', '.join(snapshot.manifest.filling)} are not there for all clips of {path} yet.",
            remedy="the est extract command that adds them, again",
        )
    if problems := verify_cache(path, watch=watch).problems:
        raise CacheDamaged(
            f"{path} is not uploaded: it has {counted(len(problems), 'problem')} ({problems[0].what}).",
            remedy=f"est cache verify {quoted(path)} --repair",
        )
    return snapshot


def _list_files(snapshot: Snapshot, clips: int, watch: Watch) -> Upload:
    """List the files that a commit counts on, with their digests."""
    names = list(_files(snapshot))
    files: dict[str, Entry] = {}
    with ThreadPoolExecutor() as pool:
        for name, entry in zip(names, pool.map(lambda name: _entry(snapshot.path / name), names), strict=True):
            files[name] = entry
            watch.progress(Progress(what="Hashing", unit="files", done=len(files), total=len(names)))
    return Upload(commit=snapshot.manifest.commit.id, clips=clips, files=files)


def _files(snapshot: Snapshot) -> Iterator[str]:
    schema, counts = snapshot.manifest.schema, snapshot.manifest.commit.counts
    yield METADATA
    yield from (group + ENDING for group in schema.groups())
    for spec in schema.arrays().values():
        yield spec.name + ENDING
        yield from (f"{spec.name}/{chunk_key(spec, index)}" for index in range(num_chunks(spec, counts.of(spec.axis))))


def _entry(path: Path) -> Entry:
    with path.open("rb") as file:
        return Entry(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size=file.tell())


def _sizes(store: ObjectStore) -> dict[str, int]:
    """Return the objects that are there."""
    return {one.name: one.size for one in store.listing(FOLDER)}


def _send(store: ObjectStore, path: Path, upload: Upload, missing: dict[str, Entry], watch: Watch) -> None:
    """Send objects, several at a time."""
    source = {entry.object: path / name for name, entry in upload.files.items()}

    def send(name: str) -> None:
        data = source[name].read_bytes()
        if hashlib.sha256(data).hexdigest() != missing[name].sha256:
            raise CacheError(f"{source[name]} has changed meanwhile.", remedy="the same command again")
        store.write(name, data)

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for done, _ in enumerate(pool.map(send, missing), 1):
                watch.progress(Progress(what="Uploading", unit="files", done=done, total=len(missing)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _has(path: Path, entry: Entry) -> bool:
    return path.is_file() and path.stat().st_size == entry.size and _entry(path) == entry
