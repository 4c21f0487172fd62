"""What a long run holds while it runs: memory, descriptors, threads, temporary files, blocks of shared memory; and how they grow."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from est.cache.watch import Progress, Watch

PROC, SHARED = Path("/proc"), Path("/dev/shm")
MIB = 2**20
SETTLED = 10.0  # seconds after which nobody will take a block of shared memory any more: it was left behind
BEGUN = time.time()


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a process and its children hold at one moment."""

    done: int  # clips
    own: float  # MiB resident, of the process itself
    children: float  # MiB resident, of all of its children
    descriptors: int  # open, of the process itself
    threads: int  # of the process itself
    temporary: int  # entries of the folder of temporary files
    blocks: int  # of shared memory that were made since this process began, and that nobody has taken for a while


class Sampler(Watch):
    """A watch that takes a sample each time so many clips more are done."""

    def __init__(self, every: int, temporary: Path, *, before: int = 0, told: int = 0) -> None:
        self.samples: list[Sample] = []
        self.warnings: list[str] = []
        self._every, self._temporary, self._before = every, temporary, before
        self._next, self._told, self._begun = 0, told, time.monotonic()

    def progress(self, progress: Progress) -> None:
        """Take a sample where one is due."""
        done = self._before + progress.done
        if done >= self._next:
            self._next = done - done % self._every + self._every
            self.samples.append(sample(done, self._temporary))
        if self._told and done >= self._told:
            self._told += self._told
            print(f"  {done:,} clips after {time.monotonic() - self._begun:,.0f} s", flush=True)

    def warn(self, text: str) -> None:
        """Keep a warning."""
        self.warnings.append(text)


def sample(done: int, temporary: Path) -> Sample:
    """Look at this process, its children, and the folders that it writes temporary files and shared memory to."""
    own = os.getpid()
    return Sample(
        done=done,
        own=_resident(own),
        children=sum(map(_resident, _descendants(own))),
        descriptors=len(os.listdir(PROC / "self" / "fd")),
        threads=len(os.listdir(PROC / "self" / "task")),
        temporary=len(os.listdir(temporary)),
        blocks=_left_blocks(),
    )


def growth(samples: Sequence[Sample]) -> list[tuple[str, float, float, float, float]]:
    """Return for each thing that is held: its first, smallest, largest number, and how it grows per 1,000 clips (least squares)."""
    rows = []
    for name in asdict(samples[0]):
        if name == "done":
            continue
        values = [float(getattr(one, name)) for one in samples]
        rows.append((name, values[0], min(values), max(values), 1000 * _slope([one.done for one in samples], values)))
    return rows


def growth_lines(samples: Sequence[Sample]) -> list[str]:
    """Lay growth out as a table; the first tenth, in which workers and libraries start, does not count."""
    kept = [one for one in samples if one.done >= samples[-1].done / 10]
    lines = [f"{len(kept)} samples, from {kept[0].done:,} to {kept[-1].done:,} clips"]
    lines.append(f"{'':<12} {'first':>9} {'least':>9} {'most':>9} {'per 1,000 clips':>16}")
    return lines + [
        f"{name:<12} {first:>9,.1f} {least:>9,.1f} {most:>9,.1f} {slope:>+16,.2f}"
        for name, first, least, most, slope in growth(kept)
    ]


def own_temporary_folder() -> Path:
    """Return the folder in which this process makes temporary files."""
    return Path(tempfile.gettempdir())


def _slope(places: Sequence[float], values: Sequence[float]) -> float:
    count = len(places)
    x, y = sum(places) / count, sum(values) / count
    spread = sum((place - x) ** 2 for place in places)
    return (
        sum((place - x) * (value - y) for place, value in zip(places, values, strict=True)) / spread if spread else 0.0
    )


def _left_blocks() -> int:
    found = 0
    for path in SHARED.glob("psm_*"):
        with suppress(OSError):  # taken meanwhile
            found += BEGUN < path.stat().st_ctime < time.time() - SETTLED
    return found


def _resident(process: int) -> float:
    try:
        pages = int((PROC / str(process) / "statm").read_text().split()[1])
    except (OSError, IndexError):  # it ended meanwhile
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def _descendants(process: int) -> list[int]:
    found: list[int] = []
    waiting = [process]
    while waiting:
        for task in (PROC / str(waiting.pop()) / "task").glob("*/children"):
            try:
                children = [int(word) for word in task.read_text().split()]
            except OSError:
                continue
            found += children
            waiting += children
    return found
