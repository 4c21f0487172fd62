"""Reading, writing, opening and verifying a DFEW-sized cache, beside what the machine can do at best. Both stores, one run.

Goals: load ≥ 80 % of the rate of np.copyto into a fresh array (warm page cache); write clip by clip ≥ 25 % of the rate of one fsynced
sequential write of the same bytes (Zarr; the HDF5 fold is beside it); open < 1 s, < 5 s at a million clips; verify ≥ 1 GB/s.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _machine import machine
from _ratios import tell

from est.cache import CacheWriter, Clip, FeatureRecipe, FramesRecipe, Recipes, open_cache, verify_cache

NUM_CLIPS, MEAN_FRAMES, WIDTH = 11_697, 77, 512
ROUNDS = 7
GB = 1e9


def seconds(function: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def make_recipes(width: int, maps: tuple[int, ...] = (), name: str = "gap") -> Recipes:
    """Return recipes of rows of some width, or of maps."""
    frames = FramesRecipe(decoder="none", detector="none")
    how = {"backbone": "random numbers", "weights": "none", "shape": (width, *maps)}
    return Recipes(frames=frames, features={name: FeatureRecipe(parent=frames.fingerprint, tap=name, **how)})


def write(
    path: Path, lengths: np.ndarray, width: int, *, maps: tuple[int, ...] = (), name: str = "gap"
) -> tuple[float, float]:
    """Write clips of random rows or maps; return the seconds until all are committed, and those of closing (the fold, in HDF5)."""
    longest = int(lengths.max()) if len(lengths) else 0
    rng = np.random.default_rng(0)
    rows = {
        "state": np.ones(longest, np.uint8),
        "time": np.arange(longest) / 25.0,
        "box": rng.random((longest, 4), np.float32),
        "landmarks": rng.random((longest, 5, 2), np.float32),
        "score": np.ones(longest, np.float32),
    }
    made = rng.standard_normal((longest, width, *maps), np.float32).astype(np.float16)
    start = time.perf_counter()
    with CacheWriter.open(path, make_recipes(width, maps, name)) as writer:
        for index, count in enumerate(lengths.tolist()):
            cut = {column: array[:count] for column, array in rows.items()}
            clip, features = f"clips/{index:07d}", {name: made[:count]}
            writer.add(Clip(id=clip, path=f"{clip}.mp4", label=f"class {index % 7}", features=features, **cut))
        writer.commit()
        committed = time.perf_counter()
    return committed - start, time.perf_counter() - committed


def write_sequentially(path: Path, num_bytes: int) -> None:
    """Write one file and flush it: the best that the disk does."""
    block = np.random.default_rng(0).bytes(4 * 2**20)
    with open(path, "wb") as file:
        for done in range(0, num_bytes, len(block)):
            file.write(block[: num_bytes - done])
        file.flush()
        os.fsync(file.fileno())


def copy_fresh(array: np.ndarray) -> None:
    """Copy into fresh memory: the best that loading can do."""
    np.copyto(np.empty_like(array), array)


def measure(path: Path, lengths: np.ndarray, folder: Path) -> None:
    """Print the rows of one store."""
    frames = int(lengths.sum())
    num_bytes = frames * (WIDTH * 2 + 16 + 40 + 4 + 8 + 1)
    sequential = [seconds(lambda: write_sequentially(folder / "sequential", num_bytes))]
    committed, closing = write(path, lengths, WIDTH)
    sequential.append(seconds(lambda: write_sequentially(folder / "sequential", num_bytes)))
    best = statistics.mean(sequential)
    store = path.suffix
    print(
        f"{store:<6} write                {committed:8.2f} s  {num_bytes / committed / GB:6.2f} GB/s  {best / committed:6.1%} of sequential"
    )
    print(f"{store:<6} close                {closing:8.2f} s")
    opening = statistics.median(seconds(lambda: open_cache(path)) for _ in range(ROUNDS))
    print(f"{store:<6} open, read the table {opening:8.3f} s")
    cache = open_cache(path)
    rows = cache.load().rows
    pairs = [(seconds(cache.load), seconds(lambda: copy_fresh(rows))) for _ in range(ROUNDS)]
    load = statistics.median(pair[0] for pair in pairs)
    ratio = statistics.median(copy / load for load, copy in pairs)
    print(
        f"{store:<6} load                 {load:8.3f} s  {rows.nbytes / load / GB:6.2f} GB/s  {ratio:6.1%} of np.copyto"
    )
    tell(f"load {store}", ratio)
    verified = seconds(lambda: verify_cache(path))
    print(f"{store:<6} verify               {verified:8.2f} s  {num_bytes / verified / GB:6.2f} GB/s")


def measure_million(path: Path, num_clips: int) -> None:
    """Print how long a cache of very many clips takes to open."""
    write(path, np.zeros(num_clips, np.int64), 1)
    print(f"{path.suffix:<6} open, {num_clips:,} clips {seconds(lambda: open_cache(path)):8.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=NUM_CLIPS, help="number of clips (DFEW: 11,697)")
    parser.add_argument(
        "--million", type=int, default=1_000_000, help="number of clips of the table that is opened; 0 leaves it out"
    )
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder when left out")
    arguments = parser.parse_args()
    print(machine("numpy", "h5py", "xxhash"))
    rng = np.random.default_rng(1)
    lengths = np.clip(rng.gamma(4, MEAN_FRAMES / 4, arguments.clips).astype(np.int64), 5, 400)
    folder = Path(tempfile.mkdtemp(prefix="est-cache-io-", dir=arguments.folder))
    try:
        print(f"{len(lengths):,} clips, {int(lengths.sum()):,} frames × {WIDTH} float16")
        for suffix in (".zarr", ".h5"):
            measure(folder / f"cache{suffix}", lengths, folder)
        for suffix in (".zarr", ".h5") if arguments.million else ():
            measure_million(folder / f"million{suffix}", arguments.million)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
