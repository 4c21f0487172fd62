"""A day of extraction in less time: thousands of tiny clips through the whole pipeline, and what the process holds meanwhile.

    python benchmarks/hardening/day.py                    # 17,280 clips: a day of clips of 100 frames at 20 frames/s
    python benchmarks/hardening/day.py --minutes 20       # as many of them as 20 minutes allow

One process extracts folder after folder into one cache, with the packaged detector, crops and features, as a service would. One clip in
ten is damaged, and every so many clips a worker process is killed. Memory, descriptors, threads, temporary files and blocks of shared
memory are looked at over the whole run. The exit status is 1 if one of them grows beyond its bound, a clip is not accounted for, or
the cache does not verify. Clips have 4 frames, so that what each clip costs besides its frames shows.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tests" / "support")]

from _machine import machine  # noqa: E402
from _watching import SETTLED, Sample, Sampler, growth, growth_lines, sample  # noqa: E402
from extract_samples import face_frames  # noqa: E402
from video_samples import make_video  # noqa: E402

from est.cache import open_cache, verify_cache  # noqa: E402
from est.cache.watch import Progress  # noqa: E402
from est.extract.config import ExtractConfig  # noqa: E402
from est.extract.extraction import extract_videos  # noqa: E402
from est.inputs.input import find_inputs  # noqa: E402

FRAMES, SIDE = 4, 128
CRASHED = "the decoder crashed"
DAMAGED = 10  # one clip in so many
BOUNDS = {
    "own": 4.0,
    "children": 4.0,
    "descriptors": 0.1,
    "threads": 0.1,
    "temporary": 0.1,
    "blocks": 0.2,
}  # per 1,000 clips


class Killing(Sampler):
    """A watch that kills a worker process every so many clips."""

    def __init__(self, kills: int, *others: int | Path, **more: int) -> None:
        super().__init__(*others, **more)
        self._kills, self._due, self.killed = kills, kills, 0

    def progress(self, progress: Progress) -> None:
        """Kill one where it is due."""
        super().progress(progress)
        workers = multiprocessing.active_children()
        if self._kills and progress.done >= self._due and workers and workers[0].pid is not None:
            self._due += self._kills
            self.killed += 1
            os.kill(workers[0].pid, signal.SIGKILL)


def write_clips(folder: Path, first: int, stop: int, seed: int, made: Path) -> None:
    """Make files of a few clips, numbered: links to them, and damaged copies."""
    draw = random.Random(seed + first)
    whole = sorted(made.glob("*.mp4"))
    folder.mkdir()
    for number in range(first, stop):
        source, place = draw.choice(whole), folder / f"{number:06d}.mp4"
        if number % DAMAGED:
            os.link(source, place)
            continue
        data = bytearray(source.read_bytes())
        for _ in range(40):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        place.write_bytes(data[: draw.randrange(len(data) // 2, len(data))])


def main(arguments: Sequence[str] | None = None) -> int:
    """Extract, look, compare with the bounds."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--clips", type=int, default=17_280)
    reader.add_argument(
        "--each", type=int, default=720, help="clips of each extraction, one after the other in one process"
    )
    reader.add_argument("--minutes", type=float, default=120, help="after which no further extraction begins")
    reader.add_argument(
        "--kill-every", type=int, default=300, help="clips after which a worker process is killed; 0 none"
    )
    reader.add_argument("--workers", type=int, default=2)
    reader.add_argument("--seed", type=int, default=0)
    asked = reader.parse_args(arguments)
    print(machine("av", "opencv-python-headless", "onnxruntime", "numpy"))
    with tempfile.TemporaryDirectory(prefix="est-day-") as name:
        return run(Path(name), asked)


def run(folder: Path, asked: argparse.Namespace) -> int:
    """Run the day in a folder; return the exit status."""
    temporary = folder / "temporary"
    temporary.mkdir()
    tempfile.tempdir = str(temporary)
    (folder / "made").mkdir()
    for number in range(5):
        frames = [frame[:SIDE, :SIDE] for frame in face_frames(FRAMES, step=2 + number)]
        make_video(folder / "made" / f"{number}.mp4", frames, pixels="yuv420p")
    config = ExtractConfig(
        weights="random",
        size=32,
        detect_size=SIDE,
        precision="fp32",
        device="cpu",
        crops=True,
        workers=asked.workers,
        timeout=20,
    )
    out, samples, killed, crashed, done, begun = folder / "day.zarr", [], 0, 0, 0, time.monotonic()
    while done < asked.clips and time.monotonic() - begun < 60 * asked.minutes:
        hour = folder / f"hour{done // asked.each}"
        write_clips(hour, done, done + asked.each, asked.seed, folder / "made")
        watch = Killing(asked.kill_every, max(1, asked.each // 10), temporary, before=done)
        report = extract_videos(find_inputs([hour]), out, config, watch=watch)
        done += asked.each
        samples += watch.samples
        killed += watch.killed
        crashed += sum(CRASHED in failure.error for failure in report.failures)
        print(f"{done:,} clips after {time.monotonic() - begun:,.0f} s", flush=True)
    cache = open_cache(out)
    count = len(cache) + len(cache.failures)
    wrong = [] if count == done else [f"{count} clips and failures of {done} files"]
    wrong += [str(problem) for problem in verify_cache(out).problems]
    print(f"\n{len(cache):,} clips of {cache.num_frames:,} frames, {len(cache.failures):,} failures")
    print(f"{killed} worker processes killed, which cost {crashed} clips, each on record as a failure")
    time.sleep(SETTLED)
    samples.append(sample(done, temporary))
    print("\n".join(growth_lines(samples)))
    wrong += grown(samples)
    print(
        "\n".join(f"WRONG: {one}" for one in wrong) if wrong else "nothing grows beyond its bound; the cache verifies"
    )
    return 1 if wrong else 0


def grown(samples: Sequence[Sample]) -> list[str]:
    """Name what grows by more than its bound for 1,000 clips, and what is left when all is done."""
    kept = [one for one in samples[:-1] if one.done >= samples[-1].done / 10]
    rows = {name: slope for name, *_, slope in growth(kept)}
    found = [
        f"{name} grows by {rows[name]:.2f} per 1,000 clips, bound {bound}"
        for name, bound in BOUNDS.items()
        if rows[name] > bound
    ]
    last = samples[-1]
    return found + [
        f"{name} left at the end: {getattr(last, name)}" for name in ("temporary", "blocks") if getattr(last, name)
    ]


if __name__ == "__main__":
    sys.exit(main())
