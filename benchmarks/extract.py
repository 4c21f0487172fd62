"""Extraction beside the plain loop that people write, its own bound and a busy neighbour, and its memory over the length of a video.

The plain loop: one video at a time, frame by frame, the packaged RetinaFace at 640 through its own onnxruntime session, torchvision's
ResNet-18 in fp32, all with default threads. The tuned loop is the faster of two whose thread pools do not fight: torch's threads wait
passively, or one thread detects; every ratio is to it. The bound on a CPU is the sum of the stages' costs. Goals: ≥ 4 × the tuned loop
with bf16, or with int8 on a processor without it; ≥ 2.6 × in fp32; ≥ 90 % of the bound. With --neighbour all run once more while a busy
loop takes one core. What the look at people adds is too little for these times: benchmarks/identity.py measures it, clip by clip in pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _machine import machine
from _ratios import tell

ROUNDS = 3
TUNED, USUAL = "tuned loop", "extract"

PLAIN = """
import sys, time
import cv2, numpy as np, torch, torchvision
import onnxruntime
shared = sys.argv[1] == "shared"
if shared:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    original = onnxruntime.InferenceSession
    onnxruntime.InferenceSession = lambda data, *a, **k: original(data, sess_options=options, providers=["CPUExecutionProvider"])
    cv2.setNumThreads(1)
from retinaface import detect_faces
model = torchvision.models.resnet18(weights=None).eval()
model.fc = torch.nn.Identity()
frames, start, LIMIT = 0, None, 60  # seconds: beside other work the threads of the plain loop do a frame a second
for path in sys.argv[2:]:
    video = cv2.VideoCapture(path)
    while True:
        more, frame = video.read()
        if not more:
            break
        if start is None:
            start = time.perf_counter()
        rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        scale = 640 / max(rgb.shape[:2])
        faces = detect_faces(cv2.resize(rgb, None, fx=scale, fy=scale), score_threshold=0.8)
        if faces:
            face = max(faces, key=lambda f: f.width * f.height)
            x, y, w, h = (round(v / scale) for v in (face.x, face.y, face.width, face.height))
            crop = cv2.resize(rgb[max(y, 0):y + h, max(x, 0):x + w], (224, 224))
            with torch.inference_mode():
                model(torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255).numpy()
        frames += 1
        if time.perf_counter() - start > LIMIT:
            break
    if time.perf_counter() - start > LIMIT:
        break
print(frames / (time.perf_counter() - start))
"""

OURS = """
import os, sys, json, resource
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as est extract does, before torch is imported
from pathlib import Path
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs
out, workers, engine, precision, crops, *paths = sys.argv[1:]
config = ExtractConfig(
    weights="random", workers=int(workers) or None, engine=engine, precision=precision, crops=crops == "crops"
)
report = extract_videos(find_inputs([Path(p) for p in paths]), out, config)
assert not report.failures, report.failures
own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps({"frames": report.frames, "seconds": report.running, "stages": report.stages, "own": own, "worker": workers}))
"""


def run(script: str, *arguments: str, **environment: str) -> str:
    """Run a script in a process of its own, so that no measurement warms another."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.splitlines()[-1]


def ours(
    folder: Path,
    paths: list[str],
    workers: int = 0,
    engine: str = "auto",
    precision: str = "auto",
    crops: bool = False,
) -> dict:
    """Extract into a fresh cache; return what the run says of itself."""
    out = folder / "cache.zarr"
    shutil.rmtree(out, ignore_errors=True)
    return json.loads(run(OURS, str(out), str(workers), engine, precision, "crops" if crops else "", *paths))


def rows_of() -> dict[str, dict[str, Any]]:
    """Return the rows that this processor can fill, what `auto` takes first, with the settings of `ours`."""
    rows: dict[str, dict[str, Any]] = {
        "": {},
        "bf16": {"precision": "bf16"},
        "fp32, torch": {"precision": "fp32", "engine": "torch"},
        "fp32, onnxruntime": {"precision": "fp32", "engine": "onnxruntime"},
        "int8": {"precision": "int8"},
        "--crops": {"crops": True},
    }
    there = {name: settings for name, settings in rows.items() if name != "bf16" or not why_not("bf16")}
    return {f"{USUAL}, {name}" if name else USUAL: settings for name, settings in there.items()}


def why_not(precision: str) -> str | None:
    """Say why this processor would only emulate a precision."""
    import torch

    from est.encoders.precision import why_emulated

    return why_emulated(precision, torch.device("cpu"))  # ty: ignore[invalid-argument-type]


@contextmanager
def neighbour() -> Generator[None]:
    """Take one core with a loop that never waits."""
    core = str(max(os.sched_getaffinity(0)))
    busy = subprocess.Popen([sys.executable, "-c", f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: pass"])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def measure_speed(folder: Path, paths: list[str], rounds: int, plain: bool) -> dict[str, float]:
    """Print frames/s of the plain loop, the same without its thread fight, and ours, in turns; return them."""
    rows = rows_of()
    loops: dict[str, tuple[str, dict[str, str]]] = {"plain loop, default threads": ("default", {})} if plain else {}
    loops |= {
        "the same, torch's threads wait passively": ("default", {"OMP_WAIT_POLICY": "passive"}),
        "the same, one thread detects": ("shared", {}),
    }
    speeds: dict[str, list[float]] = {name: [] for name in (*loops, TUNED, *rows)}
    last: dict[str, dict] = {}
    for _ in range(rounds):
        for name, (threads, environment) in loops.items():
            speeds[name].append(float(run(PLAIN, threads, *paths, **environment)))
        speeds[TUNED].append(max(speeds[name][-1] for name in list(loops)[-2:]))
        for name, settings in rows.items():
            last[name] = ours(folder, paths, **settings)
            speeds[name].append(last[name]["frames"] / last[name]["seconds"])
    for name, found in speeds.items():
        ratio = statistics.median(a / b for a, b in zip(found, speeds[TUNED], strict=True))
        print(
            f"{name:<42} {statistics.median(found):7.1f} frames/s  {ratio:5.2f} × the tuned loop{stages(last.get(name))}"
        )
        if name in rows:
            tell(f"{name}, of the tuned loop", ratio)
    tell(f"{USUAL}, of its bound", share_of_bound(last[USUAL]))
    return {name: statistics.median(found) for name, found in speeds.items()}


def stages(report: dict | None) -> str:
    """Write what each stage took, and how near the whole came to their sum."""
    if report is None:
        return ""
    costs = ", ".join(f"{name} {1000 * seconds / report['frames']:.2f}" for name, seconds in report["stages"].items())
    return f"\n  ms a frame: {costs}; {share_of_bound(report):.0%} of the bound"


def share_of_bound(report: dict) -> float:
    """Return the share of the time that the stages need: decoding and cropping take one core each, the networks all of them."""
    cores = len(os.sched_getaffinity(0))
    bound = sum(seconds / (cores if name in ("decode", "crop") else 1) for name, seconds in report["stages"].items())
    return bound / report["seconds"]


def measure_memory(folder: Path) -> None:
    """Print the resident memory over the length of a video."""
    from est.demo import RenderSpec, render_set

    render_set(RenderSpec(subjects=1, clips_per_subject=1, seed=1), folder / "one", workers=1, overwrite=True)
    clip = next((folder / "one").rglob("*.mp4"))
    import cv2

    video = cv2.VideoCapture(str(clip))
    frames = []
    while (found := video.read())[0]:
        frames.append(found[1])
    for length in (1_000, 20_000):
        path = folder / f"{length}.mp4"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, frames[0].shape[1::-1])
        for number in range(length):
            writer.write(frames[number % len(frames)])
        writer.release()
        found = ours(folder, [str(path)], workers=1)
        print(f"{length:>6} frames: {found['own'] / 1024:6.0f} MB here, {found['worker'] / 1024:6.0f} MB in the worker")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="each takes minutes on two cores")
    parser.add_argument(
        "--memory", action="store_true", help="also measure memory over 1,000 and 20,000 frames (minutes)"
    )
    parser.add_argument("--no-plain", action="store_true", help="leave out the plain loop with default threads")
    parser.add_argument("--neighbour", action="store_true", help="again while a busy loop takes one core")
    arguments = parser.parse_args()
    from est.demo import RenderSpec, render_set

    print(machine("torch", "onnxruntime", "opencv-python-headless"))
    folder = Path(tempfile.mkdtemp(prefix="est-extract-"))
    try:
        start = time.monotonic()
        clips = render_set(RenderSpec(subjects=arguments.subjects, clips_per_subject=7, seed=11), folder / "set")
        frames = sum(clip.num_frames for clip in clips)
        print(
            f"{len(clips)} rendered videos of 640×360, {frames} frames (rendered in {time.monotonic() - start:.0f} s)"
        )
        paths = [str(folder / "set" / clip.path) for clip in clips]
        alone = measure_speed(folder, paths, arguments.rounds, not arguments.no_plain)
        if arguments.neighbour:
            print("beside a busy loop on one core")
            with neighbour():
                beside = measure_speed(folder, paths, arguments.rounds, not arguments.no_plain)
            for name, speed in beside.items():
                print(f"{name:<42} keeps {speed / alone[name]:.0%} of its speed")
        if arguments.memory:
            measure_memory(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
