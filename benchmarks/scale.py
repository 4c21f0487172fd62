"""What 100,000 and a million clips take: time, bytes and memory of each stage, computed from costs that are measured here.

    python benchmarks/scale.py                      # about half an hour on 2 cores, 6 GB of disk
    python benchmarks/scale.py --clips 50000        # a smaller table: about 2 minutes

Two caches of random numbers are made: one as extraction writes it (100 frames of 512 numbers), for the cost of bytes, and one of
many short clips, for the cost of clips. Each stage runs in a process of its own, whose processor time and largest memory are taken.
Plans are computed from processor time, so that other work on the machine does not count; a slow disk is not in them either.
Extraction itself is not run: --rates are frames a second, as `benchmarks/extract.py` or `est extract --dry-run` gives them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine
from cache_io import make_recipes

from est.cache import CacheWriter, Clip, merge_caches, open_cache, verify_cache

FRAMES, WIDTH = 100, 512
SAMPLE = 4_000  # clips of that length
SHORT, SUBJECTS, CLASSES = 4, 5_000, 7
TARGETS = (100_000, 1_000_000)
WRITERS = (2, 4)
GB = 1e9


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a stage took."""

    seconds: float  # of processor time, all threads
    wall: float
    memory: float  # bytes at most
    value: Any = None

    def line(self, name: str, clips: int) -> str:
        """Write a row of the table of measured stages."""
        each = 1e6 * self.seconds / clips
        return f"| {name} | {clips:,} | {self.seconds:.1f} s | {self.wall:.1f} s | {each:.0f} µs | {self.memory / GB:.2f} GB |"


def write_short(path: Path, count: int, frames: int, width: int) -> None:
    """Write clips whose labels can be learnt from their rows."""
    rng = np.random.default_rng(0)
    rows = {
        "state": np.ones(frames, np.uint8),
        "time": np.arange(frames) / 25.0,
        "box": rng.random((frames, 4), np.float32),
        "landmarks": rng.random((frames, 5, 2), np.float32),
        "score": np.ones(frames, np.float32),
    }
    noise = rng.standard_normal((64, frames, width), np.float32).astype(np.float16)
    with CacheWriter.open(path, make_recipes(width)) as writer:
        for index in range(count):
            clip = f"clips/{index:07d}"
            features = noise[index % 64].copy()
            features[:, index % CLASSES] += 2
            who = {"label": f"class {index % CLASSES}", "subject": f"s{index % SUBJECTS:04d}"}
            writer.add(Clip(id=clip, path=f"{clip}.mp4", features={"gap": features}, **who, **rows))


def merge(first: Path, second: Path, out: Path) -> None:
    """Merge two caches whose clips have the same names, so that those of the second take the place of the first's."""
    merge_caches([first, second], out, duplicates="last")


def train(path: Path, run: Path, model: str = "gru") -> float:
    """Train an epoch on rows that stay on the disk; return its accuracy."""
    from est import fit, train_config

    settings = {"protocol.kind": "kfold", "protocol.folds": 5, "protocol.only": "fold1", "data.residency": "stream"}
    settings |= {"model.name": model, "loop.epochs": 1, "loop.batch": 512, "loop.learning_rate": 0.003}
    settings |= {"model.hidden": 16} if model == "gru" else {}
    config = train_config(None, settings)
    return fit(path, run, config).scores.war


def find(folder: Path) -> int:
    """Find the inputs of a folder."""
    from est.inputs.input import find_inputs

    return len(find_inputs([folder], labels="folders").inputs)


def make_files(folder: Path, count: int) -> None:
    """Make empty files that are named as videos, a thousand a folder."""
    for index in range(count):
        part = folder / f"class{index // 1000 % CLASSES}" / f"{index // 1000:04d}"
        if index % 1000 == 0:
            part.mkdir(parents=True)
        (part / f"{index % 1000:03d}.mp4").touch()


def stage(function: Callable[..., Any], *arguments: Any) -> Cost:
    """Run a function in a process of its own."""
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_child, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    found = mine.recv()
    process.join()
    return Cost(**found)


def _child(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    start, used = time.perf_counter(), time.process_time()
    value = function(*arguments)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    used = time.process_time() - used
    told = value if isinstance(value, int | float) else None
    pipe.send({"seconds": used, "wall": time.perf_counter() - start, "memory": float(memory), "value": told})


def opened(path: Path) -> int:
    """Open a cache and count its clips."""
    return len(open_cache(path))


def verified(path: Path) -> int:
    """Verify a cache; count the problems."""
    return len(verify_cache(path).problems)


def size_of(path: Path) -> int:
    """Add up the bytes of a folder on the disk."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def hours(seconds: float) -> str:
    """Write a time as people say it."""
    if seconds < 5400:
        return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} days"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000, help="of the cache of short clips")
    parser.add_argument("--files", type=int, default=200_000, help="empty files in which inputs are looked for")
    parser.add_argument("--models", nargs="+", default=["pooled", "gru"], help="that are trained for an epoch")
    parser.add_argument("--rates", type=float, nargs="+", default=[20, 129, 182], help="frames/s of an extraction")
    parser.add_argument("--folder", type=Path, help="for what is made, several GB; a temporary one otherwise")
    arguments = parser.parse_args()
    print(f"{machine('torch', 'numpy')}, {os.environ.get('OMP_NUM_THREADS', 'all')} threads\n")
    with tempfile.TemporaryDirectory(prefix="est-scale-", dir=arguments.folder) as name:
        measure(Path(name), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Print what was measured, and what follows."""
    print("| stage | clips | processor time | wall time | of a clip | memory at most |\n|---|---|---|---|---|---|")
    whole, twin, merged, many = (folder / f"{name}.zarr" for name in ("whole", "twin", "merged", "many"))
    costs: dict[str, Cost] = {}

    def take(name: str, clips: int, function: Callable[..., Any], *values: Any) -> Cost:
        costs[name] = stage(function, *values)
        print(costs[name].line(name, clips), flush=True)
        return costs[name]

    take("write, 100 frames", SAMPLE, write_short, whole, SAMPLE, FRAMES, WIDTH)
    clip_bytes = size_of(whole) / SAMPLE
    shutil.copytree(whole, twin)
    take("merge, 100 frames", 2 * SAMPLE, merge, whole, twin, merged)
    take("verify, 100 frames", SAMPLE, verified, whole)
    for path in (whole, twin, merged):
        shutil.rmtree(path)
    count = arguments.clips
    files = folder / "videos"
    make_files(files, arguments.files)
    take("find the inputs", arguments.files, find, files)
    shutil.rmtree(files)
    take(f"write, {SHORT} frames", count, write_short, many, count, SHORT, WIDTH)
    take("open", count, opened, many)
    problems = take(f"verify, {SHORT} frames", count, verified, many).value
    found = {
        model: take(f"an epoch of {model}", count, train, many, folder / f"run-{model}", model).value
        for model in arguments.models
    }
    learnt = ", ".join(f"{model} {100 * accuracy:.1f} %" for model, accuracy in found.items())
    print(f"\n{size_of(many) / GB:.2f} GB of {count:,} short clips; {problems} problems; WAR after an epoch: {learnt}")
    print(f"a clip of {FRAMES} frames has {clip_bytes / 1e3:.0f} kB\n")
    print_plan(costs, clip_bytes, arguments)


def print_plan(costs: dict[str, Cost], clip_bytes: float, arguments: argparse.Namespace) -> None:
    """Print what follows for whole data sets."""

    def each(name: str, clips: int) -> float:
        return costs[name].seconds / clips

    write_one, merge_one = each("write, 100 frames", SAMPLE), each("merge, 100 frames", 2 * SAMPLE)
    verify_one, open_one = each("verify, 100 frames", SAMPLE), each("open", arguments.clips)
    rows = [
        ("the cache", lambda n: f"{n * clip_bytes / GB:,.0f} GB"),
        *((f"extract at {rate:g} frames/s", lambda n, rate=rate: hours(n * FRAMES / rate)) for rate in arguments.rates),
        ("find the inputs", lambda n: hours(n * each("find the inputs", arguments.files))),
        ("the writer's own time", lambda n: hours(n * write_one)),
        ("merge the shards", lambda n: hours(n * merge_one)),
        ("verify", lambda n: hours(n * verify_one)),
        ("open", lambda n: f"{n * open_one:.1f} s"),
    ]
    print(f"| | {' | '.join(f'{target:,} clips' for target in TARGETS)} |\n|---|{'---|' * len(TARGETS)}")
    for name, compute in rows:
        print(f"| {name} | {' | '.join(compute(target) for target in TARGETS)} |")
    print(f"\none writer takes {1 / write_one:,.0f} clips/s of {FRAMES} frames: {FRAMES / write_one:,.0f} frames/s")


if __name__ == "__main__":
    main()
