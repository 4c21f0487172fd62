"""Flipped bits: of a cache, a checkpoint, a run, a weights file and an exported model, one bit after the other, each in a file on disk.

    python benchmarks/hardening/flips.py                              # every bit
    python benchmarks/hardening/flips.py --what h5,run --every 101    # every 101st bit

After each flip everything is read, and what can be verified is verified. A flip is `refused` where reading ends in an error of est,
`found` where verifying finds it, `harmless` where a read returns what it always did, `silent` where it returns something else and
nothing says so, `traceback` where another error comes, and `crash` where the process dies or hangs. Reading happens in a child process.
The exit status is 1 where something was silent, a traceback or a crash.
"""

from __future__ import annotations

import argparse
import hashlib
import mmap
import os
import re
import shutil
import signal
import struct
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parents[2] / "tests" / "support"))

import _cases
import _warm
from _machine import machine

from est.errors import EstError

KINDS = ("refused", "found", "harmless", "silent", "traceback", "crash")
BAD = ("silent", "traceback", "crash")
HANGS = 30  # seconds
SHOWN = 12  # bad flips that are named of each target


@dataclass(frozen=True, kw_only=True)
class Target:
    """Something on the disk whose bits are flipped."""

    make: Callable[[Path], Path]  # in a folder; returns the file or folder whose bits are flipped
    read: Callable[[Path], Any]  # everything in it
    is_found: Callable[[Path], bool] = lambda path: False  # by verifying


def make_cache(folder: Path, suffix: str) -> Path:
    """Write a cache of three clips and a failure."""
    import cache_samples

    path = folder / f"small{suffix}"
    return cache_samples.make_cache(path, (1, 2, 3), crops=True, failures=(4,))


def read_cache(path: Path) -> Any:
    """Return everything that a reader shows of a cache."""
    import cache_samples

    return cache_samples.contents(path)


def verify_cache(path: Path) -> bool:
    """Say whether `est cache verify` finds something."""
    from est.cache import verify_cache

    try:
        return bool(verify_cache(path).problems)
    except EstError:
        return True


def make_run(folder: Path) -> Path:
    """Train a model of a few numbers for an epoch."""
    import train_samples

    from est.train import ProtocolConfig, fit
    from est.train.models.registry import model_config

    cache = train_samples.learning_cache(folder / "learning.zarr", 12)
    model = model_config("gru", hidden=2, frames=4)
    config = train_samples.tiny_config(
        model=model, epochs=1, batch=2, seeds=(1,), protocol=ProtocolConfig(kind="holdout")
    )
    fit(cache, folder / "run", config)
    return folder / "run"


def make_checkpoint(folder: Path) -> Path:
    """Return the checkpoint of a run."""
    return next(make_run(folder).rglob("checkpoint.safetensors"))


def read_checkpoint(path: Path) -> Any:
    """Return the tensors of a checkpoint and the facts beside them, and build its model."""
    from est.train.loop.checkpoint import load_checkpoint, load_model

    found = load_checkpoint(path)
    load_model(found)
    return {name: tensor.numpy().tobytes() for name, tensor in found.tensors.items()}, found.meta


def read_run(path: Path) -> Any:
    """Return what commands read of a run: everything but pages and pictures."""
    from est.train.config.configfile import to_flat
    from est.train.results.predictions import read_predictions
    from est.train.runs.run import CHECKPOINT, Run

    run = Run.open(path)
    parts = [
        [
            read_checkpoint(run.part(name) / CHECKPOINT),
            run.result(name),
            run.history(name),
            list(read_predictions(run, name)),
        ]
        for name in run.parts
    ]
    return run.facts, to_flat(run.config), run.halves(), run.clips(), run.metrics(), parts


def verify_run(path: Path) -> bool:
    """Say whether `est runs --verify` finds something."""
    from est.train.runs.table import list_runs, verify_runs

    (row,) = verify_runs(list_runs(path))
    return row.status == "damaged"


def make_weights(folder: Path) -> Path:
    """Write a file of weights as `est tune` does."""
    import torch

    from est.encoders.tensorfile import write_tensors

    path = folder / "weights.safetensors"
    write_tensors(path, {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}, {"made": "here"})
    return path


def read_weights(path: Path) -> Any:
    """Return the tensors of a file of weights and the words beside them.

    A bit in the name of the checksum makes it a file without one, in which nothing else has changed.
    """
    from est.encoders.tensorfile import read_tensors

    tensors, metadata = read_tensors(path)
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}, metadata["made"]


def make_export(folder: Path) -> Path:
    """Export the model of a run."""
    from est.infer.export.exporting import export_run

    return export_run(make_run(folder), folder / "model.onnx").path


def verify_export(path: Path) -> bool:
    """Say whether the file is not the one whose digest stands on its card."""
    card = path.with_name(path.name + ".md").read_text(encoding="utf-8")
    stated = re.search(r"SHA-256 of the file: `([0-9a-f]{64})`", card)
    return stated is None or hashlib.sha256(path.read_bytes()).hexdigest() != stated[1]


TARGETS = {
    "zarr": Target(make=lambda folder: make_cache(folder, ".zarr"), read=read_cache, is_found=verify_cache),
    "h5": Target(make=lambda folder: make_cache(folder, ".h5"), read=read_cache, is_found=verify_cache),
    "checkpoint": Target(make=make_checkpoint, read=read_checkpoint),
    "run": Target(make=make_run, read=read_run, is_found=verify_run),
    "weights": Target(make=make_weights, read=read_weights),
    "export": Target(make=make_export, read=Path.read_bytes, is_found=verify_export),
}


def main() -> None:
    """Flip, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", default=",".join(TARGETS), help="what is damaged, with commas between them")
    parser.add_argument("--every", type=int, default=1, help="every N-th bit only")
    parser.add_argument("--scratch", type=Path, help="a folder for what is written; by default one in memory")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _warm.warm_up()
    home = _cases.place(options.scratch)
    begun = time.monotonic()
    lines, is_bad = ["what          bytes     flips" + "".join(f"{kind:>11}" for kind in KINDS)], False
    try:
        for name in options.what.split(","):
            folder = home / name
            folder.mkdir()
            counts, size, told = flip_all(TARGETS[name], folder, options.every)
            is_bad |= any(counts[kind] for kind in BAD)
            cells = [
                f"{name:<10}",
                f"{size:>8}",
                f"{sum(counts.values()):>9}",
                *(f"{counts[kind]:>10}" for kind in KINDS),
            ]
            lines.append(" ".join(cells))
            print("\n".join([lines[-1], *told]), file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        shutil.rmtree(home)
    print(machine("torch", "zarr", "h5py"))
    print("\n".join([*lines, f"{time.monotonic() - begun:.0f} s"]))
    sys.exit(is_bad)


def flip_all(target: Target, folder: Path, every: int) -> tuple[Counter[str], int, list[str]]:
    """Flip the bits of a target; return how often what happened, its bytes, and lines about what must not happen."""
    path = _warm.ask(_made, target, folder)
    files = sorted(file for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    bits = [(file, place) for file in files for place in range(8 * file.stat().st_size)][::every]
    memory = mmap.mmap(-1, 8 * (1 + len(KINDS)))  # shared with the child, which may die: the next flip, and the counts
    bad = folder / "bad"
    while (reached := struct.unpack_from("q", memory)[0]) < len(bits):
        status = _warm.wait_for(lambda: _flip_from(target, path, bits, memory, bad))
        if status:  # it died or hung at the flip that it was at
            at = struct.unpack_from("q", memory)[0]
            file, place = bits[at]
            _flip(file, place)  # back
            _count(memory, KINDS.index("crash"), at + 1)
            with bad.open("a", encoding="utf-8") as told:
                told.write(f"  crash ({status}): {_where(path, file, place)}\n")
        assert status or reached < struct.unpack_from("q", memory)[0]
    counts = struct.unpack_from(f"{len(KINDS)}q", memory, 8)
    lines = bad.read_text(encoding="utf-8").splitlines() if bad.exists() else []
    return Counter(dict(zip(KINDS, counts, strict=True))), sum(file.stat().st_size for file in files), _few(lines)


def _made(target: Target, folder: Path) -> Path:
    """Write what is damaged, in a child."""
    _shorten_chunks()
    return target.make(folder)


def _shorten_chunks() -> None:
    """Have a chunk of texts hold 16, so that few bits belong to texts that are not there; in a child, which reads them so too."""
    from est.cache import schema

    schema.STRINGS_A_CHUNK = 16


def _few(lines: list[str]) -> list[str]:
    """Leave out all but a few lines, those of crashes and tracebacks last."""
    rare = [line for line in lines if not line.startswith("  silent")][:SHOWN]
    lines = [line for line in lines if line.startswith("  silent")]
    return [*(lines if len(lines) <= SHOWN else [*lines[:: len(lines) // SHOWN], f"  … {len(lines)} silent"]), *rare]


def _flip_from(target: Target, path: Path, bits: list[tuple[Path, int]], memory: mmap.mmap, bad: Path) -> None:
    """Flip one bit after the other, from the one that the shared memory names."""
    warnings.simplefilter("ignore")
    _shorten_chunks()
    usual = target.read(path)
    with bad.open("a", encoding="utf-8") as told:
        for number in range(struct.unpack_from("q", memory)[0], len(bits)):
            file, place = bits[number]
            signal.alarm(HANGS)
            _flip(file, place)
            kind, why = judged(target, path, usual)
            _flip(file, place)
            if kind in BAD:
                told.write(f"  {kind}: {_where(path, file, place)}: {why}\n")
                told.flush()
            _count(memory, KINDS.index(kind), number + 1)
    signal.alarm(0)


def judged(target: Target, path: Path, usual: Any) -> tuple[str, str]:
    """Say what a damage does: its kind, and what is to be said of it."""
    try:
        found = target.is_found(path)
        now = target.read(path)
    except EstError:
        return "refused", ""
    except Exception as error:  # noqa: BLE001
        return "traceback", f"{type(error).__name__}: {str(error)[:150]}"
    if found:
        return "found", ""
    return ("harmless", "") if _same(now, usual) else ("silent", "")


def _same(now: Any, usual: Any) -> bool:
    """Compare two values; NaN equals itself."""
    return now == usual or repr(now) == repr(usual)


def _flip(file: Path, place: int) -> None:
    """Flip a bit of a file, in place."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        (value,) = os.pread(descriptor, 1, place // 8)
        os.pwrite(descriptor, bytes([value ^ 1 << place % 8]), place // 8)
    finally:
        os.close(descriptor)


def _where(path: Path, file: Path, place: int) -> str:
    """Name a bit."""
    return f"{file.relative_to(path) if file != path else file.name}, bit {place % 8} of byte {place // 8}"


def _count(memory: mmap.mmap, kind: int, reached: int) -> None:
    """Count a flip, and say which comes next."""
    place = 8 * (1 + kind)
    struct.pack_into("q", memory, place, struct.unpack_from("q", memory, place)[0] + 1)
    struct.pack_into("q", memory, 0, reached)


if __name__ == "__main__":
    main()
