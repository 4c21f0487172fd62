"""CPU time of commands beside that of what they cannot do without, in pairs.

`est --help` beside `python -c 'import typer'`, goal: at most twice as much; a whole small training beside `import torch`, and beside
that the import of torch's compiler, which no training does.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine
from _ratios import tell
from cache_io import make_recipes

from est.cache import CacheWriter, Clip

PAIRS = 15
WIDTH, CLIPS = 16, 32
PARSING = {
    "import typer": [sys.executable, "-c", "import typer"],
    "est --help": [sys.executable, "-m", "est", "--help"],
    "est demo render --help": [sys.executable, "-m", "est", "demo", "render", "--help"],
}
# A run is never overwritten: each has a folder of its own.
RUN = """
import sys, tempfile
from est.cli import main
out = tempfile.mkdtemp(dir=sys.argv.pop(1)) + "/run"
main([*sys.argv[1:], "--out", out])
"""
SMALL = [part for name in ("dim=16", "heads=2", "ffn=32", "layers=1") for part in ("--set", f"model.{name}")]


def training(folder: Path) -> dict[str, list[str]]:
    """Write a small cache; return what is compared with a training on it: an epoch of two steps, and its scores."""
    cache = folder / "cache.zarr"
    rng = np.random.default_rng(0)
    rows: dict[str, Any] = {"state": np.ones(8, np.uint8), "time": np.arange(8) / 25.0, "score": np.ones(8, np.float32)}
    rows |= {"box": rng.random((8, 4), np.float32), "landmarks": rng.random((8, 5, 2), np.float32)}
    with CacheWriter.open(cache, make_recipes(WIDTH)) as writer:
        for index in range(CLIPS):
            features = {"gap": rng.standard_normal((8, WIDTH), np.float32).astype(np.float16)}
            known: dict[str, Any] = {"label": f"class {index % 2}", "split": "test" if index % 4 > 1 else "train"}
            writer.add(Clip(id=f"{index:02d}", path=f"{index:02d}.mp4", features=features, **known, **rows))
        writer.commit()
    run = ["train", "--cache", str(cache), "--device", "cpu", "--epochs", "1", *SMALL]
    return {
        "import torch": [sys.executable, "-c", "import torch"],
        "est train, two steps": [sys.executable, "-c", RUN, str(folder), *run],
        "import torch._dynamo": [sys.executable, "-c", "import torch._dynamo"],
    }


def cpu_seconds(command: list[str]) -> float:
    """Run a command and return the user and system time it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def compare(commands: dict[str, list[str]]) -> None:
    """Print the times of commands, and their ratios to the first."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(PAIRS + 1):  # in turns, so that a drift of the machine hits all alike; the first round warms up
        for name, command in commands.items():
            times[name].append(cpu_seconds(command))
    base = next(iter(times.values()))[1:]
    print(f"{'command':<24} {'median ms':>9} {'ratio':>6}")
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values[1:], base, strict=True))
        print(f"{name:<24} {statistics.median(values[1:]) * 1000:>9.0f} {ratio:>6.2f}")
        tell(name, ratio)


def main() -> None:
    print(machine("typer", "torch"))
    compare(PARSING)
    with tempfile.TemporaryDirectory(prefix="est-startup-") as folder:
        compare(training(Path(folder)))


if __name__ == "__main__":
    main()
