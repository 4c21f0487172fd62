"""CPU time and page faults of the frame encoder and of a training step, with freed memory returned and kept (encoders/heap.py), in turns.

One thread each: the encoder in batches of 32 crops at 224, in a thread of its own as in extraction; EST's step (the paper's sizes with one
layer, batch 16, Adam) on features. Rows and losses are compared bit by bit.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from _machine import machine

from est.encoders.encoder import Encoder
from est.encoders.heap import keeping_freed_memory
from est.encoders.precision import resolve_precision
from est.encoders.weights import load_weights
from est.train.loop.autocast import casting
from est.train.models import build_model
from est.train.models.registry import model_config

CPU = torch.device("cpu")
ROUNDS, BATCHES, CROPS, CLIPS = 5, 3, 32, 16
WAYS = {"returned": contextlib.nullcontext, "kept": keeping_freed_memory}


def encoding(precision: str) -> Callable[[], torch.Tensor]:
    """Return what encodes a batch."""
    encoder = Encoder(load_weights("synface").backbone, ("gap",), device=CPU, precision=precision, batch=CROPS)
    crops = torch.randint(0, 256, (CROPS, 224, 224, 3), dtype=torch.uint8).numpy()
    return lambda: torch.from_numpy(encoder.encode(crops, ["gap"])["gap"])


def training(precision: str) -> Callable[[], torch.Tensor]:
    """Return what takes a step; the weights of each call are those of the one before."""
    model = build_model(model_config("est", layers=1, dropout=0.0, head_dropout=0.0), width=512, num_classes=6, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0, fused=True)
    batch = {"features": torch.randn(CLIPS, 7, 5, 512), "order": torch.randint(10, (CLIPS,))}
    target = torch.randint(6, (CLIPS,))

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with casting(CPU, precision):
            output = model(batch)
        loss = F.cross_entropy(output.expression.float(), target) + F.cross_entropy(
            output.order.float(), batch["order"]
        )
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def cost(work: Callable[[], torch.Tensor]) -> tuple[float, int]:
    """Return CPU milliseconds and page faults of one call, after a first one."""
    work()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(BATCHES):
        work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return 1000 * seconds / BATCHES, (after.ru_minflt - before.ru_minflt) // BATCHES


def measure() -> None:
    """Print a row for each kind of work and precision: the best of the rounds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    native = resolve_precision("auto", CPU)[0]
    for precision in dict.fromkeys((native, "fp32")):
        for name, count, prepare in (("a crop encoded", CROPS, encoding), ("a step of EST", 1, training)):
            work, best = prepare(precision), {}
            expected = work()
            for _ in range(ROUNDS):
                for way, block in WAYS.items():
                    with block():
                        assert torch.equal(work(), expected)
                        best[way] = min(best.get(way, (1e9, 0)), cost(work))
            cells = ", ".join(
                f"{way} {ms / count:.1f} ms ({faults:,} page faults a batch)" for way, (ms, faults) in best.items()
            )
            saved = 100 * (1 - best["kept"][0] / best["returned"][0])
            print(f"{precision}, {name}: {cells}; {saved:.0f} % less", flush=True)


def main() -> None:
    print(machine("torch"))
    with keeping_freed_memory():
        pass  # from here on threads share one heap
    with ThreadPoolExecutor(1) as thread:
        thread.submit(measure).result()


if __name__ == "__main__":
    main()
