"""Which device runs. What was asked for and is not there is an error: nothing falls back."""

from __future__ import annotations

import os
import re

import torch

from ..errors import EstError, UsageError


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
            raise EstError("Device mps was asked for, but this machine or this torch has none.", remedy="--device cpu")
        return torch.device("mps")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        built = torch.version.cuda
        reason = "torch finds no GPU" if built else "this torch is built without CUDA"
        raise EstError(
            f"Device {text} was asked for, but {reason}.",
            remedy="check nvidia-smi and CUDA_VISIBLE_DEVICES, or --device cpu",
        )
    index = int(found[2] or 0)
    if index >= count:
        there = "only cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise EstError(f"Device {text} was asked for; there is {there}.", remedy=f"--device cuda:{count - 1}")
    return torch.device("cuda", index)


def num_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_asked(name: str) -> int | None:
    """Return how many threads a variable of the environment asks for, as OMP_NUM_THREADS; None where it is not set, or no number."""
    first = os.environ.get(name, "").split(",")[0].strip()  # others are of nested loops
    return int(first) if first.isdecimal() and int(first) else None
