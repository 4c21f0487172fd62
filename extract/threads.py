"""How many processes decode, how many threads compute, and what is said where more of them are asked for than there are cores.

On a processor as many processes decode as there are cores, at most 16: they wait until crops are taken, so that detection and encoding,
four fifths of the work, get the cores. Each of torch's threads computes a part of a batch alone (`encoders/lanes.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ..encoders.device import num_cores, threads_asked

VARIABLE = "OMP_NUM_THREADS"


def default_workers(devices: Sequence[object]) -> int:
    """Choose a number of decoding processes: the cores, a few less where a GPU does the rest."""
    cores = num_cores()
    return max(1, min(cores, 16) if str(devices[0]) == "cpu" else min(cores - 1, 24))


def too_many(devices: Sequence[object], workers: int | None) -> Iterator[str]:
    """Return what is asked for beyond the cores that there are."""
    cores, threads = num_cores(), torch.get_num_threads()
    these = f"{cores} core{'s' * (cores > 1)}"
    asked = threads_asked(VARIABLE)
    is_on_cpu = any(str(device) == "cpu" for device in devices)
    if is_on_cpu and asked is not None and asked > cores:  # torch may take fewer by itself, and say nothing
        yield f"{VARIABLE} is {asked}, and this process may use {these}: {cores} compute (unset {VARIABLE})"
    elif is_on_cpu and threads > cores:
        yield f"torch is set to {threads} threads, and this process may use {these}: {cores} compute"
    if workers is not None and workers > cores:
        yield f"--workers {workers}: so many processes decode on {these}; {default_workers(devices)} are as fast and take less memory"
