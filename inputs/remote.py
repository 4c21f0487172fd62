"""Videos in an object store: `s3://BUCKET/FOLDER` and `gs://BUCKET/FOLDER` are listed, each object with its size and time.

Nothing is downloaded here. Only videos are clips: folders of frames and lists lie on this machine; lists may name URLs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..cache.clip import Source
from ..cache.remote.address import LISTED, Address
from ..cache.remote.client import THREADS, Listed, ObjectStore
from ..cache.remote.failures import NotThere
from ..errors import UsageError
from .csvlist import LIST_SUFFIXES, MANIFEST
from .folders import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_passed, kind_of, suffix_of


@dataclass(frozen=True, kw_only=True)
class FoundRemote:
    """What lies below a URL."""

    videos: Mapping[Path, Source]
    ignored: Counter[str]
    warnings: tuple[str, ...] = ()


def search_store(url: str) -> FoundRemote:
    """List the videos below a URL, or take the one that it names."""
    suffix = suffix_of(url)
    if suffix in LIST_SUFFIXES:
        raise UsageError(f"A list lies on this machine, found {url}.", remedy="download it; its paths may be URLs")
    if suffix in VIDEO_SUFFIXES:
        folder, _, name = url.rpartition("/")
        return FoundRemote(videos={Path(url): _source(ObjectStore(folder).describe(name))}, ignored=Counter())
    videos: dict[Path, Source] = {}
    ignored: Counter[str] = Counter()
    warnings: list[str] = []
    for one in ObjectStore(url).listing():
        path = PurePosixPath(one.name)
        if any(is_passed(part) for part in path.parts):
            continue
        if suffix_of(path.name) in VIDEO_SUFFIXES:
            videos[Path(f"{url}/{one.name}")] = _source(one)
        else:
            ignored[kind_of(Path(path))] += 1
            if one.name == MANIFEST:
                warnings.append(f"{url}/{MANIFEST} is not read: a list lies on this machine, and may name URLs.")
    if not videos and any(kind in IMAGE_SUFFIXES for kind in ignored):
        raise UsageError(
            f"{url} holds pictures and no videos; folders of frames are read from this machine.",
            remedy="download them, and name the folder",
        )
    return FoundRemote(videos=videos, ignored=ignored, warnings=tuple(warnings))


def look_up(urls: Collection[str]) -> dict[str, Source | str]:
    """Return what a store says of each object that a list names, or what is wrong with it."""
    stores: dict[str, ObjectStore] = {}
    for url in urls:
        if Address.parse(url).scheme in LISTED:
            folder = url.rpartition("/")[0]
            stores.setdefault(folder, ObjectStore(folder))

    def look(url: str) -> Source | str:
        folder, _, name = url.rpartition("/")
        if folder not in stores:
            return "a video over https:// is not read; download it, or copy it to a bucket"
        if suffix_of(name) not in VIDEO_SUFFIXES:
            return "a URL names a video, and this is none"
        try:
            return _source(stores[folder].describe(name))
        except NotThere:
            return "a URL that is not there"

    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(urls, pool.map(look, urls), strict=True))


def _source(listed: Listed) -> Source:
    return Source(num_bytes=listed.size, mtime_ns=listed.mtime_ns)
