"""CPU time and page faults of the frame encoder with freed memory returned and kept (encoders/heap.py), in turns.

Batches of 32 crops at 224 on one core, in a thread of its own as in extraction. Rows are compared bit by bit.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from _machine import machine

from est.encoders.encoder import Encoder
from est.encoders.heap import keeping_freed_memory
from est.encoders.precision import resolve_precision
from est.encoders.weights import load_weights

CPU = torch.device("cpu")
ROUNDS, BATCHES, CROPS = 5, 3, 32
WAYS = {"returned": contextlib.nullcontext, "kept": keeping_freed_memory}


def encoding(precision: str) -> Callable[[], torch.Tensor]:
    """Return what encodes a batch."""
    encoder = Encoder(load_weights("synface").backbone, ("gap",), device=CPU, precision=precision, batch=CROPS)
    crops = torch.randint(0, 256, (CROPS, 224, 224, 3), dtype=torch.uint8).numpy()
    return lambda: torch.from_numpy(encoder.encode(crops, ["gap"])["gap"])


def cost(work: Callable[[], torch.Tensor]) -> tuple[float, int]:
    """Return CPU milliseconds and page faults of one call, after a first one."""
    work()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(BATCHES):
        work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return 1000 * seconds / BATCHES, (after.ru_minflt - before.ru_minflt) // BATCHES


def measure() -> None:
    """Print a row for each precision: the best of the rounds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    native = resolve_precision("auto", CPU)[0]
    for precision in dict.fromkeys((native, "fp32")):
        work = encoding(precision)
        expected, best = work(), dict.fromkeys(WAYS, (1e9, 0))
        for _ in range(ROUNDS):
            for way, block in WAYS.items():
                with block():
                    assert torch.equal(work(), expected)
                    best[way] = min(best[way], cost(work))
        cells = ", ".join(
            f"{way} {ms / CROPS:.1f} ms ({faults:,} page faults a batch)" for way, (ms, faults) in best.items()
        )
        saved = 100 * (1 - best["kept"][0] / best["returned"][0])
        print(f"{precision}, a crop encoded: {cells}; {saved:.0f} % less", flush=True)


def main() -> None:
    print(machine("torch"))
    with keeping_freed_memory():
        pass  # from here on threads share one heap
    with ThreadPoolExecutor(1) as thread:
        thread.submit(measure).result()


if __name__ == "__main__":
    main()
