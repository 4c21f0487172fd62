"""In which precision a device computes: fp32, bf16 or fp16. What it would only emulate is refused.

A processor without bf16 instructions converts every number to fp32 and back: several times slower than fp32, and no more exact
(`benchmarks/precision.py` prints the price); some operations fail. So it is refused before any work, and `auto` never picks it. The
processor's own flags decide, and the limit that ONEDNN_MAX_CPU_ISA sets on the library that computes convolutions and products; on a GPU
its compute capability. Where nothing tells, what was asked for is taken. Only `est evaluate` computes in emulation, with a warning: it
scores a run in the precision that the run was trained in.
"""

from __future__ import annotations

import os
import platform
from typing import Literal

import torch

from ..cache.environment import read_cpu_flags
from ..errors import EstError, UsageError, nearest

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Flags of which one is enough, as torch and Linux call them. With avx_ne_convert a processor converts in hardware and computes in fp32.
NATIVE: dict[Precision, dict[str, tuple[str, ...]]] = {
    "bf16": {"x86": ("amx_bf16", "avx512_bf16", "avx_ne_convert"), "arm": ("bf16",)},
    "fp16": {"x86": ("amx_fp16", "avx512_fp16", "avx_ne_convert"), "arm": ("asimdhp",)},
}
HIDDEN = {
    "avx_ne_convert",
    "amx_fp16",
}  # not in the list of Linux: where torch has no list of its own, they are unknown
# What `auto` goes by. A Xeon with both convolves 5.6 times as fast as in fp32 (benchmarks/precision.py); other flags are not measured.
FAST_BF16 = ("amx_bf16", "avx512_bf16")
X86 = ("x86_64", "AMD64", "i386", "i686")

# oneDNN uses no instructions beyond ONEDNN_MAX_CPU_ISA; with one of these values it has no AVX-512, or emulates. The first variable that
# is set counts.
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
BELOW_AVX512 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2")
BELOW_BF16 = (*BELOW_AVX512, "AVX512_CORE", "AVX512_CORE_VNNI")
BELOW = {"avx512": BELOW_AVX512, "bf16": BELOW_BF16, "fp16": (*BELOW_BF16, "AVX512_CORE_BF16")}

BF16_CAPABILITY = (8, 0)  # of a GPU, from Ampere on; torch's `is_bf16_supported` counts emulation in
TELLING = ("avx2", "avx512f", "avx512_f", "asimd")  # flags that say what kind of processor it is


def resolve_precision(text: str, *devices: torch.device, remedy: str = "--precision fp32") -> tuple[Precision, str]:
    """Turn auto, fp32, bf16 or fp16 into the precision that all devices run in, and say why; refuse what one of them would emulate."""
    for name in DTYPES:
        if text == name:
            for device in devices:
                if reason := why_emulated(name, device):
                    raise EstError(reason, remedy=remedy)
            return name, "as asked"
    if text != "auto":
        near = nearest(text, DTYPES) or "auto"
        raise UsageError(f"A precision is auto, fp32, bf16 or fp16; found {text!r}.", remedy=f"--precision {near}")
    choices = [_fastest(device) for device in devices]
    return next((choice for choice in choices if choice[0] == "fp32"), choices[0])


def _fastest(device: torch.device) -> tuple[Precision, str]:
    """Return the precision that is fast on a device, and why."""
    if device.type == "cpu":
        if flags := fast_bf16_flags():
            return "bf16", f"the processor has {' and '.join(flags)}"
        if limit := onednn_limit("bf16"):
            return "fp32", f"{limit} disables bf16"
        if not cpu_flags():
            return "fp32", "it is not known whether the processor computes in bf16"
        return "fp32", f"the processor has neither {' nor '.join(FAST_BF16)}, and without them bf16 is slower"
    if device.type == "cuda":
        if why_emulated("bf16", device):
            return "fp32", "the GPU is older than bf16"
        return "bf16", "the GPU computes in bf16"
    return "fp32", f"bf16 is not measured on {device.type}"


def why_emulated(precision: Precision, device: torch.device) -> str | None:
    """Return why a device would emulate a precision; None where it computes in it, or where nothing tells."""
    if precision == "fp32":
        return None
    if device.type == "cpu":
        return _why_emulated_by_processor(precision)
    if device.type == "cuda" and precision == "bf16":
        found = torch.cuda.get_device_capability(device)
        if found < BF16_CAPABILITY:
            needed, there = (".".join(map(str, version)) for version in (BF16_CAPABILITY, found))
            return f"bf16 needs a GPU of compute capability {needed} or more, and {device} has {there}; there it is emulated."
    return None


def fast_bf16_flags() -> list[str]:
    """Return those of the processor's flags that make bf16 faster than fp32, unless oneDNN may not use them."""
    if onednn_limit("bf16"):
        return []
    flags = cpu_flags()
    return [flag for flag in FAST_BF16 if flag in flags]


def onednn_limit(needed: Precision | Literal["avx512"]) -> str | None:
    """Return the setting of the environment that keeps oneDNN from instructions that an x86 processor may have, as NAME=VALUE."""
    name = next((name for name in LIMITS if os.environ.get(name)), None)
    if name is None or platform.machine() not in X86 or os.environ[name].upper() not in BELOW[needed]:
        return None
    return f"{name}={os.environ[name]}"


def cpu_flags() -> frozenset[str]:
    """Return the processor's flags, empty where nothing tells."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # older releases of torch have no such list
    if capabilities is not None and platform.machine() in X86:
        return frozenset(name for name, there in capabilities().items() if there is True)
    return read_cpu_flags()


def _why_emulated_by_processor(precision: Precision) -> str | None:
    native = NATIVE[precision]["x86" if platform.machine() in X86 else "arm"]
    price = "without them it is emulated, several times slower than fp32"
    if limit := onednn_limit(precision):
        return f"{precision} needs instructions that {limit} disables; {price}. Unset the variable to compute in {precision}."
    flags = cpu_flags()
    if not flags or flags & set(native):
        return None
    if HIDDEN & set(native) and not hasattr(torch.cpu, "get_capabilities") and _torch_supports(precision):
        return None
    there = ", ".join(sorted(flags & set(TELLING))) or "not even avx2"
    return f"{precision} needs a processor with {' or '.join(native)}; this one has {there} and none of these; {price}."


def _torch_supports(precision: Precision) -> bool:
    """Ask oneDNN; it also says yes to bf16 on AVX-512 without bf16 instructions, where it emulates."""
    asked = getattr(torch.ops.mkldnn, f"_is_mkldnn_{precision}_supported", None)
    return asked is not None and bool(asked()) and "avx512f" not in cpu_flags()
