"""A hub in a folder: repositories with commits, as `est.hub.client.Hub` answers; and ways in which one fails."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from est.hub.client import HubError, Listing, RemoteFile


class FakeHub:
    """Keeps commits as folders; `calls` are what was asked of it."""

    def __init__(self, root: Path) -> None:
        self.root, self.calls, self.public = root, [], {}
        self.down = self.spoils = False
        self.wants_token = set()

    def put(self, repo: str, files: dict[str, bytes], *, kind="model") -> str:
        """Publish files as a commit; return it."""
        digests = sorted((name, hashlib.sha256(data).hexdigest()) for name, data in files.items())
        commit = hashlib.sha1(repr(digests).encode()).hexdigest()
        folder = self.root / kind / repo / commit
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        (self.root / kind / repo / "main").write_text(commit)
        self.public.setdefault((repo, kind), True)
        return commit

    def files(self, repo: str, kind: str, commit: str = "") -> dict[str, bytes]:
        """Return what a commit holds."""
        folder = self.root / kind / repo / (commit or (self.root / kind / repo / "main").read_text())
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def _ask(self, what: str, repo: str) -> None:
        self.calls.append(what)
        if self.down:
            raise HubError(f"The hub cannot be reached for {repo}: refused", remedy="check the network")
        if repo in self.wants_token:
            raise HubError(
                f"The hub has no {repo}, or shows it only with a token that has access.", remedy="hf auth login"
            )

    def listing(self, repo, kind, revision):
        self._ask("listing", repo)
        main = self.root / kind / repo / "main"
        commit = revision if revision and revision != "main" else main.read_text() if main.exists() else ""
        if not (self.root / kind / repo / commit).is_dir() or not commit:
            raise HubError(f"The hub has no {repo} at {revision or 'main'}.")
        files = self.files(repo, kind, commit)
        about = {n: RemoteFile(size=len(d), sha256=hashlib.sha256(d).hexdigest()) for n, d in files.items()}
        return Listing(commit=commit, files=about)

    def _here(self, repo, kind, commit, file, folder):
        return (folder or self.root / "downloads") / kind / repo.replace("/", "--") / commit / file

    def cached(self, repo, kind, commit, file, folder):
        path = self._here(repo, kind, commit, file, folder)
        return path if path.is_file() else None

    def download(self, repo, kind, commit, file, folder):
        self._ask("download", repo)
        path = self._here(repo, kind, commit, file, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = (self.root / kind / repo / commit / file).read_bytes()
        path.write_bytes(
            data[: len(data) // 2]
            if self.spoils == "half"
            else data[:-1] + bytes([data[-1] ^ 1])
            if self.spoils
            else data
        )
        return path

    def is_public(self, repo, kind):
        self._ask("is_public", repo)
        return self.public.get((repo, kind))

    def create(self, repo, kind, *, private):
        self._ask("create", repo)
        self.public.setdefault((repo, kind), not private)

    def upload(self, repo, kind, folder, message):
        self._ask("upload", repo)
        public = self.public[repo, kind]
        commit = self.put(repo, {path.name: path.read_bytes() for path in folder.iterdir()}, kind=kind)
        self.public[repo, kind] = public
        return commit


def forget_downloads(hub: FakeHub) -> None:
    """Remove what was downloaded."""
    shutil.rmtree(hub.root / "downloads", ignore_errors=True)
