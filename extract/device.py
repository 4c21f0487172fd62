"""Which device runs, and in which precision. What was asked for and is not there is an error: nothing falls back.

Reduced precision is chosen by the hardware's own flags: on a processor without bf16 instructions it is emulated, and slower than fp32.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

import torch

from ..errors import EstError, UsageError

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CPU_FLAGS = ("amx_bf16", "avx512_bf16")  # either makes bf16 convolutions about twice as fast as fp32


def parse_device(text: str) -> torch.device:
    """Read cpu, cuda, cuda:1, mps or auto (cuda where there is one, else cpu); the index of a GPU is always given."""
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "cpu"
    found = re.fullmatch(r"(cpu|mps)|cuda(?::(\d+))?", text)
    if found is None:
        raise UsageError(f"A device is auto, cpu, cuda, cuda:N or mps; found {text!r}.", remedy="--device auto")
    if text == "cpu":
        return torch.device("cpu")
    if text == "mps":
        if not torch.backends.mps.is_available():
            raise EstError("Device mps was asked for, and this machine or this torch has none.", remedy="--device cpu")
        return torch.device("mps")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        built = torch.version.cuda
        reason = "torch sees no GPU" if built else "this torch is built without CUDA"
        raise EstError(
            f"Device {text} was asked for, and {reason}.",
            remedy="check nvidia-smi and CUDA_VISIBLE_DEVICES, or --device cpu",
        )
    index = int(found[2] or 0)
    if index >= count:
        there = "only cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise EstError(f"Device {text} was asked for; there is {there}.", remedy=f"--device cuda:{count - 1}")
    return torch.device("cuda", index)


def resolve_precision(text: str, device: torch.device) -> tuple[Precision, str]:
    """Turn auto, fp32, bf16 or fp16 into the precision that runs on a device, and say in a few words why."""
    for name in DTYPES:
        if text == name:
            return name, "as asked"
    if text != "auto":
        raise UsageError(f"A precision is auto, {', '.join(DTYPES)}; found {text!r}.", remedy="--precision auto")
    if device.type == "cpu":
        flags = cpu_bf16_flags()
        if flags:
            return "bf16", f"the processor has {' and '.join(flags)}"
        return "fp32", f"the processor has neither {' nor '.join(CPU_FLAGS)}, and without them bf16 is slower"
    if device.type == "cuda":
        if torch.cuda.get_device_capability(device) >= (8, 0):  # `is_bf16_supported` counts emulation in
            return "bf16", "the GPU multiplies in bf16"
        return "fp32", "the GPU is older than bf16"
    return "fp32", f"bf16 is not measured on {device.type}"


def cpu_bf16_flags() -> list[str]:
    """Return those of the processor's flags that say it multiplies in bf16."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # since torch 2.11; Linux tells in older ones
    if capabilities is not None:
        known = capabilities()
        return [flag for flag in CPU_FLAGS if known.get(flag)]
    info = Path("/proc/cpuinfo")
    words = set(info.read_text(encoding="utf-8").split()) if info.exists() else set()
    return [flag for flag in CPU_FLAGS if flag in words]


def num_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
