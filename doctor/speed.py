"""How fast est computes here: the frame encoder in each precision, and a step of training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from ..encoders.backbone import Backbone
from ..encoders.device import parse_device
from ..encoders.precision import DTYPES, resolve_precision, why_emulated
from .check import Check

GROUP = "speed"
PICTURES, SIDE = 16, 224
SECONDS = 1.5  # for each


@torch.inference_mode()
def check_speed(device: str = "auto") -> Iterator[Check]:
    """Measure the encoder in the precisions that the device computes in, and say whether the fastest is the one that is chosen."""
    where = parse_device(device)
    chosen, _ = resolve_precision("auto", where)
    rates: dict[str, float] = {}
    for name, dtype in DTYPES.items():
        if name == "fp16" or why_emulated(name, where):
            continue
        net = Backbone().eval().to(where, dtype).to(memory_format=torch.channels_last)
        pictures = torch.zeros(PICTURES, 3, SIDE, SIDE, dtype=dtype, device=where)
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        rates[name] = PICTURES * _rate(lambda net=net, pictures=pictures: net.trunk(pictures), where)
    fastest = max(rates, key=lambda name: rates[name])
    for name, rate in rates.items():
        other = name == chosen and fastest != chosen and rates[fastest] > 1.1 * rate
        yield Check(
            group=GROUP,
            name=f"ResNet-18, {name}",
            state="note" if other else "ok",
            found=f"{rate:.0f} pictures of {SIDE}² a second" + (", chosen" if name == chosen else ""),
            remedy=f"--precision {fastest} is faster here" if other else "",
        )


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
