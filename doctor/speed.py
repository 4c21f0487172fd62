"""How fast est computes here: the frame encoder by each engine in each precision."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from ..encoders.backbone import Backbone
from ..encoders.device import parse_device
from ..encoders.engines.choice import choose_engine, kind_of_processor
from ..encoders.engines.preparation import prepare
from ..encoders.engines.runtime import why_unusable
from ..encoders.precision import DTYPES, why_emulated
from .check import Check

GROUP = "speed"
PICTURES, SIDE = 16, 224
SECONDS = 1.5  # for each


def check_speed(device: str = "auto") -> Iterator[Check]:
    """Measure the encoder in what the device computes in, and say whether the fastest is what is chosen; int8 is never the default."""
    where = parse_device(device)
    auto = choose_engine("auto", "auto", where)
    chosen, rates = (auto.engine, auto.precision), {}
    for engine, precision in ways(where):
        rates[engine, precision] = measured(engine, precision, where)
    fastest = max((way for way in rates if way[1] != "int8"), key=lambda way: rates[way])
    for (engine, precision), rate in rates.items():
        other = (engine, precision) == chosen and fastest != chosen and rates[fastest] > 1.1 * rate
        yield Check(
            group=GROUP,
            name=f"ResNet-18, {precision} by {engine}",
            state="note" if other else "ok",
            found=f"{rate:.0f} images of {SIDE}² per second" + (", chosen" if (engine, precision) == chosen else ""),
            remedy=f"--engine {fastest[0]} --precision {fastest[1]} is faster here" if other else "",
        )


def measured(engine: str, precision: str, device: torch.device) -> float:
    """Return how many pictures a second an engine encodes; with the call it goes, before the next one is built."""
    crops = np.zeros((PICTURES, SIDE, SIDE, 3), np.uint8)
    prepared = prepare(Backbone().eval(), SIDE, choose_engine(engine, precision, device), lambda line: None)
    built = prepared.build(("gap",), device, PICTURES)
    return PICTURES * _rate(lambda: built.encode(crops), device)


def ways(device: torch.device) -> Iterator[tuple[str, str]]:
    """Yield the engines and precisions that a device computes in."""
    for precision in DTYPES:
        if precision != "fp16" and not why_emulated(precision, device):
            yield "torch", precision
    if device.type == "cpu" and not why_unusable():
        yield "onnxruntime", "fp32"
        if kind_of_processor() != "x86":
            yield "onnxruntime", "int8"


def _rate(call: Callable[[], object], device: torch.device) -> float:
    """Return how often a call is done in a second."""
    call()
    done, begin = 0, time.perf_counter()
    while (taken := time.perf_counter() - begin) < SECONDS:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        done += 1
    return done / taken
