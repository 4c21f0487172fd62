"""Lanes: threads that each compute a part of a batch alone, on one core, in place of all cores sharing each operation.

Cores that share an operation wait for the slowest at its end, some sixty times a batch: beside a busy neighbour both run at the pace of
the one that it disturbs. Lanes take the next part when they are free, and their maps stay in their own core's cache. A part has the same
shape in every lane, so that rows do not depend on the number of lanes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import torch

from .device import num_cores

START = 60.0  # seconds in which all lanes have started, or something is wrong

Part = TypeVar("Part")
Result = TypeVar("Result")


def num_lanes() -> int:
    """Count the lanes: torch's threads, and no more than there are cores."""
    return min(torch.get_num_threads(), num_cores())


def in_lanes(function: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Compute each part on one thread; the results come in the order of the parts."""
    parts, lanes = list(parts), num_lanes()
    if lanes > 1:
        return list(_pool(os.getpid(), lanes).map(function, parts))
    threads = torch.get_num_threads()
    if threads == 1:
        return [function(part) for part in parts]
    torch.set_num_threads(1)  # more threads than the one core that there is
    try:
        return [function(part) for part in parts]
    finally:
        torch.set_num_threads(threads)


@lru_cache(maxsize=4)
def _pool(process: int, lanes: int) -> ThreadPoolExecutor:
    """Start so many lanes, once a process: a fork has no threads of its parent."""
    threads, all_there = torch.get_num_threads(), Barrier(lanes)

    def begin() -> None:
        torch.set_num_threads(1)  # of this thread, and of those that torch meets later
        torch.get_num_threads()  # torch meets this one: else it would give it the number that is set next
        all_there.wait(START)

    pool = ThreadPoolExecutor(lanes, thread_name_prefix="est-lane", initializer=begin)
    try:
        list(pool.map(abs, range(lanes)))
    except BaseException:
        all_there.abort()  # those that have started wait for the others
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        torch.set_num_threads(threads)
    return pool
