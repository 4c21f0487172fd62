"""`s3://BUCKET/PATH`, `gs://BUCKET/PATH`, `https://HOST/PATH`: URLs, and how one is told from a path.

`pathlib` folds the two slashes of a URL into one, so that a parameter of the kind `Path` is `s3:/BUCKET/PATH`: both are the same URL.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ...errors import UsageError, quoted

if TYPE_CHECKING:
    from ..watch import Watch
    from .mirror import Mirror

EXAMPLE = "such as s3://bucket/folder/cache.zarr, gs://bucket/cache.zarr or https://host/cache.zarr"
ALLOW_HTTP = "EST_ALLOW_HTTP"  # set to 1: data may cross a network in plain text
RECORD = "est-mirror.json"  # in a mirror: the URL; written last
ZARR, HDF5 = ".zarr", (".h5", ".hdf5")  # as snapshot.py has them
LISTED = ("s3", "gs")  # schemes of stores that list what they hold
URL = re.compile(r"(s3|gs|https?):/+(.*)", re.DOTALL)


def url_of(place: Path | str) -> str | None:
    """Return the URL that a text or path is; None for a path on this machine."""
    found = URL.fullmatch(str(place))
    return f"{found[1]}://{found[2].rstrip('/')}" if found else None


def local_path(place: Path | str, watch: Watch | None = None) -> Path:
    """Return where a cache can be read on this machine: its own path, or that of the mirror of its URL."""
    url = url_of(place)
    if url is None:
        return Path(place)
    from .mirror import mirror_of  # here: the client of object stores is an extra

    return mirror_of(url, watch).root


def mirrored(root: Path) -> Mirror | None:
    """Return the mirror that a folder is; None where it is another."""
    if not (root / RECORD).exists():
        return None
    from .mirror import Mirror

    return Mirror(root)


def shown(place: Path | str) -> str:
    """Return a place for a message: a URL with both of its slashes."""
    return url_of(place) or str(place)


@dataclass(frozen=True, kw_only=True)
class Address:
    """A URL and its parts."""

    url: str
    scheme: str
    host: str  # or the bucket
    key: str  # the path without its first slash

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take a URL apart, or say what is wrong with it."""
        found = URL.fullmatch(url)
        host, _, key = (found[2] if found else "").strip("/").partition("/")
        if found is None or not host:
            raise UsageError(f"A URL has a bucket or host, found {url!r}.", remedy=EXAMPLE)
        if "@" in host:
            raise UsageError(
                f"A URL holds no user name or password, found one in that of {host.rpartition('@')[2]}: runs keep URLs.",
                remedy="credentials by the environment, as docs/stores.md lists them",
            )
        if "?" in key or "#" in key:
            raise UsageError(f"A URL of many files has no ? or #, found {url.partition('?')[0]}?…", remedy=EXAMPLE)
        address = cls(url=url, scheme=found[1], host=host, key=key)
        if address.scheme == "http":
            expect_encrypted(url)
        return address

    @property
    def name(self) -> str:
        """Return the last part of the path."""
        return self.key.rpartition("/")[2]


def expect_cache_url(url: str) -> None:
    """Refuse a URL that is not named as an uploaded cache is."""
    if not Address.parse(url).key:
        raise UsageError(f"The URL of a cache has a bucket or host and a path, found {url!r}.", remedy=EXAMPLE)
    if url.endswith(HDF5):
        raise UsageError(
            f"A cache in an object store is a .zarr one, found {url}.",
            remedy="est cache convert CACHE.h5 CACHE.zarr, then est cache upload CACHE.zarr URL.zarr",
        )
    if not url.endswith(ZARR):
        raise UsageError(f"A cache in an object store is named .zarr, found {url}.", remedy=f"{url}.zarr")


def expect_writable(place: Path) -> None:
    """Refuse to change what lies at a URL, or its mirror."""
    url = url_of(place)
    if url is None and (mirror := mirrored(place)):
        url = mirror.url
    if url is not None:
        raise UsageError(
            f"{url} is a URL: a cache there is read, and never changed in place.",
            remedy=f"est cache download {url} --out CACHE.zarr, the same command on that, then est cache upload CACHE.zarr {url}",
        )


def repair_of(place: Path | str) -> str:
    """Return the command for a damaged cache: one on this machine is repaired, a mirror fetched again."""
    if url_of(place) is None and (mirror := mirrored(Path(place))):
        return f"est cache mirrors {quoted(mirror.url)} --remove, then the same command again"
    return f"est cache verify {quoted(place)} --repair"


def expect_encrypted(url: str) -> None:
    """Refuse to send plain text over a network, but where the user wants it; a server on this machine needs no encryption."""
    host = re.sub(r"^http://", "", url).partition("/")[0]
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if url.startswith("http://") and not _is_here(name) and not allows_http():
        raise UsageError(
            f"{url} is not encrypted: whoever is on the way can read the features, and change them.",
            remedy=f"https://…; or {ALLOW_HTTP}=1 in a network that you trust",
        )


def allows_http() -> bool:
    """Say whether the user wants plain text to cross the network."""
    return os.environ.get(ALLOW_HTTP) == "1"


def _is_here(host: str) -> bool:
    import ipaddress  # here: every command imports this file

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
