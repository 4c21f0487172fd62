"""Extraction beside the plain loop that people write, beside its own bound, and its memory over the length of a video.

The plain loop: one video at a time, frame by frame, the packaged RetinaFace at 640 through its own onnxruntime session, torchvision's
ResNet-18 in fp32, all with default threads; the same with its two thread pools told to share the cores stands beside it. The bound on a
CPU is the sum of the stages' costs. Goals on a processor with bf16: ≥ 5 × the plain loop, ≥ 90 % of the bound.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _machine import machine
from _ratios import tell

ROUNDS = 3

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
frames, start = 0, None
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
print(frames / (time.perf_counter() - start))
"""

OURS = """
import sys, json, resource
from pathlib import Path
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs
out, workers, engine, precision, *paths = sys.argv[1:]
config = ExtractConfig(weights="random", workers=int(workers) or None, engine=engine, precision=precision)
report = extract_videos(find_inputs([Path(p) for p in paths]), out, config)
assert not report.failures, report.failures
own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps({"frames": report.frames, "seconds": report.running, "stages": report.stages, "own": own, "worker": workers}))
"""


HOW = {"engine": "auto", "precision": "auto"}  # of ours


def run(script: str, *arguments: str) -> str:
    """Run a script in a process of its own, so that no measurement warms another."""
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.splitlines()[-1]


def ours(folder: Path, paths: list[str], workers: int = 0) -> dict:
    """Extract into a fresh cache; return what the run says of itself."""
    import json

    out = folder / "cache.zarr"
    shutil.rmtree(out, ignore_errors=True)
    return json.loads(run(OURS, str(out), str(workers), *HOW.values(), *paths))


def measure_speed(folder: Path, paths: list[str], rounds: int) -> None:
    """Print frames/s of the plain loop, the same without its thread fight, and ours, in turns."""
    plain, shared, fast, stages = [], [], [], []
    for _ in range(rounds):
        plain.append(float(run(PLAIN, "default", *paths)))
        shared.append(float(run(PLAIN, "shared", *paths)))
        found = ours(folder, paths)
        fast.append(found["frames"] / found["seconds"])
        stages.append(found)
    base = statistics.median(plain)
    print(f"plain loop, default threads  {base:7.1f} frames/s")
    print(
        f"plain loop, threads shared   {statistics.median(shared):7.1f} frames/s  {statistics.median(shared) / base:5.2f} ×"
    )
    ratio = statistics.median(a / b for a, b in zip(fast, plain, strict=True))
    tell("extract, of the tuned loop", statistics.median(a / b for a, b in zip(fast, shared, strict=True)))
    print(f"est extract                  {statistics.median(fast):7.1f} frames/s  {ratio:5.2f} ×")
    last = stages[-1]
    cores = len(os.sched_getaffinity(0))
    for name, seconds in last["stages"].items():
        print(f"  {name:<8} {1000 * seconds / last['frames']:6.2f} ms a frame")
    # Decoding and cropping take one core each, the networks all of them.
    bound = sum(seconds / (cores if name in ("decode", "crop") else 1) for name, seconds in last["stages"].items())
    print(f"  share of the bound: {bound / last['seconds']:.1%}")
    tell("extract, of its bound", bound / last["seconds"])


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
    for name, default in HOW.items():
        parser.add_argument(f"--{name}", default=default, help="of est extract")
    arguments = parser.parse_args()
    HOW.update({name: getattr(arguments, name) for name in HOW})
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
        measure_speed(folder, [str(folder / "set" / clip.path) for clip in clips], arguments.rounds)
        if arguments.memory:
            measure_memory(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
