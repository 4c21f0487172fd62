"""Two processes that fine-tune together: what sums of gradients cost, and what is won by adding them during the backward pass.

    python benchmarks/processes.py                  # minutes on a CPU
    python benchmarks/processes.py --processes 2 --device cuda

Steps of both kinds take turns in the same processes: the same buckets are summed after the backward pass, or each as soon as its
last gradient is there, as est does. The time of the sums alone has no waiting for the slower process in it. Ratios are medians over
pairs of steps, with quartiles.
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

import torch
from _machine import machine
from finetune import rendered

from est.encoders.device import parse_device
from est.train.config.configfile import resolve
from est.train.loop.starts.initial_weights import build
from est.train.loop.trainer import Trainer
from est.train.loop.watch import Part
from est.train.loop.world import joined, own_device
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
        times: dict[bool, list[float]] = {False: [], True: []}
        sums: list[float] = []
        for step in range(2 * steps + 2):
            early = step % 2 == 1
            trainer._sums._early = early or step == 0  # the first step sees which parameters get gradients
            plan = trainer.planner.draw(step // 2)
            world.wait()
            start = time.perf_counter()
            trainer.step(plan, 0)
            synchronise(device)
            times[early].append(time.perf_counter() - start)
        learnt = [one for one in trainer._parameters() if one.requires_grad]
        for _ in range(steps):
            found = [torch.ones_like(one) for one in learnt]
            world.wait()
            start = time.perf_counter()
            world.add(found)
            synchronise(device)
            sums.append(time.perf_counter() - start)
        if world.first:
            told = {"late": times[False][1:], "early": times[True][1:], "sums": sums}
            print(json.dumps(told | {"bytes": sum(one.nbytes for one in learnt)}))


def synchronise(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
