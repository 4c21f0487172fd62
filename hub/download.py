"""Files from a hub at a pinned revision, compared with the digest that the hub lists; of weights safetensors alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError, some
from . import client
from .client import Hub, HubError, Kind, Listing, RemoteFile
from .names import COMMIT, HubName

SAFE = ".safetensors"
USUAL = ("backbone.safetensors", "model.safetensors")  # taken where there are several


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """A file that is here."""

    name: HubName  # pinned
    path: Path


def fetch_weights(text: str, folder: Path | None = None, *, hub: Hub | None = None) -> Downloaded:
    """Return the weights of a name; a pinned one that was downloaded before needs no network."""
    name = HubName.parse(text)
    if name.file and not name.file.endswith(SAFE):
        raise _no_safetensors(name, [name.file])
    hub = hub or client.open_hub()
    if name.is_pinned and (path := hub.cached(name.repo, "model", name.revision, name.file, folder)):
        return Downloaded(name=name, path=path)
    listing = hub.listing(name.repo, "model", name.revision)
    return fetch_file(pinned(name, _chosen(name, listing), listing), "model", listing, folder, hub=hub)


def pinned(name: HubName, file: str, listing: Listing) -> HubName:
    """Return a name with a file and the commit of a listing; refuse what could not be read again from a recipe."""
    if not COMMIT.fullmatch(listing.commit):
        raise HubError(
            f"The hub names the commit {listing.commit!r} of {name.repo}, expected 40 hexadecimal digits.",
            remedy="another hub, by HF_ENDPOINT",
        )
    found = name.pinned(file, listing.commit)
    if not found.is_readable:
        raise HubError(
            f"The file {file!r} of {name.repo} cannot be named as hub:ORG/NAME/FILE: its name has characters other than letters, "
            "digits, '.', '_' and '-', or does not begin with a letter or digit.",
            remedy="download it yourself, then --weights FILE",
        )
    return found


def fetch_file(name: HubName, kind: Kind, listing: Listing, folder: Path | None, *, hub: Hub) -> Downloaded:
    """Download a file of a listing; one with other bytes than listed is removed."""
    path = hub.download(name.repo, kind, name.revision, name.file, folder)
    if problem := _differs(path, listing.files[name.file]):
        path.resolve().unlink(missing_ok=True)  # the library keeps content under its digest, and a link to it
        path.unlink(missing_ok=True)
        raise HubError(
            f"The file that the hub sent for {name} is not the one that it lists: {problem}. Nothing was kept.",
            remedy="run the same command again; if that does not help, tell the publisher",
        )
    return Downloaded(name=name, path=path)


def _chosen(name: HubName, listing: Listing) -> str:
    """Return the file of weights, where it is plain which."""
    safe = sorted(file for file in listing.files if file.endswith(SAFE))
    if name.file:
        if name.file not in listing.files:
            raise HubError(f"{name.repo} has no {name.file}; it has {some(safe) or 'no safetensors'}.")
        return name.file
    if not safe:
        raise _no_safetensors(name, list(listing.files))
    usual = [file for file in USUAL if file in safe]
    if len(safe) > 1 and not usual:
        raise UsageError(
            f"{name.repo} has {len(safe)} files of weights: {some(safe)}.",
            remedy=f"--weights hub:{name.repo}/{safe[0]}",
        )
    return (usual or safe)[0]


def _no_safetensors(name: HubName, there: list[str]) -> UsageError:
    return UsageError(
        f"est takes only safetensors from a hub, and {name.repo} has none: {some(there) or 'no files'}.",
        remedy="another repository; a file that you trust goes by --weights FILE",
    )


def _differs(path: Path, listed: RemoteFile) -> str:
    """Return how a file differs from what is listed; empty where it does not, as far as the hub says it."""
    size = path.stat().st_size
    if listed.size is not None and size != listed.size:
        return f"{size} bytes, listed are {listed.size}"
    with path.open("rb") as file:
        if listed.sha256:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            return "" if found == listed.sha256 else f"its SHA-256 is {found[:16]}…, listed is {listed.sha256[:16]}…"
        if listed.git_blob:
            digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
            while chunk := file.read(1 << 20):
                digest.update(chunk)
            found = digest.hexdigest()
            return (
                ""
                if found == listed.git_blob
                else f"git would name it {found[:16]}…, listed is {listed.git_blob[:16]}…"
            )
    return ""
