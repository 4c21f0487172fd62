"""Which code made a card: the version, a digest of the package's sources, and the commit where they are a git checkout."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from .. import __version__

ROOT = Path(__file__).parents[1]
SECONDS = 20


def describe_code() -> dict[str, str]:
    """Return version, digest and commit; `-dirty` behind a commit whose sources were changed, empty where there is none."""
    return {"version": __version__, "sources": sources_digest(ROOT), "commit": commit_of(ROOT)}


def sources_digest(root: Path) -> str:
    """Return a digest of every module of the package: tests, docs and benchmarks are none."""
    packages = [folder for folder in sorted(root.iterdir()) if (folder / "__init__.py").is_file()]
    files = [*root.glob("*.py"), *(path for folder in packages for path in folder.rglob("*.py"))]
    found = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.relative_to(root).as_posix()):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:32]


def commit_of(root: Path) -> str:
    """Return the commit of a checkout; empty where the package is installed, or git is not there."""
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
