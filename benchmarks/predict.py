"""Prediction beside extraction on the same rendered videos, in turns, and the memory of prediction over the length of a video.

    python benchmarks/predict.py                                  # 4 people, 28 clips, 3 rounds
    python benchmarks/predict.py --subjects 2 --rounds 1 --frames 500    # a quick look

A run of the preset `fast` on the same videos predicts them into tables alone. Frames a second are those of whole calls, each in a process
of its own after its imports; loading of weights counts in both. The ratio is the median over the rounds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _machine import machine

EXTRACT = """
import json, sys, time
from pathlib import Path
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs
found, out = find_inputs([Path(sys.argv[1])]), Path(sys.argv[2])
begin = time.perf_counter()
report = extract_videos(found, out, ExtractConfig(weights="synface"))
assert not report.failures, report.failures
print(json.dumps({"frames": report.frames, "seconds": time.perf_counter() - begin}))
"""

PREDICT = """
import json, resource, sys, time
from pathlib import Path
from est.infer.prediction.config import PredictConfig
from est.infer.prediction.predicting import predict
from est.inputs.input import find_inputs
found, out = find_inputs([Path(sys.argv[1])]), Path(sys.argv[2])
begin = time.perf_counter()
predictions = predict(found, sys.argv[3], out=out, config=PredictConfig(face="main", video=False, picture=False))
seconds = time.perf_counter() - begin
assert not predictions.failures, predictions.failures
own, worker = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"frames": predictions.frames, "seconds": seconds, "windows": len(predictions), "own": own, "worker": worker}))
"""


def timed(script: str, videos: Path, out: Path, *more: Path) -> dict:
    """Run a script in a process of its own, into a folder that is not there; return what it prints."""
    shutil.rmtree(out, ignore_errors=True)
    words = [sys.executable, "-c", script, str(videos), str(out), *map(str, more)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def speed(found: dict) -> float:
    """Return the frames a second of a call."""
    return found["frames"] / found["seconds"]


def repeated(clip: Path, path: Path, length: int) -> None:
    """Write a video of so many frames by repeating a clip."""
    import cv2

    video, frames = cv2.VideoCapture(str(clip)), []
    while (found := video.read())[0]:
        frames.append(found[1])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, frames[0].shape[1::-1])
    for number in range(length):
        writer.write(frames[number % len(frames)])
    writer.release()


def main() -> None:
    """Print throughput and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=4, help="rendered people, 7 clips each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--frames", type=int, nargs="+", default=[1_000, 20_000], help="lengths of the videos for memory"
    )
    options = parser.parse_args()
    from est.demo import RenderSpec, render_set
    from est.train import fit
    from est.train.config.configfile import resolve

    print(machine("torch", "numpy"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos, run = folder / "videos", folder / "run"
        render_set(RenderSpec(subjects=options.subjects, clips_per_subject=7, seed=3), videos, overwrite=True)
        timed(EXTRACT, videos, folder / "cache.zarr")
        fit(
            folder / "cache.zarr",
            run,
            resolve("fast", None, (), {"protocol.kind": "kfold", "protocol.folds": 2, "loop.batch": 4}),
        )
        rounds = [
            (timed(EXTRACT, videos, folder / "again.zarr"), timed(PREDICT, videos, folder / "out", run))
            for _ in range(options.rounds)
        ]
        ratio = statistics.median(speed(predicted) / speed(extracted) for extracted, predicted in rounds)
        for what, found in zip(("est extract", "est predict"), zip(*rounds, strict=True), strict=True):
            print(f"{what}  {statistics.median(map(speed, found)):7.1f} frames/s")
        print(f"prediction / extraction  {ratio:.2f}")
        clip = next(iter(sorted(videos.rglob("*.mp4"))))
        (folder / "long").mkdir()
        for length in options.frames:
            path = folder / "long" / f"{length}.mp4"
            repeated(clip, path, length)
            found = timed(PREDICT, path, folder / "out", run)
            sizes = f"{found['own'] / 1024:6.0f} MB here, {found['worker'] / 1024:6.0f} MB in the largest worker"
            print(f"{length:>6} frames, {found['windows']} windows: {sizes}")


if __name__ == "__main__":
    main()
