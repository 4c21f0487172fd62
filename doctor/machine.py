"""The processor, its memory, and GPUs: what they are, and in which precision est computes on them."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from ..cache.environment import CPU_FLAGS
from ..encoders.device import num_cores, parse_device, threads_asked
from ..encoders.engines.choice import choose_engine
from ..encoders.precision import cpu_flags
from ..errors import EstError, counted
from .check import Check, from_error

GROUP = "machine"
CPUINFO, MEMINFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
NODE = Path("/dev/nvidia0")  # there where this machine, or this container, is given a GPU
LITTLE_MEMORY = 4  # GB: below it extraction and training may not fit


def check_machine(device: str = "auto") -> Iterator[Check]:
    """Check the processor, memory, GPUs and the device that was asked for."""
    yield Check(group=GROUP, name="processor", found=f"{_processor()}, {num_cores()} cores; {_flags()}")
    if (memory := _memory()) is not None:
        total, free = memory
        yield Check(
            group=GROUP,
            name="memory",
            state="note" if free < LITTLE_MEMORY else "ok",
            found=f"{free:.1f} of {total:.1f} GB are free",
            remedy="--workers 1 keeps extraction small" if free < LITTLE_MEMORY else "",
        )
    yield from _gpus(device)
    try:
        where = parse_device(device)
        chosen = choose_engine("auto", "auto", where)
    except EstError as error:
        yield from_error(GROUP, "device", error)
        return
    yield Check(group=GROUP, name="device", found=str(where))
    yield Check(group=GROUP, name="precision", found=f"{chosen.precision}, encoders by {chosen.engine}: {chosen.why}")
    if chosen.hint:
        yield Check(group=GROUP, name="int8", found=chosen.hint)
    yield from _threads()


def _gpus(device: str) -> Iterator[Check]:
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    if not torch.cuda.is_available():
        mended = "update the driver, or pip install torch torchvision with its CUDA; check CUDA_VISIBLE_DEVICES"
        if NODE.exists():
            hidden = device == "cpu" or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")  # on purpose
            yield Check(
                group=GROUP,
                name="GPU",
                state="note" if hidden else "problem",
                found=f"there is an NVIDIA GPU ({NODE}), but torch {torch.__version__} finds none",
                remedy=mended,
            )
        else:
            yield Check(group=GROUP, name="GPU", found="none; est computes on the CPU")
        return
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        facts = torch.cuda.get_device_properties(number)
        found = f"{facts.name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free, compute capability {facts.major}.{facts.minor}"
        yield Check(group=GROUP, name=f"cuda:{number}", found=found)
    there = "CUDAExecutionProvider" in providers
    yield Check(
        group=GROUP,
        name="onnxruntime",
        state="ok" if there else "note",
        found=f"providers {', '.join(providers)}" + ("" if there else "; detectors of insightface run on the CPU"),
        remedy="" if there else "pip uninstall onnxruntime, then pip install onnxruntime-gpu",
    )


def _threads() -> Iterator[Check]:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        asked, cores = threads_asked(name), num_cores()
        if asked is None or asked == cores:
            continue
        few = f"torch uses no more threads than that, of {cores} cores"
        many = f"this process may use {counted(cores, 'core')}, and more threads than these gain nothing"
        yield Check(
            group=GROUP,
            name=name,
            state="note",
            found=f"{asked}: {few if asked < cores else many}",
            remedy=f"unset {name}",
        )


def _processor() -> str:
    """Return the processor's name."""
    if CPUINFO.exists():
        found = re.search(r"^model name\s*: (.+)$", CPUINFO.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def _flags() -> str:
    there = cpu_flags()
    names = [name for name in (*CPU_FLAGS, "avx512_vnni", "avx_vnni", "amx_int8") if name in there]
    return " ".join(names) or "none of the instructions that est asks about"


def _memory() -> tuple[float, float] | None:
    """Return total and free memory in GB, where the system tells."""
    if not MEMINFO.exists():
        return None
    text = MEMINFO.read_text(encoding="utf-8")
    total, free = (re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE) for name in ("MemTotal", "MemAvailable"))
    return None if total is None or free is None else (int(total[1]) / 1e6, int(free[1]) / 1e6)
