"""The objects below a URL, by the package obstore: bytes by name, in ranges where they are many; asked again where a store is busy.

The client itself repeats requests that are answered by 429, 503 or another 5xx, or not at all, with longer and longer pauses. It
does not repeat an answer that breaks off: that is done here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ...errors import CacheDamaged, UsageError
from ...packages import expect_packages
from .address import Address, allows_http, expect_encrypted
from .credentials import s3_settings
from .failures import CutOff, NotThere, asking, watch_forks

THREADS = 16  # requests at a time: their answers take long to begin, and little work
RANGE_BYTES = 8 * 2**20  # of one request
MOST_BYTES = 256 * 2**20  # of an object whose size nothing says: the list of millions of files
ATTEMPTS = 4  # at an answer that breaks off
RETRIES, LONGEST = 8, 120  # of a request, and seconds for all of them
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 20.0  # seconds
CONNECT_SECONDS, ANSWER_SECONDS = 10, 120


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An object of a listing."""

    name: str  # below the URL
    size: int
    mtime_ns: int
    etag: str | None  # another one where the bytes are others; some stores give none


class ObjectStore:
    """The objects below a URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._library, self._store = _open(Address.parse(url))

    def read(self, name: str, size: int | None = None) -> bytes:
        """Read an object; one of many bytes, whose number is known, in ranges at the same time."""
        if size is None or size <= RANGE_BYTES:
            return self._again(name, lambda: self._read_whole(name, MOST_BYTES if size is None else size))
        out = bytearray(size)
        self.read_into(name, size, lambda start, data: out.__setitem__(slice(start, start + len(data)), data))
        return bytes(out)

    def read_into(self, name: str, size: int, take: Callable[[int, bytes], object]) -> None:
        """Hand over an object range by range, from several threads, in any order."""

        def fetch(start: int) -> None:
            end = min(size, start + RANGE_BYTES)
            take(
                start,
                self._again(name, lambda: bytes(self._library.get_range(self._store, name, start=start, end=end))),
            )

        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(fetch, range(0, size, RANGE_BYTES)):
                pass

    def write(self, name: str, data: bytes) -> None:
        """Write an object; it is there whole or not at all."""
        with asking(f"{self.url}/{name}"):
            self._library.put(self._store, name, data)

    def listing(self, folder: str = "") -> list[Listed]:
        """List the objects below a folder."""
        with asking(f"{self.url}/{folder}".rstrip("/")):
            return [_listed(one) for batch in self._library.list(self._store, folder or None) for one in batch]

    def describe(self, name: str) -> Listed:
        """Say what there is to say of an object."""
        with asking(f"{self.url}/{name}"):
            found = self._library.head(self._store, name)
        return _listed(found | {"path": name})

    def holds(self, folder: str) -> bool:
        """Say whether there is anything below a folder; False where that cannot be told."""
        try:
            with asking(self.url):
                return any(self._library.list(self._store, folder, chunk_size=1))
        except NotThere:
            return False

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects."""
        with asking(self.url):
            self._library.delete(self._store, list(names))

    def _read_whole(self, name: str, most: int) -> bytes:
        """Read an object that is not larger than it may be: it lies in memory."""
        found = self._library.get(self._store, name)
        if found.meta["size"] > most:
            raise CacheDamaged(
                f"{self.url}/{name} has {found.meta['size']:,} bytes, expected at most {most:,}: it is not what was uploaded.",
                remedy=f"est cache upload CACHE {self.url} --resend",
            )
        return bytes(found.bytes())

    def _again(self, name: str, ask: Callable[[], bytes]) -> bytes:
        """Ask once more where an answer breaks off."""
        for attempt in range(ATTEMPTS):
            try:
                with asking(f"{self.url}/{name}"):
                    return ask()
            except CutOff:
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(FIRST_PAUSE * 2**attempt)
        raise AssertionError("the last attempt returns or raises")


def _listed(meta: Mapping[str, Any]) -> Listed:
    """Return what a store says of an object; its times are whole seconds, or thousandths."""
    mtime_ns = round(meta["last_modified"].timestamp() * 1000) * 10**6
    return Listed(name=meta["path"], size=meta["size"], mtime_ns=mtime_ns, etag=meta.get("e_tag"))


def _open(address: Address) -> tuple[Any, Any]:
    """Return the library and its store of a URL."""
    expect_packages(
        "What lies in an object store is read by obstore", "obstore", install="'est-fer[stores]'", kind=UsageError
    )
    import obstore
    from obstore import store

    retry: Any = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=LONGEST),
        "backoff": {
            "init_backoff": timedelta(seconds=FIRST_PAUSE),
            "max_backoff": timedelta(seconds=LONGEST_PAUSE),
            "base": 2,
        },
    }
    client: Any = {
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "timeout": timedelta(seconds=ANSWER_SECONDS),
        "user_agent": "est",
    }
    common: Any = {"client_options": client, "retry_config": retry}
    watch_forks()
    with asking(address.url):
        if address.scheme == "s3":
            settings: Any = s3_settings(address.url)
            if endpoint := settings.get("endpoint", ""):
                expect_encrypted(endpoint)
                client["allow_http"] = endpoint.startswith("http://")
            return obstore, store.S3Store(address.host, prefix=address.key or None, **settings, **common)
        if address.scheme == "gs":
            client["allow_http"] = allows_http()
            return obstore, store.GCSStore(address.host, prefix=address.key or None, **common)
        client["allow_http"] = address.scheme == "http"
        return obstore, store.HTTPStore(address.url, **common)
