"""The machine and the libraries that made a cache: recorded beside the recipe, compared, never part of it."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")  # that change how arithmetic rounds or runs
DATASETS = "datasets"  # names of further ones, of merged caches and of those that grew by another data set
UNCOMPARED = (
    "platform",
    "dataset",
    DATASETS,
    "hub",
)  # where a copy came from makes no rows; lists are corrected while a cache grows; that is no other way of making rows

ASSUMED = {"kernels": "plain"}  # of extractions that were started before it was recorded


def current_environment(packages: Iterable[str] = (), **more: Any) -> dict[str, Any]:
    """Describe this machine, the versions of some packages, and further facts of the caller (its device, its codecs)."""
    names = sorted({"numpy", "h5py", "xxhash", *packages})
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": sorted(read_cpu_flags() & set(CPU_FLAGS)),
        "versions": versions,
        **more,
    }


def environment_changes(
    recorded: Mapping[str, Any], current: Mapping[str, Any], *, words: tuple[str, str] = ("then", "now")
) -> list[str]:
    """List what differs, as `versions.numpy: 2.3 then, 2.4 now`; what only one side has does not count."""
    found = []
    recorded, current = _completed(recorded, current), _completed(current, recorded)
    for name in sorted((recorded.keys() & current.keys()) - set(UNCOMPARED)):
        then, now = recorded[name], current[name]
        if isinstance(then, Mapping) and isinstance(now, Mapping):
            found += [f"{name}.{change}" for change in environment_changes(then, now, words=words)]
        elif then != now:
            found.append(f"{name}: {then} {words[0]}, {now} {words[1]}")
    return found


def _completed(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add what is assumed of an extraction where only the other side says it; imports have no device and compute nothing."""
    return {name: value for name, value in ASSUMED.items() if name in other and "device" in one} | dict(one)


def datasets_in(environment: Mapping[str, Any]) -> list[str]:
    """Name the data sets that clips are on record as being from: the one that a cache was started with, and those that came later."""
    begun = environment.get("dataset", {}).get("name", "")
    return sorted({begun, *environment.get(DATASETS, ())} - {""})


def with_datasets(environment: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return an environment that names more data sets, so that the terms of all clips are known."""
    known = {environment.get("dataset", {}).get("name", ""), ""}
    more = sorted({*environment.get(DATASETS, ()), *names} - known)
    return dict(environment) | ({DATASETS: more} if more else {})


def read_cpu_flags() -> frozenset[str]:
    """Return the processor's flags as Linux lists them, empty on other systems."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*: (.+)$", info.read_text(encoding="utf-8"), re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()
