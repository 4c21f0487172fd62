"""What a precision costs on this processor, and what emulation costs: a convolution and a product in fp32, bf16 and fp16.

    python benchmarks/precision.py

Each row is a process of its own: as the processor is, and with oneDNN held to fewer instructions (ONEDNN_MAX_CPU_ISA), where bf16 and
fp16 are emulated, as they are on processors without those instructions. Times are medians; ratios are to fp32 of the same row.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from _machine import machine
from _ratios import tell

from est.encoders.precision import DTYPES, LIMITS, cpu_flags, why_emulated

HELD_BACK = ("", "AVX512_CORE", "AVX2")  # as it is; AVX-512 without bf16; AVX2 alone
RUNS = 15


def convolution(dtype: torch.dtype) -> float:
    """Time a 3 × 3 convolution of ResNet-18's first stage on eight crops."""
    x = torch.randn(8, 64, 56, 56).to(dtype).to(memory_format=torch.channels_last)
    weight = torch.randn(64, 64, 3, 3).to(dtype)
    return median_ms(lambda: F.conv2d(x, weight, padding=1))


def product(dtype: torch.dtype) -> float:
    """Time the first product of EST's feed-forward layer on a batch of eight clips."""
    x, weight = torch.randn(280, 512).to(dtype), torch.randn(2048, 512).to(dtype)
    return median_ms(lambda: F.linear(x, weight))


def median_ms(function) -> float:
    """Return the median time of a call."""
    times = []
    with torch.inference_mode():
        for _ in range(RUNS + 2):
            start = time.perf_counter()
            function()
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[2:])


def measure() -> None:
    """Print the row of this process."""
    cpu = torch.device("cpu")
    for operation in (convolution, product):
        times = {name: operation(dtype) for name, dtype in DTYPES.items()}
        cells = [f"{times['fp32']:.2f} ms"]
        if not os.environ.get(LIMITS[0]):
            tell(f"bf16 {operation.__name__}", times["bf16"] / times["fp32"])
        for name in ("bf16", "fp16"):
            kind = "emulated, refused" if why_emulated(name, cpu) else "native" if cpu_flags() else "unknown"
            cells.append(f"{times[name]:.2f} ms, {times[name] / times['fp32']:.1f} × ({kind})")
        print(f"| {os.environ.get(LIMITS[0]) or 'as it is'} | {operation.__name__} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    print(machine("torch"))
    print("| instructions | operation | fp32 | bf16 | fp16 |\n|---|---|---|---|---|", flush=True)
    for limit in HELD_BACK:
        environment = {name: value for name, value in os.environ.items() if name not in LIMITS}
        environment |= {LIMITS[0]: limit} if limit else {}
        subprocess.run([sys.executable, __file__, "--row"], env=environment, check=True)


if __name__ == "__main__":
    measure() if sys.argv[1:] == ["--row"] else main()
