"""How much memory is free: of a GPU by its own account, of the host by the kernel's and its control group's; and work in blocks, which
needs less of it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from ...encoders.precision import why_emulated
from ...errors import EstError
from ..config.config import TrainConfig

BLOCK = 65_536  # clips whose intermediate results are in memory at once
MEMINFO = Path("/proc/meminfo")
NO_ROOM = "can't allocate memory"  # what torch says on a processor
GROUP = Path("/sys/fs/cgroup")  # a container sees its own group here
GROUP_FILES = (  # limit, use, and the name in `stat` of what would be dropped; in version 2, and in version 1
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def free_memory(device: torch.device) -> int:
    """Return the bytes that can still be had on a device; Apple's GPUs share the host's."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    system, group = _free_in_system(), _free_in_group()
    return system if group is None else min(system, group)


def by_blocks(function: Callable[..., Tensor], *columns: Tensor) -> Tensor:
    """Compute rows of columns that do not depend on each other: in blocks, whose intermediate results are few."""
    number = len(columns[0])
    if number <= BLOCK:
        return function(*columns)
    found = None
    for first in range(0, number, BLOCK):
        rows = function(*(column[first : first + BLOCK] for column in columns))
        if found is None:
            found = rows.new_empty(number, *rows.shape[1:])
        found[first : first + BLOCK] = rows
    assert found is not None
    return found


@contextmanager
def enough_memory(device: torch.device, config: TrainConfig) -> Generator[None]:
    """Return what to lower when a step does not fit."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        remedies = (
            [f"--set loop.accumulate={2 * config.loop.accumulate}"]
            if config.loop.batch > config.loop.accumulate
            else []
        )
        if config.finetune.on and not config.finetune.checkpointing:
            remedies.insert(0, "--set finetune.checkpointing=true")
        if config.loop.precision == "fp32" and why_emulated("bf16", device) is None:
            remedies.append("--precision bf16")
        raise EstError(
            f"A step of {config.loop.batch} clips does not fit into the memory of {device}.",
            remedy=", ".join([*remedies, "or a smaller --batch"]),
        ) from error


def is_shortage(error: Exception) -> bool:
    """Recognise errors that a smaller batch would avoid: on a processor torch has no class for them."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or NO_ROOM in str(error)


def show_bytes(num_bytes: int) -> str:
    """Write a number of bytes as GB, small ones as MB."""
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.2f} MB"


def _free_in_system() -> int:
    """Return what Linux could hand out without swapping; where there is no such account, the memory that is not in use or there at all."""
    if MEMINFO.exists():
        found = re.search(r"^MemAvailable:\s+(\d+) kB", MEMINFO.read_text(encoding="ascii"), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")


def _free_in_group() -> int | None:
    """Return what a limit of the control group leaves, file pages that it would drop counted as free; none where there is no limit."""
    for limit_file, used_file, stat_file, dropped in GROUP_FILES:
        try:
            limit, used, stat = (
                (GROUP / name).read_text(encoding="ascii") for name in (limit_file, used_file, stat_file)
            )
        except FileNotFoundError:
            continue
        if limit.strip() == "max":
            return None
        found = re.search(rf"^{dropped} (\d+)", stat, re.MULTILINE)
        return max(0, int(limit) - int(used) + (int(found[1]) if found else 0))
    return None
