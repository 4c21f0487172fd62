"""The kind of processor, as far as ratios depend on it: what it computes in, how many cores there are, and whether it is held back."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

HOLDING_BACK = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")


def kind_of(flags: Collection[str], cores: int, environment: Mapping[str, str]) -> str:
    """Name a kind."""
    if "amx_bf16" in flags:
        name = "bf16 with AMX"
    elif "avx512_bf16" in flags:
        name = "bf16"
    elif "avx512f" in flags:
        name = "AVX-512"
    elif "avx2" in flags:
        name = "AVX2"
    elif "asimd" in flags:
        name = "Arm with bf16" if "bf16" in flags else "Arm"
    else:
        name = "unknown"
    held = [f"{key}={environment[key]}" for key in HOLDING_BACK if environment.get(key)]
    return f"{name}, {cores} cores" + (f", simulated by {' '.join(held)}" if held else "")


def kind_here() -> str:
    """Name the kind of this machine."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^(?:flags|Features)\s*: (.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return kind_of(found[1].split() if found else [], cores, os.environ)
