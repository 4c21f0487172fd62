"""How many processes decode, how many threads compute, and what is said where more of them are asked for than there are cores.

On a processor as many processes decode as there are cores, at most 16: they wait until crops are taken, so that detection and encoding,
four fifths of the work, get the cores. Each of torch's threads computes a part of a batch alone (`encoders/lanes.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ..encoders.device import num_cores


def default_workers(devices: Sequence[object]) -> int:
    """Choose a number of decoding processes: the cores, a few less where a GPU does the rest."""
    cores = num_cores()
    return max(1, min(cores, 16) if str(devices[0]) == "cpu" else min(cores - 1, 24))


def too_many(devices: Sequence[object], workers: int | None) -> Iterator[str]:
    """Say what is asked for beyond the cores that there are."""
    cores, threads = num_cores(), torch.get_num_threads()
    these = f"{cores} core{'s' * (cores > 1)}"
    if threads > cores and any(str(device) == "cpu" for device in devices):
        yield f"torch is set to {threads} threads, and this process may use {these}: {cores} compute (unset OMP_NUM_THREADS)"
    if workers is not None and workers > cores:
        yield f"--workers {workers}: so many processes decode on {these}; {default_workers(devices)} are as fast and take less memory"
