"""What bounds the cached training step of EST in fp32 on one thread of a processor.

    python benchmarks/step.py

Prints the rates of a copy and of large products in this process; the parts of a step as it is and with torch's own products, in turns
(both are the same where train/models/products.py leaves products to torch); and the time that the step's arithmetic and bytes take at
those rates. Times are processor time, medians: for a machine that has other work to do.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from _machine import machine
from _ratios import tell
from torch.utils.flop_counter import FlopCounterMode

from est.train import TrainConfig, model_config
from est.train.models import products
from train import Step

CPU = torch.device("cpu")
SIDE = 2048  # of the matrices whose product tells the rate of one core
GIGA = 1e9
FLOAT = 4
# Floats moved for each parameter: Adam reads weight, gradient and two moments and writes three of them; forward and backward read the
# weight once each, and the backward pass writes the gradient.
MOVED = 7 + 3
TINY = {"dim": 8, "ffn": 8, "order_hidden": 8}  # a model whose step is nothing but calls
PARTS = ("forward", "backward", "Adam", "step")


def taken(function: Callable[[], object]) -> float:
    """Return the processor time of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def median(function: Callable[[], object], rounds: int) -> float:
    """Return the median processor time of calls, after one to warm up."""
    function()
    return statistics.median(taken(function) for _ in range(rounds))


@contextmanager
def torchs_products() -> Generator[None]:
    """Let torch multiply everything."""
    chosen = products.onednn_is_faster
    products.onednn_is_faster = lambda: False
    try:
        yield
    finally:
        products.onednn_is_faster = chosen


def parts_of(step: Step) -> list[float]:
    """Take a step; return the processor time of its parts and of all."""
    start = time.process_time()
    loss = step.loss(step.features)
    middle = time.process_time()
    step.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    learnt = time.process_time()
    step.optimizer.step()
    end = time.process_time()
    return [middle - start, learnt - middle, end - learnt, end - start]


def in_turns(step: Step, rounds: int) -> tuple[list[list[float]], list[list[float]]]:
    """Take steps as they are and with torch's products in turns; return the times of the parts of either."""
    found: tuple[list[list[float]], list[list[float]]] = ([], [])
    for number in range(-3, rounds):
        own = parts_of(step)
        with torchs_products():
            plain = parts_of(step)
        if number >= 0:
            found[0].append(own)
            found[1].append(plain)
    return found


def arithmetic(step: Step) -> int:
    """Count the operations of all products of a step: a multiplication and an addition are two."""
    with torchs_products(), FlopCounterMode(display=False) as counter:
        step.loss(step.features).backward()
    return counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine('torch')}, 1 thread, processor time; batch {TrainConfig().loop.batch}")

    step = Step(TrainConfig(), CPU, autocast=False)
    own, plain = in_turns(step, arguments.rounds)
    number = sum(parameter.numel() for parameter in step.model.parameters())
    source = torch.ones(MOVED * number // 2)
    target = torch.empty_like(source)
    copying = 2 * FLOAT * len(source) / GIGA / median(lambda: target.copy_(source), 15)
    one, other = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    work = 2 * SIDE**3 / GIGA
    rates = {"torch": work / median(lambda: one @ other, 9)}
    if torch.backends.mkldnn.is_available():
        rates["oneDNN"] = work / median(lambda: products.onednn_product(one, other), 9)
    print(f"a copy moves {copying:.1f} GB/s; products: " + ", ".join(f"{n} {r:.0f} GFLOP/s" for n, r in rates.items()))

    faster = products.onednn_is_faster()
    for name, times in {f"as it is ({'oneDNN' if faster else 'torch'})": own, "torch's products": plain}.items():
        middles = [1000 * statistics.median(column) for column in zip(*times, strict=True)]
        print(f"{name:<20} " + "  ".join(f"{p} {m:6.1f} ms" for p, m in zip(PARTS, middles, strict=True)))
    ratio = statistics.median(mine[-1] / theirs[-1] for mine, theirs in zip(own, plain, strict=True))
    print(f"as it is takes {ratio:.3f} of the time with torch's products (median of {arguments.rounds} pairs)")
    tell("cached step in fp32, of the step with torch's products", ratio)

    small = Step(TrainConfig(model=model_config("est", **TINY)), CPU, autocast=False, width=TINY["dim"])
    calls = median(small, arguments.rounds)
    operations, moved = arithmetic(step) / GIGA, MOVED * number * FLOAT / GIGA
    shares = {"arithmetic": operations / max(rates.values()), "bytes": moved / copying, "calls": calls}
    print(f"{operations:.2f} GFLOP in products, {moved:.2f} GB moved ({MOVED} floats a parameter)")
    bound = sum(shares.values())
    print(
        "at these rates: " + " + ".join(f"{n} {1000 * s:.1f}" for n, s in shares.items()) + f" = {1000 * bound:.1f} ms"
    )
    whole = statistics.median(times[-1] for times in own)
    print(f"the step takes {whole / bound:.2f} of that")


if __name__ == "__main__":
    main()
