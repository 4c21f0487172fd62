"""The line over every table: which machine, which day, which versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
from pathlib import Path


def machine(*packages: str) -> str:
    """Describe this machine and the versions of some packages in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {importlib.metadata.version(name)}" for name in packages]
    return f"{datetime.date.today()} · {_processor()}, {cores} cores · {', '.join(versions)}"


def _processor() -> str:
    """Name the processor as its maker does."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*: (.+)", info.read_text())
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()
