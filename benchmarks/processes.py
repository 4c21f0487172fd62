"""Two processes that fine-tune together: what sums of gradients cost, and what is won by adding them during the backward pass.

    python benchmarks/processes.py                  # minutes on a CPU
    python benchmarks/processes.py --processes 2 --device cuda

torch's DistributedDataParallel sums gradients while the backward pass still runs; est sums them after it. Steps of both kinds
take turns in the same processes: the same buckets are summed after the backward pass, or each as soon as its last gradient is
there. The time of the sums alone has no waiting for the slower process in it. Ratios are medians over pairs of steps, with quartiles.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from _machine import machine
from finetune import rendered

from est.encoders.device import parse_device
from est.train.config.configfile import resolve
from est.train.loop.starts.initial_weights import build
from est.train.loop.trainer import Trainer
from est.train.loop.watch import Part
from est.train.loop.world import buckets, joined, own_device
from est.train.models import build_model
from est.train.preparation import prepare

WAYS = {
    "layer4 from maps": ["finetune.learns=layer4"],
    "all from crops": ["finetune.learns=all"],
    "all from crops, frozen batch norms": ["finetune.learns=all", "finetune.batch_norm=frozen"],
}


def take_steps(cache: Path, device_name: str, steps: int, settings: list[str]) -> None:
    """Be one of the processes: take steps, and print the time of each and of its sum."""
    device = own_device(parse_device(device_name))
    config = resolve(settings=[*settings, "protocol.kind=holdout", "control=false"])
    with joined(device) as world:
        ready = prepare(cache, config)
        fold = ready.plan.folds[0]
        head = build_model(config.model, width=ready.data.clips.width, num_classes=len(ready.data.labels), seed=1)
        part = Part(name="one", fold=fold.name, seed=1, index=0, total=1)
        model = build(ready.start, head, config, part).to(device)
        how = {"config": config, "precision": "fp32", "seed": 1, "world": world}
        learnt = ready.data.place[ready.data.learnt(fold.train)]
        trainer = Trainer(model, ready.data.clips, train=learnt, target=ready.data.target, **how)
        trainer.model.train()
        early = Early(trainer)
        times: dict[bool, list[float]] = {False: [], True: []}
        sums: list[float] = []
        for step in range(2 * steps + 2):
            early.wanted = step % 2 == 1
            if step == 1:
                early.begin()
            plan = trainer.planner.draw(step // 2)
            world.wait()
            start = time.perf_counter()
            trainer.step(plan, 0)
            synchronise(device)
            times[early.wanted].append(time.perf_counter() - start)
        early.wanted = False
        for _ in range(steps):
            found = [torch.ones_like(parameter) for parameter in early.parameters]
            world.wait()
            start = time.perf_counter()
            world.add(found)
            synchronise(device)
            sums.append(time.perf_counter() - start)
        if world.first:
            told = {"late": times[False][1:], "early": times[True][1:], "sums": sums}
            print(json.dumps(told | {"bytes": sum(parameter.nbytes for parameter in early.parameters)}))


def synchronise(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Early:
    """Sums gradients bucket by bucket as soon as they are there, where it is wanted; the optimiser's step waits for them."""

    def __init__(self, trainer: Any) -> None:
        self.wanted = False
        self._world, self._add = trainer.world, trainer.world.add
        self._trainer = trainer
        self.parameters: list[Any] = []  # that get gradients, known after a step
        self._buckets: list[list[Any]] = []
        self._of: dict[int, int] = {}
        self._missing: list[int] = []
        self._flying: list[tuple[list[Any], Any, Any]] = []
        self._world.add = self._finish

    def begin(self) -> None:
        """Watch the parameters that got a gradient in the step before."""
        self.parameters = [one for one in self._trainer._parameters() if one.grad is not None]
        self._buckets = list(buckets(self.parameters[::-1]))  # the last of them come first
        self._of = {id(one): place for place, bucket in enumerate(self._buckets) for one in bucket}
        self._missing = [len(bucket) for bucket in self._buckets]
        for parameter in self.parameters:
            parameter.register_post_accumulate_grad_hook(self._take)

    def _take(self, parameter: Any) -> None:
        if not self.wanted:
            return
        place = self._of[id(parameter)]
        self._missing[place] -= 1
        if not self._missing[place]:
            gradients = [one.grad for one in self._buckets[place]]
            flat = torch.cat([one.detach().reshape(-1) for one in gradients])
            group = None if flat.is_cuda else self._world.group
            self._flying.append((gradients, flat, dist.all_reduce(flat, group=group, async_op=True)))
            self._missing[place] = len(self._buckets[place])

    def _finish(self, tensors: Any) -> None:
        """Take the place of `World.add`: of a whole step's gradients, only what is not under way is still added."""
        if not self.wanted or len(tensors) < len(self.parameters):
            self._add(tensors)
            return
        self._add(tensors[-1:])
        assert len(self._flying) == len(self._buckets), "every gradient has come"
        for gradients, flat, work in self._flying:
            work.wait()
            for gradient, total in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
                gradient.detach().copy_(total.view_as(gradient))
        self._flying.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--folder", type=Path, help="keeps what was rendered and extracted")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)  # a cache, and settings
    arguments = parser.parse_args()
    if arguments.child:
        take_steps(Path(arguments.child[0]), arguments.device, arguments.steps, arguments.child[1:])
        return
    print(machine("torch"))
    with tempfile.TemporaryDirectory(prefix="est-processes-") as made:
        folder = arguments.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        cache = rendered(folder, arguments.size)
        print(
            f"\n{arguments.processes} processes on {arguments.device}, batch 8 × 35 frames of {arguments.size} × {arguments.size}"
        )
        print("| learns | summed | step | sums alone | of a step | summed early, speed |\n|---|---|---|---|---|---|")
        for name, settings in WAYS.items():
            print(measure(name, settings, cache, arguments), flush=True)


def measure(name: str, settings: list[str], cache: Path, arguments: argparse.Namespace) -> str:
    """Start the processes, and write a row of the table."""
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(arguments.processes),
    ]
    child = ["--device", arguments.device, "--steps", str(arguments.steps), "--child", str(cache), *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*torchrun, __file__, *child], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    step, total = statistics.median(found["late"]), statistics.median(found["sums"])
    ratios = [late / early for late, early in zip(found["late"], found["early"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    cells = [
        name,
        f"{found['bytes'] / 1e6:.0f} MB",
        f"{1000 * step:.0f} ms",
        f"{1000 * total:.0f} ms",
        f"{total / step:.1%}",
    ]
    return f"| {' | '.join(cells)} | {middle:.2f} × ({low:.2f}–{high:.2f}) |"


if __name__ == "__main__":
    main()
