"""The line over every table: which machine, which day, which versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
from pathlib import Path

KINDS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16")  # flags that speed depends on
LIMITS = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE")  # settings that hold libraries back


def machine(*packages: str) -> str:
    """Describe this machine, the kind of its processor and the versions of some packages in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {importlib.metadata.version(name)}" for name in packages]
    return f"{datetime.date.today()} · {_processor()} ({_kind()}), {cores} cores · {', '.join(versions)}"


def _processor() -> str:
    """Name the processor as its maker does."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*: (.+)", info.read_text())
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _kind() -> str:
    """Name those of the processor's flags that speed depends on, and what keeps libraries from using them."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^(?:flags|Features)\s*: (.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    flags = found[1].split() if found else []
    limits = [f"{name}={os.environ[name]}" for name in LIMITS if os.environ.get(name)]
    return ", ".join([*(flag for flag in KINDS if flag in flags), *limits]) or "flags unknown"
