"""Many trainings of a small model on one machine: one after another, in processes, and stacked.

    python benchmarks/many.py                  # all rows: about 5 minutes on 2 cores
    python benchmarks/many.py --quick          # the three smallest, one repetition
    python benchmarks/many.py --device cuda    # one after another and stacked, on a GPU

Times are wall time of a step of one training: that of all, over their number. Each way takes a step first that is not counted. Ways are
interleaved; a ratio is the median over repetitions, with the smallest and the largest in parentheses, of how many times faster a
way is than one after another, where that is on one thread or on all of them, whichever is faster.
On a machine that others use as well, one after another on all threads has been 3 to 40 times as slow as on one: each small operation
waits for a thread that is not running. Then leave that column out of the comparison.
Goals: stacked ≥ 2 × for 16 trainings of GRU and of EST of width 128 on a CPU, ≥ 8 × on a GPU. What no way can beat is the time to move the
bytes of the optimiser: 28 for each parameter and step (Adam reads weight, gradient and two means, and writes all but the gradient).
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from _machine import machine
from _ratios import tell
from cache_io import write

from est.cache import open_cache
from est.encoders.device import parse_device
from est.train import EstConfig, LoopConfig, TrainConfig, build_model, model_config
from est.train.data.clipset import ClipSet
from est.train.loop.stacks.stack import Stack
from est.train.loop.trainer import Trainer
from est.train.models.description import usual_shape

CLASSES, CLIPS = 7, 64
TRAININGS = 16
BYTES = 28  # of a parameter, in a step of Adam
COPIED = 2**28  # bytes, more than caches hold
SMALL_HEAD = {"order_hidden": 256} if "order_hidden" in EstConfig.__dataclass_fields__ else {}

MODELS = {
    "GRU, 64": model_config("gru", hidden=64),
    "EST, width 128, 1 layer": model_config("est", dim=128, ffn=256, layers=1, **SMALL_HEAD),
    "EST, width 128, 3 layers, no SSOP": model_config("est", dim=128, ffn=512, layers=3, ssop=False),
    "EST, width 128, 3 layers": model_config("est", dim=128, ffn=512, layers=3),
    "GRU, 256": model_config("gru"),
    "EST as published": model_config("est"),
    "STT, width 128, 1 block": model_config("stt", dim=128, ffn=256, layers=1),
    "MSSTNet, width 128": model_config("msstnet", dim=128, ffn=256),
}
FEW = dict.fromkeys(("EST as published", "STT, width 128, 1 block", "MSSTNet, width 128"), 4)  # trainings
QUICK = 3  # rows
ALONE = ("one after another, 1 thread", "one after another")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is trained, and how."""

    model: str
    first: int  # number of the first training
    trainings: int
    device: str


class Trainings:
    """Trainings of one model that can be taken some steps further."""

    def __init__(self, order: Order, folder: Path) -> None:
        self.device = parse_device(order.device)
        model_settings = MODELS[order.model]
        opened, reads = open_cache(cache_for(order.model, folder)), model_settings.reads
        clips = ClipSet.from_cache(opened, np.arange(len(opened)), reads or "gap", device=self.device, maps=bool(reads))
        target = torch.from_numpy(clips.label).to(self.device)
        config = TrainConfig(model=model_settings, loop=LoopConfig(precision="fp32"), device=order.device)
        self.trainers = []
        for seed in range(order.first, order.first + order.trainings):
            sizes = {"width": clips.width, "maps": clips.maps, "num_classes": CLASSES}
            model = build_model(config.model, **sizes, seed=seed).to(self.device)
            train = np.arange(len(clips))
            self.trainers.append(
                Trainer(model, clips, train=train, target=target, config=config, precision="fp32", seed=seed)
            )
        self.plans = [trainer.begin_epoch(0) for trainer in self.trainers]

    def seconds(self, steps: int, *, stacked: bool, started: Callable[[], None] = lambda: None) -> float:
        """Time steps of all trainings, after one that is not counted; `started` is called in between."""
        stack = Stack(self.trainers) if stacked else None
        for step in range(steps + 1):
            if step == 1:
                self._wait()
                started()
                start = time.perf_counter()
            if stack is None:
                for trainer, plan in zip(self.trainers, self.plans, strict=True):
                    trainer.step(plan, step % trainer.num_steps, 0)
            else:
                stack.step([(plan, step % self.trainers[0].num_steps, 0) for plan in self.plans])
        self._wait()
        found = time.perf_counter() - start
        if stack is not None:
            stack.release()
        return found

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def cache_for(model: str, folder: Path) -> Path:
    """Return the cache that a model reads, of random numbers in the shape that ResNet-18 gives; write it if it is not there."""
    reads = MODELS[model].reads or "gap"
    path = folder / f"{reads}.zarr"
    if not path.exists():
        width, *maps = usual_shape(reads)
        write(path, np.random.default_rng(1).integers(60, 120, CLIPS), width, maps=tuple(maps), name=reads)
    return path


def serve(pipe: Connection, order: Order, folder: Path) -> None:
    """Train on one thread in a process of its own, as often as asked."""
    torch.set_num_threads(1)
    trainings = Trainings(order, folder)
    pipe.send("ready")
    while (asked := pipe.recv()) is not None:
        steps, stacked = asked

        def started() -> None:
            pipe.send("warm")
            pipe.recv()

        trainings.seconds(steps, stacked=stacked, started=started)
        pipe.send("done")


class Processes:
    """As many processes as cores, which share the trainings and start together."""

    def __init__(self, model: str, trainings: int, cores: int, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes, self._processes = [], []
        bounds = [trainings * core // cores for core in range(cores + 1)]
        for first, end in pairwise(bounds):
            mine, theirs = context.Pipe()
            order = Order(model=model, first=first, trainings=end - first, device="cpu")
            process = context.Process(target=serve, args=(theirs, order, folder))
            process.start()
            theirs.close()
            self._pipes.append(mine)
            self._processes.append(process)
        self._heard()

    def seconds(self, steps: int, *, stacked: bool) -> float:
        """Time steps of all trainings, from when all processes are warm until the last is done."""
        self._tell((steps, stacked))
        self._heard()
        start = time.perf_counter()
        self._tell("go")
        self._heard()
        return time.perf_counter() - start

    def close(self) -> None:
        """End the processes."""
        self._tell(None)
        for process in self._processes:
            process.join()

    def _tell(self, message: object) -> None:
        for pipe in self._pipes:
            pipe.send(message)

    def _heard(self) -> None:
        for pipe in self._pipes:
            pipe.recv()


def on_threads(number: int, way: Callable[[], float]) -> float:
    """Time something on so many threads."""
    torch.set_num_threads(number)
    return way()


def measure(model: str, device: torch.device, folder: Path, repetitions: int, steps: int) -> tuple[int, dict]:
    """Return the parameters of a model, and for each way the seconds of a step of one training, one a repetition."""
    number, threads = FEW.get(model, TRAININGS), torch.get_num_threads()
    here = Trainings(Order(model=model, first=0, trainings=number, device=str(device)), folder)
    alone, stacked = (lambda way=way: here.seconds(steps, stacked=way) for way in (False, True))
    ways: dict[str, Callable[[], float]] = {
        ALONE[1]: lambda: on_threads(threads, alone),
        "stacked": lambda: on_threads(threads, stacked),
    }
    processes = None
    if device.type == "cpu":
        processes = Processes(model, number, threads, folder)
        ways = {
            ALONE[0]: lambda: on_threads(1, alone),
            ALONE[1]: ways[ALONE[1]],
            "one process a core": lambda: processes.seconds(steps, stacked=False),
            "stacked, 1 thread": lambda: on_threads(1, stacked),
            "stacked": ways["stacked"],
            "stacked in one process a core": lambda: processes.seconds(steps, stacked=True),
        }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            found[name].append(way() / steps / number)
    torch.set_num_threads(threads)
    if processes is not None:
        processes.close()
    return sum(parameter.numel() for parameter in here.trainers[0].model.parameters()), found


def bandwidth(device: torch.device) -> float:
    """Return the bytes that a copy reads and writes in a second."""
    source = torch.ones(COPIED // 4, device=device)
    copy = torch.empty_like(source)
    times = []
    for _ in range(6):
        start = time.perf_counter()
        copy.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * COPIED / min(times[1:])


def row(model: str, parameters: int, found: dict[str, list[float]], rate: float) -> str:
    """Write a row of the table."""
    medians = {name: statistics.median(times) for name, times in found.items()}
    base = min((name for name in ALONE if name in found), key=medians.__getitem__)
    cells = [model, str(FEW.get(model, TRAININGS)), f"{parameters / 1e6:.2f} M"]
    for name, times in found.items():
        cell = f"{1000 * medians[name]:.2f}"
        if name not in ALONE:
            ratios = sorted(alone / own for alone, own in zip(found[base], times, strict=True))
            tell(f"{model}: {name}", statistics.median(ratios))
            cell += f" · {statistics.median(ratios):.2f} × ({ratios[0]:.2f}–{ratios[-1]:.2f})"
        cells.append(cell)
    return f"| {' | '.join(cells)} | {1000 * BYTES * parameters / rate:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="the three smallest models, one repetition")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="of each training, in a repetition")
    parser.add_argument("--models", nargs="*", choices=list(MODELS), metavar="MODEL", help="some of the rows, by name")
    arguments = parser.parse_args()
    device = parse_device(arguments.device)
    models = arguments.models or list(MODELS)[: QUICK if arguments.quick else None]
    repetitions = 1 if arguments.quick else arguments.repetitions
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    rate = bandwidth(device)
    print(f"{machine('torch')}, {name}; a copy moves {rate / 1e9:.1f} GB/s; ms of a step of one training\n")
    headed = False
    with tempfile.TemporaryDirectory(prefix="est-many-") as folder:
        for model in models:
            parameters, found = measure(model, device, Path(folder), repetitions, arguments.steps)
            if not headed:
                print(f"| model | trainings | parameters | {' | '.join(found)} | bytes of Adam |")
                print("|---|---|---|" + "---|" * (len(found) + 1), flush=True)
                headed = True
            print(row(model, parameters, found, rate), flush=True)


if __name__ == "__main__":
    main()
