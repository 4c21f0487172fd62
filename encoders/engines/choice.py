"""Which engine computes encoders, and in which precision: what was asked for, or what is fast on this processor.

`auto` goes by the processor's flags, and never changes the class of accuracy by itself: it takes bf16 where the processor multiplies in it,
else fp32, by onnxruntime where that is faster; of int8 it only says what it would bring. The factors are measured on ResNet-18 at 224
(`benchmarks/engines.py`).
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ...errors import EstError, UsageError, expect_choice, nearest
from .. import precision as of_torch
from ..precision import DTYPES, Precision, resolve_precision
from .engine import ENGINES, PRECISIONS, EncoderPrecision, EngineName
from .runtime import expect_usable, why_unusable

OF_ENGINE: dict[EngineName, tuple[EncoderPrecision, ...]] = {"torch": tuple(DTYPES), "onnxruntime": ("fp32", "int8")}
ASKED, AS_BEGUN = "as asked", "as the cache was started"  # why
VNNI = ("avx512_vnni", "avx_vnni")  # products of unsigned and signed bytes are added in 32 bits
# How many times as fast int8 is as what `auto` takes, one thread, by the kind of processor: benchmarks/engines.py prints it.
INT8_PAYS = {"VNNI": 3.1, "AVX2": 1.9}  # beside fp32 by onnxruntime; on AVX2 of a graph that its own tool made
INT8_PAYS_BESIDE_BF16 = 1.7  # without AMX; with it bf16 is as fast
WORTH_SAYING = 1.3


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What rows that are there were computed in, so that more of them are computed alike; None where nothing tells."""

    engine: EngineName | None = None
    precision: EncoderPrecision | None = None
    searching: Precision | None = None  # of the detector
    bits: int | None = None  # of weights in int8

    def precision_for(self, engine: str, precision: str) -> str:
        """Return the precision that `auto` takes: that of the rows, unless another engine was asked for that lacks it."""
        is_able = engine == "auto" or self.precision in OF_ENGINE[engine]  # ty: ignore[invalid-argument-type]
        return self.precision if precision == "auto" and self.precision is not None and is_able else precision

    def engine_for(self, engine: str, precision: str) -> str:
        """Return the engine that `auto` takes: that of the rows, unless a precision was asked for that it lacks."""
        if engine != "auto" or self.engine is None or precision not in ("auto", *OF_ENGINE[self.engine]):
            return engine
        return self.engine


UNBOUND = Begun()


@dataclass(frozen=True, kw_only=True)
class Computation:
    """How encoders are computed."""

    engine: EngineName
    precision: EncoderPrecision
    searching: Precision  # of the detector, which torch computes
    why: str
    hint: str = ""  # what would be faster
    bits: int = 8  # of weights in int8
    may_fall_back: bool = False  # to torch, for an encoder that onnxruntime cannot compute: no engine was asked for

    def lines(self, devices: Sequence[torch.device]) -> list[str]:
        """Say it, and what would be faster."""
        told = f"{', '.join(map(str, devices))} in {self.precision} by {self.engine}: {self.why}"
        return [told, self.hint] if self.hint else [told]


def choose_engine(
    engine: str,
    precision: str,
    *devices: torch.device,
    begun: Begun = UNBOUND,
    option: str = "--precision",
) -> Computation:
    """Turn what was asked for into what is computed, or say what is missing.

    `auto` takes what rows that are there were `begun` in, where that is known; `option` is what the caller calls the precision.
    """
    expect_choice("--engine", engine, ("auto", *ENGINES))
    taken = begun.precision_for(engine, precision)
    found = _choose(begun.engine_for(engine, taken), taken, devices, begun, option)
    return found if taken == precision else replace(found, why=found.why.replace(ASKED, AS_BEGUN, 1))


def _choose(engine: str, precision: str, devices: Sequence[torch.device], begun: Begun, option: str) -> Computation:
    """Choose where `auto` means what is fast here."""
    elsewhere = next((device for device in devices if device.type != "cpu"), None)
    if engine == "onnxruntime" and elsewhere is not None:
        raise _not_on(elsewhere)
    if precision == "int8":
        return _in_int8(engine, elsewhere, begun, option, devices)
    if precision not in ("auto", *PRECISIONS):
        near = nearest(precision, PRECISIONS) or "auto"
        raise UsageError(
            f"A precision of encoders is auto, fp32, bf16, fp16 or int8; found {precision!r}.",
            remedy=f"{option} {near}",
        )
    if engine == "onnxruntime":
        if precision not in ("auto", "fp32"):
            raise UsageError(
                f"onnxruntime computes encoders in fp32 or int8, not in {precision}.",
                remedy=f"--engine torch {option} {precision}, or {option} fp32",
            )
        expect_usable()
        searching = _searching("fp32", begun, devices)
        return Computation(engine="onnxruntime", precision="fp32", searching=searching, why=ASKED)
    resolved, why = resolve_precision(precision, *devices, remedy=f"{option} fp32")
    searching = _searching(resolved, begun, devices)
    found = Computation(engine="torch", precision=resolved, searching=searching, why=why)
    if elsewhere is not None:
        return found
    hint = _hint(resolved, option) if precision == engine == "auto" else ""
    if resolved != "fp32":
        return replace(found, hint=hint)
    if engine == "torch" or not is_fast_here():
        return replace(found, hint=hint)
    if wrong := why_unusable():
        return replace(found, why=f"{why}; onnxruntime would be faster, but {': '.join(wrong)}")
    return replace(found, engine="onnxruntime", hint=hint, may_fall_back=True)


def is_fast_here() -> bool:
    """Return whether onnxruntime is known to be faster than torch in fp32: on x86 with AVX2, which has no bf16."""
    return kind_of_processor() in INT8_PAYS and not of_torch.fast_bf16_flags()


def kind_of_processor() -> str:
    """Return VNNI, AVX2, x86 for one that has neither, or other."""
    if platform.machine() not in of_torch.X86:
        return "other"
    flags = of_torch.cpu_flags()
    return "VNNI" if flags & set(VNNI) else "AVX2" if "avx2" in flags else "x86"


def bits_here() -> int:
    """Return how many bits weights in int8 have on this processor: 8, or 7 where products of 8 saturate."""
    return 7 if kind_of_processor() in ("AVX2", "x86") else 8


def why_no_bits(bits: int) -> str | None:
    """Return why this processor cannot compute with weights of so many bits; None where it can."""
    if bits <= bits_here():
        return None
    return f"Weights of {bits} bits need a processor with {' or '.join(VNNI)}; on this one products of them saturate."


def _in_int8(
    engine: str,
    elsewhere: torch.device | None,
    begun: Begun,
    option: str,
    devices: Sequence[torch.device],
) -> Computation:
    if engine == "torch":
        raise UsageError("int8 is computed by onnxruntime, not by torch.", remedy="leave out --engine torch")
    if elsewhere is not None:
        raise UsageError(
            f"int8 is computed on the processor, and not on {elsewhere}.",
            remedy=f"--device cpu, or {option} auto, which takes bf16 where the GPU multiplies in it",
        )
    if kind_of_processor() == "x86":
        raise EstError("int8 needs a processor with avx2, and this one has none.", remedy=f"{option} fp32")
    bits = begun.bits or bits_here()
    if reason := why_no_bits(bits):
        raise EstError(reason, remedy=f"{option} fp32")
    expect_usable()
    why = ASKED if bits == 8 else f"{ASKED}, weights of {bits} bits"
    searching = _searching("int8", begun, devices)
    return Computation(engine="onnxruntime", precision="int8", searching=searching, why=why, bits=bits)


def _searching(precision: EncoderPrecision, begun: Begun, devices: Sequence[torch.device]) -> Precision:
    """Return the precision of the detector beside rows in some precision: as beside such rows that are there, else the same, but int8."""
    if begun.searching is not None and begun.precision == precision:
        return resolve_precision(begun.searching, *devices)[0]
    return resolve_precision("auto", *devices)[0] if precision == "int8" else precision


def _hint(precision: Precision, option: str) -> str:
    """Return what int8 would bring beside a precision of torch, where that is known and worth it."""
    if precision == "fp32":
        gain = INT8_PAYS.get(kind_of_processor(), 0.0)
    else:
        gain = 0.0 if "amx_bf16" in of_torch.fast_bf16_flags() else INT8_PAYS_BESIDE_BF16
    if gain < WORTH_SAYING:
        return ""
    return (
        f"int8 would be about {gain:g} × faster for ResNet-18 here: {option} int8; docs/extract.md says how rows differ"
    )


def _not_on(device: torch.device) -> EstError:
    """Return why onnxruntime does not compute on a device."""
    there = ""
    if not why_unusable():
        import onnxruntime

        there = f" (this onnxruntime has {', '.join(onnxruntime.get_available_providers())})"
    return EstError(
        f"est computes encoders by onnxruntime on the processor alone, and {device} was asked for{there}.",
        remedy="--engine torch for the GPU, or --device cpu",
    )
