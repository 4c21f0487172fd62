"""Freed memory: kept for the next batch, in place of being returned to the system and asked for again.

glibc returns freed memory at the end of its heap, and whatever is larger than 32 MB. A batch of the encoder then asks for 200 MB page by
page (fp32: 370 MB), a sixth of its time in bf16 (benchmarks/heap.py), and a step of stacked trainings for their gradients. Numbers do not
depend on it. Threads have heaps of 64 MB of their own, which keep nothing larger: those that begin afterwards share one heap, as long as
the process lives. Other C libraries are left alone.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache

TRIM, MMAP, ARENAS = -1, -3, -8  # parameters of mallopt: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX
LARGEST = 2**31 - 1  # that mallopt takes
USUAL = {TRIM: 64 * 2**20, MMAP: 32 * 2**20}  # where glibc arrives by itself once such sizes were freed

_open = 0  # blocks that are entered


@contextmanager
def keeping_freed_memory() -> Generator[None]:
    """Keep freed memory until the outermost such block ends, then return it."""
    global _open  # noqa: PLW0603 (the heap is the process's own)
    libc = _glibc()
    if libc is None:
        yield
        return
    _open += 1
    libc.mallopt(ARENAS, 1)
    for parameter in (TRIM, MMAP):
        libc.mallopt(parameter, LARGEST)
    try:
        yield
    finally:
        _open -= 1
        if not _open:
            for parameter, value in USUAL.items():
                libc.mallopt(parameter, value)
            libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
