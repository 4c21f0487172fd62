"""What an uploaded cache is: objects named by their content, and one list of them, written last.

    URL/est-upload.json         the list: every file of the cache, its size and SHA-256
    URL/files/SHA-256           their bytes

A reader takes the list first. One upload after another replaces the list in one request and no object, so that whoever reads sees one
state whole; a cut upload leaves objects that nothing lists, and the next one does not send them again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ...errors import CacheVersionError, EstError
from .client import ObjectStore
from .failures import NoBucket, NotThere, StoreError

LIST, FOLDER = "est-upload.json", "files"
FORMAT, VERSION = "est-upload", 1
FILE = re.compile(r"zarr\.json|c(\.\d+)+")  # the last part of a file's name
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of a cache."""

    size: int
    sha256: str

    @property
    def object(self) -> str:
        """Name its object below the URL."""
        return f"{FOLDER}/{self.sha256}"


@dataclass(frozen=True, kw_only=True)
class Upload:
    """The list of an upload."""

    commit: str  # of the cache
    clips: int
    files: Mapping[str, Entry]  # by name, `/` between folders

    @property
    def num_bytes(self) -> int:
        """Add up the files."""
        return sum(entry.size for entry in self.files.values())

    @property
    def objects(self) -> dict[str, Entry]:
        """Return the objects; files of one content are one object."""
        return {entry.object: entry for entry in self.files.values()}

    def encode(self) -> bytes:
        """Return the list's bytes, the same for the same state of a cache."""
        data = {
            "format": FORMAT,
            "version": VERSION,
            "commit": self.commit,
            "clips": self.clips,
            "files": {name: [entry.size, entry.sha256] for name, entry in sorted(self.files.items())},
        }
        return json.dumps(data, indent=0).encode()

    @classmethod
    def decode(cls, data: bytes, where: str) -> Self:
        """Read a list; nothing in it is believed that could lead out of a folder."""
        try:
            found: Any = json.loads(data)
            known = (found["format"], found["version"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StoreError(f"{where}/{LIST} is not the list of an upload.", remedy=_again(where)) from error
        if known != (FORMAT, VERSION):
            raise CacheVersionError(
                f"{where} is {known[0]} {known[1]}; this est reads {FORMAT} {VERSION}.",
                remedy="pip install --upgrade est-fer",
            )
        try:
            files = {name: Entry(size=size, sha256=sha256) for name, (size, sha256) in found["files"].items()}
            upload = cls(commit=found["commit"], clips=found["clips"], files=files)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{where}/{LIST} lacks or misnames something.", remedy=_again(where)) from error
        if (
            not isinstance(upload.commit, str)
            or type(upload.clips) is not int
            or not all(map(_is_sound, *zip(*files.items(), strict=True)))
        ):
            raise StoreError(f"{where}/{LIST} lists what no file of a cache can be.", remedy=_again(where))
        return upload


def read_upload(store: ObjectStore) -> tuple[Upload, bytes]:
    """Read the list of an upload, or say that there is none, or none yet."""
    try:
        data = store.read(LIST)
    except NotThere as error:
        if isinstance(error, NoBucket):
            raise
        raise _no_upload(store) from error
    return Upload.decode(data, store.url), data


def _no_upload(store: ObjectStore) -> EstError:
    begun = not store.url.startswith("http") and store.holds(FOLDER)  # a plain server lists nothing
    if begun:
        return StoreError(
            f"{store.url} was not uploaded to its end: its list {LIST}, which is written last, is not there.",
            remedy=f"est cache upload CACHE {store.url}, again: what is there is not sent again",
        )
    return NotThere(
        f"There is no cache at {store.url}: no {LIST}, which an upload writes last.",
        remedy=f"check the URL; est cache upload CACHE {store.url} makes one",
    )


def _is_sound(name: object, entry: Entry) -> bool:
    return (
        isinstance(name, str)
        and _is_below(name)
        and type(entry.size) is int
        and entry.size >= 0
        and isinstance(entry.sha256, str)
        and DIGEST.fullmatch(entry.sha256) is not None
    )


def _is_below(name: str) -> bool:
    """Say whether a file's name leads downwards alone, to what a Zarr cache is made of."""
    *folders, file = name.split("/")
    odd = any(part in ("", ".", "..") for part in folders) or any(sign in name for sign in "\\\0")
    return not odd and FILE.fullmatch(file) is not None


def _again(where: str) -> str:
    return f"est cache upload CACHE {where}"
