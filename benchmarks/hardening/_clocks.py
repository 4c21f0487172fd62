"""Clocks that jump, files from another time, and processes that were stopped for a while."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from unittest import mock

from cache_samples import contents
from cache_sessions import PHASES, run_phase
from train_samples import learning_cache, read_csv, tiny_config
from video_samples import make_video

from est.cache import open_cache, verify_cache
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs
from est.train import fit
from est.train.runs.files import read_history
from est.train.runs.run import HISTORY
from est.train.runs.table import list_runs

DAY = 86_400.0
JUMPS = (-30 * DAY, -DAY, -3600.0, -1.0, 0.0, 0.0, 1.0, 3600.0, DAY, 365 * DAY)
TIMES = (-(10**15), 0, 1, 2**31 * 10**9, 7_258_118_400 * 10**9)  # nanoseconds: before 1970, its beginning, 2038, 2200
CONFIG = ExtractConfig(weights="random", size=32, detector="none", precision="fp32", device="cpu", workers=1)
STOPPED = """
import json, sys
from pathlib import Path
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs
from est.cache.watch import Watch
if __name__ == "__main__":
    class Telling(Watch):
        def progress(self, progress):
            print(progress.done, flush=True)
    config = ExtractConfig(weights="random", size=64, precision="fp32", device="cpu", workers=2, timeout=2)
    report = extract_videos(find_inputs([Path(sys.argv[1])]), Path(sys.argv[2]), config, watch=Telling())
    print(json.dumps([report.clips, [failure.error for failure in report.failures]]), flush=True)
"""


class Jumping:
    """A clock that jumps each time it is read, forwards or backwards."""

    def __init__(self, clock, seed: int, jumps=JUMPS) -> None:
        self._clock, self._draw, self._jumps, self._offset = clock, random.Random(seed), jumps, 0.0

    def __call__(self) -> float:
        if self._draw.random() < 0.2:
            self._offset += self._draw.choice(self._jumps)
        return self._clock() + self._offset


def clocks(rounds: int, folder: Path, counts: Counter[str], wrong: list[str]) -> None:
    """Write caches, extract and train while the clock jumps by days, on files from 1938 to 2200: results are those of a quiet clock."""
    quiet = {suffix: folder / f"quiet{suffix}" for suffix in (".zarr", ".h5")}
    for path in quiet.values():
        for phase in PHASES:
            run_phase(path, phase)
    for turn in range(rounds):
        suffix = (".zarr", ".h5")[turn % 2]
        path = folder / f"{turn}{suffix}"
        with (
            mock.patch.object(time, "time", Jumping(time.time, turn)),
            mock.patch.object(time, "monotonic", Jumping(time.monotonic, turn)),
        ):
            for phase in PHASES:
                run_phase(path, phase)
        if contents(path) != contents(quiet[suffix]) or verify_cache(path).problems:
            wrong.append(f"round {turn}: the cache differs from that of a quiet clock")
        counts["caches written in four sessions"] += 1
    _old_files(folder / "files", counts, wrong)
    _trainings(max(1, rounds // 10), folder / "runs", counts, wrong)


def _old_files(folder: Path, counts: Counter[str], wrong: list[str]) -> None:
    """Extract videos from another time: known again as they are, and extracted again where their time differs by a nanosecond."""
    folder.mkdir()
    for number, moment in enumerate(TIMES):
        os.utime(make_video(folder / f"{number}.mp4", 3, size=(32, 32)), ns=(moment, moment))
    out = folder / "out.zarr"
    for expected in (len(TIMES), 0):
        with mock.patch.object(time, "time", Jumping(time.time, expected)):
            report = extract_videos(find_inputs([folder]), out, CONFIG)
        if report.clips != expected or report.failures:
            wrong.append(f"{report.clips} clips, expected {expected}: {report.failures}")
    for number, moment in enumerate(TIMES):
        os.utime(folder / f"{number}.mp4", ns=(moment + 1, moment + 1))
    report = extract_videos(find_inputs([folder]), out, CONFIG)
    kept = sorted(int(moment) for moment in open_cache(out).clips.source_mtime_ns)
    if report.clips != len(TIMES) or kept != sorted(moment + 1 for moment in TIMES):
        wrong.append(f"{report.clips} clips were extracted again, expected {len(TIMES)}; times {kept}")
    counts["videos from another time, extracted, known again, and extracted again"] += len(TIMES)


def _trainings(rounds: int, folder: Path, counts: Counter[str], wrong: list[str]) -> None:
    """Train while the wall clock jumps: losses and predictions are those of a quiet clock, and runs can be listed."""
    folder.mkdir()
    cache = learning_cache(folder / "cache.zarr")
    config = tiny_config(epochs=3)
    told = [_told(fit(cache, folder / "quiet", config).run)]
    for turn in range(rounds):
        with mock.patch.object(time, "time", Jumping(time.time, turn)):
            told.append(_told(fit(cache, folder / f"run{turn}", config).run))
        os.utime(folder / f"run{turn}" / "config.toml", (time.time() + 365 * DAY,) * 2)
        counts["trainings"] += 1
    if any(one != told[0] for one in told):
        wrong.append("a training differs from that of a quiet clock")
    if {row.status for row in list_runs(folder)} != {"complete"}:
        wrong.append("runs whose configuration is from the future are not listed as complete")


def _told(run) -> tuple:
    """Return what a run came to, without its times."""
    histories = [
        [
            {name: value for name, value in record.items() if "second" not in name}
            for record in read_history(run.part(part) / HISTORY)
        ]
        for part in run.parts
    ]
    return histories, read_csv(run.path / "predictions.csv")


def stopped(rounds: int, folder: Path, counts: Counter[str], wrong: list[str]) -> None:
    """Stop all processes of an extraction for longer than a decoder may take (Ctrl-Z, a paused machine), and let them go on."""
    folder.joinpath("videos").mkdir()
    for number in range(12):
        make_video(folder / "videos" / f"{number}.mp4", 30, size=(320, 240), pixels="yuv420p")
    for turn in range(max(1, rounds // 5)):
        command = [sys.executable, "-c", STOPPED, str(folder / "videos"), str(folder / f"{turn}.zarr")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stdout is not None
        while (line := process.stdout.readline()) and not line.startswith("["):
            if int(line) >= 3 and counts["stops"] <= turn:
                counts["stops"] += 1
                os.killpg(process.pid, signal.SIGSTOP)
                time.sleep(5)
                os.killpg(process.pid, signal.SIGCONT)
        clips, failures = json.loads(line)
        process.wait()
        counts["clips"] += clips
        counts["rounds"] += 1
        wrong += [f"round {turn}: {failure}" for failure in failures]
