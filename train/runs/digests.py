"""SHA-256 of the files of a complete run: kept in run.json, compared where a file is read, and of all files by `est runs --verify`.

run.json has a digest of itself too. Runs of before 2026-11-30 have neither, and nothing is compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...errors import EstError
from .files import RESTORE

DIGEST, FILES = "digest", "files"  # in run.json: of itself, and of each other file by its name below the run's folder


def digests_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the digests of those files that are there."""
    return {name: digest_of(folder / name) for name in names if (folder / name).is_file()}


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EstError(f"{path} cannot be read.", remedy=RESTORE) from error


def with_digest(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts as run.json holds them: with a digest of themselves."""
    return {**facts, DIGEST: _of_facts(facts)}


def checked(found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the facts of run.json without their digest; refuse them if they do not match it."""
    facts = {name: value for name, value in found.items() if name != DIGEST}
    if (DIGEST in found or FILES in found) and found.get(DIGEST) != _of_facts(facts):
        raise EstError(f"{path} does not match its checksum: it is damaged, or was changed.", remedy=RESTORE)
    return facts


def expect_as_written(path: Path, digest: str, *, remedy: str = RESTORE) -> None:
    """Refuse a file that is not the one whose digest is known."""
    if digest_of(path) != digest:
        raise EstError(f"{path} does not match its checksum in run.json: it is damaged, or was changed.", remedy=remedy)


def _of_facts(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
