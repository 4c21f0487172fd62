"""Says, as one line of JSON, what machine this is: its card, driver, libraries, cores, the day and the code."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]


def said_by(*command: str) -> str:
    """Return the first line that a program prints, or nothing."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""


def code() -> str:
    """Name the commit, or a digest of the sources where they are no checkout."""
    if commit := said_by("git", "rev-parse", "--short=12", "HEAD"):
        changed = said_by("git", "status", "--porcelain", "--untracked-files=no")
        return f"commit {commit}{', changed' if changed else ''}"
    digest = hashlib.sha256()
    skipped = {"tests", "docs", "benchmarks"}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        if parts[0] not in skipped and not parts[0].startswith("."):
            digest.update(path.read_bytes())
    return f"sources {digest.hexdigest()[:12]}"


def main() -> None:
    """Say it."""
    has_gpu = torch.cuda.is_available()
    driver = said_by("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader") if has_gpu else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {
        "card": torch.cuda.get_device_name(0) if has_gpu else "no GPU",
        "driver": driver or "?",
        "cuda": torch.version.cuda or "?",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": cores,
        "date": str(datetime.date.today()),
        "commit": code(),
        "has_gpu": has_gpu,
    }
    print(json.dumps({"end": "machine", **found}))


if __name__ == "__main__":
    main()
