"""The calls that est makes to a hub, and the one place that chooses who answers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ..errors import EstError

Kind = Literal["model", "dataset"]


class HubError(EstError):
    """A hub that does not answer, refuses, or lacks what was asked for."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """What a hub says of a file: one of the digests, or none."""

    size: int | None = None
    sha256: str = ""
    git_blob: str = ""  # SHA-1 as git names the content


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of a repository at a commit."""

    commit: str
    files: Mapping[str, RemoteFile]


class Hub(Protocol):
    """A hub; every call raises `HubError` where it fails."""

    def listing(self, repo: str, kind: Kind, revision: str) -> Listing:
        """Resolve a revision, empty for the main branch, and list its files."""
        ...

    def cached(self, repo: str, kind: Kind, commit: str, file: str, folder: Path | None) -> Path | None:
        """Return a file that was downloaded before, without a network."""
        ...

    def download(self, repo: str, kind: Kind, commit: str, file: str, folder: Path | None) -> Path:
        """Download a file of a commit into a folder of downloads; without one into the library's own."""
        ...

    def is_public(self, repo: str, kind: Kind) -> bool | None:
        """Return whether everybody can read a repository; None where there is none."""
        ...

    def create(self, repo: str, kind: Kind, *, private: bool) -> None:
        """Make a repository."""
        ...

    def upload(self, repo: str, kind: Kind, folder: Path, message: str) -> str:
        """Upload the files of a folder as one commit; return the commit."""
        ...


def open_hub() -> Hub:
    """Return the hub of Hugging Face, or of another server that `HF_ENDPOINT` names."""
    from .huggingface import HuggingFace

    return HuggingFace()
