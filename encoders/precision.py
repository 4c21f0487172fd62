"""In which precision a device computes: fp32, bf16 or fp16, and never one that it can only emulate.

A processor without bf16 instructions computes in bf16 by converting every number to fp32 and back: several times slower than fp32, and
no more exact (`benchmarks/precision.py` prints the price). Some operations refuse it outright. So it is refused before any work, and
`auto` never picks it. What decides are the processor's own flags, and the limit that ONEDNN_MAX_CPU_ISA sets on the library that computes
convolutions and products; on a GPU its compute capability.
"""

from __future__ import annotations

import os
import platform
from typing import Literal

import torch

from ..cache.environment import read_cpu_flags
from ..errors import EstError, UsageError

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Flags of which one is enough, as Linux and torch call them: of x86 processors, and of ARM's.
NATIVE: dict[Precision, dict[str, tuple[str, ...]]] = {
    "bf16": {"x86": ("amx_bf16", "avx512_bf16", "avx_ne_convert"), "arm": ("bf16",)},
    "fp16": {"x86": ("amx_fp16", "avx512_fp16", "avx_ne_convert"), "arm": ("asimdhp",)},
}
FAST_BF16 = (
    "amx_bf16",
    "avx512_bf16",
)  # either makes bf16 convolutions two to six times as fast as fp32; others are not measured
X86 = ("x86_64", "AMD64", "i386", "i686")

# oneDNN computes with nothing beyond ONEDNN_MAX_CPU_ISA: with one of these it emulates.
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
BELOW_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
BELOW: dict[Precision, tuple[str, ...]] = {"bf16": BELOW_BF16, "fp16": (*BELOW_BF16, "AVX512_CORE_BF16")}

BF16_CAPABILITY = (8, 0)  # of a GPU, from Ampere on; torch's `is_bf16_supported` counts emulation in
TELLING = ("avx2", "avx512f", "avx512_f", "asimd")  # flags that say what kind of processor it is


def resolve_precision(text: str, device: torch.device, *, remedy: str = "--precision fp32") -> tuple[Precision, str]:
    """Turn auto, fp32, bf16 or fp16 into the precision that runs on a device, and say in a few words why; refuse what is emulated there."""
    for name in DTYPES:
        if text == name:
            if lack := lacks(name, device):
                raise EstError(lack, remedy=remedy)
            return name, "as asked"
    if text != "auto":
        raise UsageError(f"A precision is auto, {', '.join(DTYPES)}; found {text!r}.", remedy="--precision auto")
    if device.type == "cpu":
        flags = fast_bf16_flags()
        if flags:
            return "bf16", f"the processor has {' and '.join(flags)}"
        if limit := onednn_limit("bf16"):
            return "fp32", f"{limit} disables bf16"
        return "fp32", f"the processor has neither {' nor '.join(FAST_BF16)}, and without them bf16 is slower"
    if device.type == "cuda":
        if lacks("bf16", device):
            return "fp32", "the GPU is older than bf16"
        return "bf16", "the GPU multiplies in bf16"
    return "fp32", f"bf16 is not measured on {device.type}"


def lacks(precision: Precision, device: torch.device) -> str | None:
    """Say why a device cannot compute in a precision but by emulating it; None where it can, or where nothing tells."""
    if precision == "fp32":
        return None
    if device.type == "cpu":
        return _lacks_of_processor(precision)
    if device.type == "cuda" and precision == "bf16":
        found = torch.cuda.get_device_capability(device)
        if found < BF16_CAPABILITY:
            needed, there = (".".join(map(str, version)) for version in (BF16_CAPABILITY, found))
            return f"bf16 needs a GPU of compute capability {needed} or more, and {device} has {there}; there it is emulated."
    return None


def fast_bf16_flags() -> list[str]:
    """Return those of the processor's flags that make bf16 faster than fp32, unless oneDNN is told to leave them alone."""
    return [] if onednn_limit("bf16") else [flag for flag in FAST_BF16 if flag in cpu_flags()]


def onednn_limit(precision: Precision) -> str | None:
    """Return the setting of the environment that keeps oneDNN from computing in a precision, as NAME=VALUE."""
    for name in LIMITS:
        if os.environ.get(name, "").upper() in BELOW[precision]:
            return f"{name}={os.environ[name]}"
    return None


def cpu_flags() -> frozenset[str]:
    """Return the processor's flags, empty where nothing tells."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # since torch 2.11; Linux tells in older ones
    if capabilities is not None and platform.machine() in X86:
        return frozenset(name for name, there in capabilities().items() if there is True)
    return read_cpu_flags()


def _lacks_of_processor(precision: Precision) -> str | None:
    flags = cpu_flags()
    native = NATIVE[precision]["x86" if platform.machine() in X86 else "arm"]
    price = "without them it is emulated, several times slower than fp32"
    if limit := onednn_limit(precision):
        return f"{precision} needs instructions that {limit} disables; {price}."
    if not flags or flags & set(native):
        return None
    there = ", ".join(sorted(flags & set(TELLING))) or "none of the usual ones"
    return f"{precision} needs a processor with {' or '.join(native)}; this one has {there} and none of these; {price}."
