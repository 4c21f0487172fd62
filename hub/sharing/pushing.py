"""One upload: into a repository that is private unless it is to be public, as one commit."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...cache.watch import Watch
from ...errors import EstError, UsageError
from ..client import Hub, Kind
from ..names import HubName

CARD = "README.md"


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What was uploaded."""

    name: str  # hub:ORG/NAME@COMMIT
    files: tuple[str, ...]
    public: bool

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {"pushed": self.name, "files": list(self.files), "public": self.public}

    def line(self) -> str:
        """Say it in a line."""
        return f"{', '.join(self.files)} → {self.name} ({'public' if self.public else 'private'})"


def target_of(text: str) -> HubName:
    """Return the repository to push to."""
    name = HubName.parse(text)
    if name.file or name.revision:
        raise UsageError(f"A push goes to a repository, found {text!r}.", remedy=f"hub:{name.repo}")
    return name


def expect_visibility(hub: Hub, name: HubName, kind: Kind, *, public: bool) -> None:
    """Refuse a private push to a public repository."""
    if hub.is_public(name.repo, kind) and not public:
        raise UsageError(
            f"hub:{name.repo} is there already, and public.", remedy="--public, or another name: pushes are private"
        )


def push_folder(hub: Hub, name: HubName, kind: Kind, folder: Path, *, public: bool, what: str, watch: Watch) -> Pushed:
    """Upload the files of a folder."""
    files = sorted(path.name for path in folder.iterdir())
    watch.say(f"uploading {', '.join(files)} to hub:{name.repo}, {'public' if public else 'private'}")
    hub.create(name.repo, kind, private=not public)
    expect_visibility(hub, name, kind, public=public)  # it may have been there, or been made public meanwhile
    commit = hub.upload(name.repo, kind, folder, what)
    return Pushed(name=f"hub:{name.repo}@{commit}", files=tuple(files), public=public)


@contextmanager
def workplace(beside: Path) -> Generator[Path]:
    """Yield a folder beside something, with room for as much, that is gone afterwards."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=".est-hub-", dir=beside.absolute().parent)
    except OSError as error:
        raise EstError(
            f"No folder can be made beside {beside}: {error.strerror}.",
            remedy="check the permissions of the folder above it",
        ) from error
    with folder as path:
        yield Path(path)
