"""Several processes on one cache, locks that refuse or lie, and clocks that jump: what happens, and how often it was tried.

    python benchmarks/hardening/together.py               # minutes on two cores
    python benchmarks/hardening/together.py --rounds 2 --only hosts

Each campaign prints what it counted. The exit status is 1 if anything was lost or mixed, or came out as another error than one of est.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tests" / "support")]

from _clocks import clocks, stopped  # noqa: E402
from _machine import machine  # noqa: E402
from cache_samples import clip_contents, expected_clip, make_cache, make_clip, sample_recipes  # noqa: E402

from est.cache import CacheWriter, open_cache, verify_cache  # noqa: E402
from est.cache.stores import lock  # noqa: E402
from est.cache.stores.snapshot import staging_path  # noqa: E402
from est.errors import CacheDamaged, CacheLocked, EstError, UsageError  # noqa: E402

Campaign = Callable[[int, Path, Counter[str], list[str]], None]
WRITERS, OF_EACH = 3, 6
REFUSALS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EIO, errno.EACCES)


def writers(rounds: int, folder: Path, counts: Counter[str], wrong: list[str]) -> None:
    """Let processes add clips to one cache, each whenever the lock is free, and kill some of them: all clips are there, each once."""
    for turn in range(rounds):
        path = folder / f"{turn}{('.zarr', '.h5')[turn % 2]}"
        draw = random.Random(turn)
        running = {_fork(_add_all, path, number): number for number in range(WRITERS)}
        while running:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child:
                number = running.pop(child)
                if os.WIFSIGNALED(status):
                    counts["writers killed, and started again"] += 1
                    running[_fork(_add_all, path, number)] = number
                elif status:
                    wrong.append(f"round {turn}: a writer ended with another error than one of est")
            elif draw.random() < 0.02 and counts["writers killed, and started again"] < 3 * (turn + 1):
                os.kill(draw.choice([*running]), signal.SIGKILL)
            time.sleep(0.01)
        found = sorted(open_cache(path).ids)
        expected = sorted(make_clip(number).id for number in range(WRITERS * OF_EACH))
        wrong += [f"round {turn}: {len(found)} clips, expected {len(expected)}"] if found != expected else []
        wrong += [f"round {turn}: {problem}" for problem in verify_cache(path).problems]
        counts["rounds"] += 1
        counts["clips written"] += len(found)


def _add_all(path: Path, number: int) -> None:
    """Add the clips of one writer, some at a time."""
    draw = random.Random(os.getpid())
    wanted = [make_clip(number * OF_EACH + place) for place in range(OF_EACH)]
    while wanted:
        try:
            with CacheWriter.open(path, sample_recipes()) as writer:
                wanted = [clip for clip in wanted if clip.id not in writer]
                for clip in wanted[: draw.randint(1, 3)]:
                    writer.add(clip)
                    if draw.random() < 0.5:
                        writer.commit()
        except CacheLocked:
            time.sleep(draw.uniform(0, 0.02))


def readers(rounds: int, folder: Path, counts: Counter[str], wrong: list[str]) -> None:
    """Read a cache while it is written, by other processes: each state is whole, and none is older than the one before."""
    for turn in range(rounds):
        path = folder / f"{turn}{('.zarr', '.h5')[turn % 2]}"
        writer = _fork(_write_slowly, path)
        shown, last, ended = {}, 0, False
        while not ended:
            ended = os.waitpid(writer, os.WNOHANG)[0] != 0
            try:
                cache = open_cache(path)
                found = {clip_id: clip_contents(cache, place) for place, clip_id in enumerate(cache.ids)}
            except UsageError:
                counts["opened before the first commit"] += 1
                continue
            except CacheDamaged as error:  # an HDF5 cache was folded meanwhile: the error says to open it again
                counts["told to open it again"] += 1
                wrong += [] if "open the cache again" in str(error.remedy) else [f"round {turn}: {error}"]
                continue
            counts["states read whole"] += 1
            now = cache.snapshot.manifest.commit.counts.clips
            wrong += [f"round {turn}: a reader went back from {last} to {now} clips"] if now < last else []
            last = now
            for name, rows in found.items():
                shown.setdefault(name, expected_clip(make_clip(int(name[-3:]))))
                wrong += [f"round {turn}: {name} has other rows"] if rows != shown[name] else []
        counts["rounds"] += 1


def _write_slowly(path: Path) -> None:
    with CacheWriter.open(path, sample_recipes()) as writer:
        for number in range(25):
            writer.add(make_clip(number))
            writer.commit()
            time.sleep(0.005)


def refusing(rounds: int, folder: Path, counts: Counter[str], wrong: list[str]) -> None:
    """Write where the file system refuses locks, or grants every one of them: nothing is written."""
    refusals = [(os.strerror(number), _refuse(number)) for number in REFUSALS] + [
        ("granting every lock", lambda *_: None)
    ]
    for turn in range(rounds):
        for suffix in (".zarr", ".h5"):
            for name, flock in refusals:
                path = folder / f"{turn}{suffix}"
                with mock.patch.object(fcntl, "flock", flock):
                    try:
                        CacheWriter.open(path, sample_recipes())
                        wrong.append(f"{name}: a writer was let in")
                    except CacheLocked:
                        counts[name] += 1
                if path.exists() or staging_path(path).exists():
                    wrong.append(f"{name}: something was written")


def _refuse(number: int) -> Callable[..., None]:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return flock


def hosts(rounds: int, folder: Path, counts: Counter[str], wrong: list[str]) -> None:
    """Let two writers in, as locks do that hold on each machine alone: the later commit is refused, and what was committed stays."""
    for turn in range(20 * rounds):
        draw = random.Random(turn)
        path = make_cache(folder / f"{turn}{('.zarr', '.h5')[turn % 2]}", range(3))
        kept = {make_clip(number).id for number in range(3)}
        open_now: dict[str, tuple[CacheWriter, set[str]]] = {}
        number = 3
        for _ in range(draw.randint(4, 14)):
            host = draw.choice("ab")
            with mock.patch.object(lock, "SUFFIX", f".lock-{host}"):
                writer, pending = open_now.get(host, (None, set()))
                try:
                    if writer is None:
                        open_now[host] = CacheWriter.open(path), set()
                        continue
                    number += 1
                    writer.add(make_clip(number))
                    pending.add(make_clip(number).id)
                    if draw.random() < 0.6:
                        closing = draw.random() < 0.4
                        (writer.close if closing else writer.commit)()
                        kept |= pending
                        counts["commits"] += 1
                        pending.clear()
                        if closing:
                            del open_now[host]
                except CacheLocked:
                    counts["refused, the other had committed"] += 1
                    open_now.pop(host, None)
                except EstError as error:
                    counts[f"refused: {type(error).__name__}"] += 1
                    open_now.pop(host, None)
        for host, (writer, pending) in open_now.items():
            with mock.patch.object(lock, "SUFFIX", f".lock-{host}"):
                try:
                    writer.close()
                    kept |= pending
                except EstError:
                    counts["refused at the end"] += 1
        counts["rounds"] += 1
        found = set(open_cache(path).ids)
        wrong += [f"round {turn}: {path.suffix} lost {sorted(kept - found)}"] if kept - found else []
        wrong += [f"round {turn}: {path.suffix} {problem}" for problem in verify_cache(path).problems]


CAMPAIGNS: dict[str, Campaign] = {
    "writers": writers,
    "readers": readers,
    "refusing": refusing,
    "hosts": hosts,
    "clocks": clocks,
    "stopped": stopped,
}


def _fork(work: Callable[..., None], *arguments: object) -> int:
    """Run a function in a child; return its process."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work(*arguments)
        status = 0
    except BaseException:  # noqa: BLE001 - a child ends here, whatever it was
        traceback.print_exc()
    finally:
        os._exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaigns."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--rounds", type=int, default=20)
    reader.add_argument("--only", choices=[*CAMPAIGNS], default=None)
    asked = reader.parse_args(arguments)
    print(machine("zarr", "h5py", "numpy"))
    bad = 0
    for name, campaign in CAMPAIGNS.items():
        if asked.only not in (None, name):
            continue
        counts: Counter[str] = Counter()
        wrong: list[str] = []
        with tempfile.TemporaryDirectory(prefix=f"est-{name}-") as folder:
            campaign(asked.rounds, Path(folder), counts, wrong)
        print(f"\n{name}: {campaign.__doc__}")
        print("\n".join(f"  {number:>8,}  {what}" for what, number in counts.items()))
        print("\n".join(f"  WRONG: {one}" for one in wrong[:20]) if wrong else "  nothing lost, nothing mixed")
        bad += len(wrong)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
