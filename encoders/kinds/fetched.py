"""Published files that come from where the user says, and whose digest is recorded when one is first taken.

est knows such a file by its name and the project that publishes it, and has not seen its bytes: it holds no address and no digest of it.
What is taken first is read through before it is put in place, and its SHA-256 is kept in a file next to it; other bytes are refused,
those of a later source too. Of addresses neither the query nor a user's name is shown or kept: tokens stand there.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from ...cache.stores.disk import PARTIAL, Disk
from ...errors import EstError, UsageError, quoted
from .published import NotHere

FROM = "EST_WEIGHTS_FROM"  # the environment variable that says where files are taken from at first use
RECORD = ".fetched.json"  # behind the file's name
TIMEOUT = 60  # seconds without a byte
MOST = 1 << 30  # bytes: no file of weights is larger here
CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A file of a project, by name."""

    name: str  # hsemotion:b0
    file: str
    where: str  # in words: the project and the folder
    licence: str
    expect: Callable[[Path], object]  # reads it through; raises what is wrong with it

    def find(self, models_dir: Path | None, *, download: bool = False) -> Path:
        """Find it where it was put, as it was then; else take it from where the environment says, if it may be downloaded."""
        path = self._place(models_dir)
        if path.is_file():
            return self._expect_same(path)
        source = os.environ.get(FROM, "")
        if not download or not source:
            raise NotHere(
                f"The weights {self.name} are not at {path}. est has no download address for them: the file is "
                f"{self.file}, published in {self.where} ({self.licence}).",
                remedy=f"download it, then est doctor --weights {self.name} --fetch --from FILE; "
                f"or --from URL, of the file or of the folder with it; or {FROM}=URL at first use",
            )
        return self.take(source, models_dir)

    def take(self, source: str, models_dir: Path | None) -> Path:
        """Take it from a file, a folder or an address, and record its digest; nothing is left where that fails.

        Where the file is here already, the source has to have the same bytes.
        """
        path = self._place(models_dir)
        is_here = path.is_file() and bool(self._expect_same(path))
        partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._open(source) as (file, size), open(partial, "wb") as out:
                written = _copy(file, out, source)
            if size is not None and written != size:
                raise EstError(
                    f"The download of {shown(source)} was interrupted: {written} of {size} bytes of {self.file} "
                    f"arrived. Nothing was kept.",
                    remedy="run the same command again",
                )
            digest = self._expect_ours(path, partial, shown(source))
            if is_here:
                return path
            Disk().flush_file(partial)
            Disk().rename(partial, path)
            self._record(path, digest, shown(source))
        except (OSError, http.client.HTTPException) as error:
            raise EstError(
                f"{self.file} could not be read from {shown(source)}: {_reason(error)}. Nothing was kept.",
                remedy=f"try again, or download the file from {self.where} by hand: --from FILE",
            ) from error
        finally:
            partial.unlink(missing_ok=True)
        return path

    def _place(self, models_dir: Path | None) -> Path:
        return (models_dir or Path(torch.hub.get_dir()) / "checkpoints") / self.file

    def _expect_same(self, path: Path) -> Path:
        """Refuse other bytes than those that were taken first; take those of a file that was put there by hand for the first."""
        if known := _read_record(path):
            if (found := _digest(path)) != known["sha256"]:
                raise EstError(
                    f"{path} has changed since it was first used: its SHA-256 is {found[:16]}…, "
                    f"recorded is {known['sha256'][:16]}….",
                    remedy=f"restore the earlier file; or rm {quoted(path)} {quoted(_record_of(path))} to accept another one",
                )
            return path
        digest = self._expect_ours(path, path, str(path))
        try:
            self._record(path, digest, "put there by hand")
        except OSError as error:
            raise EstError(
                f"The digest of {path} could not be recorded beside it: {_reason(error)}.",
                remedy="a folder that can be written: --models-dir FOLDER",
            ) from error
        return path

    def _expect_ours(self, path: Path, there: Path, source: str) -> str:
        """Compare a file with what is recorded for its place, and read it through; return its digest."""
        found, known = _digest(there), _read_record(path)
        if known and known["sha256"] != found:
            first = f" ({shown(str(known['from']))})" if "from" in known else ""
            beside = f"{quoted(path)} " * path.is_file()
            raise EstError(
                f"{source} gave another {self.file} than before: its SHA-256 is {found[:16]}…, recorded is {known['sha256'][:16]}…. "
                "Nothing was kept.",
                remedy=f"--from with the first source{first}; or rm {beside}{quoted(_record_of(path))} to accept another file",
            )
        try:
            self.expect(there)
        except EstError as error:
            said = error.message.replace(str(there), self.file)
            raise EstError(
                f"{source} is not the file of {self.name}: {said}",
                remedy=f"download {self.file} itself, not a page about it, from {self.where}",
            ) from error
        return found

    def _record(self, path: Path, digest: str, source: str) -> None:
        """Write down which bytes were taken first."""
        if _read_record(path):
            return
        told = {"weights": self.name, "sha256": digest, "bytes": path.stat().st_size, "from": source}
        Disk().write(_record_of(path), json.dumps(told, indent=1, ensure_ascii=False).encode())

    @contextmanager
    def _open(self, source: str) -> Generator[tuple[IO[bytes], int | None]]:
        """Open a source, and say how many bytes it has where that is known."""
        if is_address(source):
            if "@" in urllib.parse.urlsplit(source).netloc:
                raise UsageError(
                    f"--from takes no address with a user's name in it; found one of {shown(source)}.",
                    remedy=f"download {self.file} yourself, then --from FILE",
                )
            with urllib.request.urlopen(self._address(source), timeout=TIMEOUT) as answer:
                told = answer.headers.get("Content-Length")
                yield answer, int(told) if told and told.isdigit() else None
            return
        path = Path(source)
        path = path / self.file if path.is_dir() else path
        if not path.is_file():
            raise UsageError(
                f"--from is a file, a folder with {self.file} in it, or an address of http or https; found {shown(source)!r}.",
                remedy="--from FILE",
            )
        with open(path, "rb") as file:
            yield file, path.stat().st_size

    def _address(self, source: str) -> str:
        """Return the address of the file: the source itself, where it names the file."""
        parts = urllib.parse.urlsplit(source)
        if parts.path.rpartition("/")[2] == self.file:
            return source
        return urllib.parse.urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{self.file}"))


def shown(source: str) -> str:
    """Return a source as it may be shown and kept: an address without its query and its user, where tokens stand."""
    if "://" not in source:
        return source
    parts = urllib.parse.urlsplit(source)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def is_address(source: str) -> bool:
    return source.lower().startswith(("http://", "https://"))


def _copy(file: IO[bytes], out: IO[bytes], source: str) -> int:
    written = 0
    while chunk := file.read(CHUNK):
        written += out.write(chunk)
        if written > MOST:
            raise EstError(
                f"{shown(source)} has more than {MOST} bytes. Nothing was kept.", remedy="--from the file itself"
            )
    return written


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record_of(path: Path) -> Path:
    return path.with_name(path.name + RECORD)


def _read_record(path: Path) -> dict[str, Any]:
    """Return what is recorded of a file; empty where nothing is."""
    record = _record_of(path)
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not isinstance(found.get("sha256"), str):
            raise ValueError("no SHA-256")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise EstError(
            f"{record}, the record of the digest of the first download, cannot be read.", remedy="restore a copy"
        ) from error
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.InvalidURL):  # which shows the address
        return "the address has characters that are not allowed"
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it is the answer, too
        return f"the server answers {error.code} {error.reason}"
    found = error.reason if isinstance(error, urllib.error.URLError) else error
    return getattr(found, "strerror", None) or str(found) or type(found).__name__
