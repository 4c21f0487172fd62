"""How fast and how exact face detection is, by engine, size of the image and every how many frames, on rendered clips.

Engines run in turns within one round, so that a drift of the machine hits all alike. Overlaps are with the renderer's own face boxes, in
frames where nothing hides the face; between detections boxes are interpolated. "Fast" clips show every third frame: their heads move three
times as fast. The last lines name the fastest setting whose overlap is within 0.01 of detecting each frame at full size.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import onnxruntime
import torch
from _machine import machine
from retinaface.weights import WEIGHTS

from est.demo.clip import Clip
from est.demo.spec import RenderSpec, plan_set
from est.encoders.precision import resolve_precision
from est.extract.faces.detect import build_detector
from est.extract.faces.detect.base import Detector, reduced_size
from est.extract.faces.detect.retinaface_net import MEAN

BATCH = 8
SPAN = 31  # frames taken of each clip: one more than a multiple of every step
SIZES = (None, 640, 480, 320, 240)  # longer side of the image that is searched; None: as it is
STEPS = (1, 2, 3, 5)
TOLERANCE = 0.01
SOURCES = (  # size, every how many frames, sway in widths of the face
    ((640, 360), 1, 0.0),
    ((640, 360), 3, 0.0),
    ((640, 360), 1, 0.5),
    ((1280, 720), 3, 0.0),
    ((480, 854), 1, 0.0),
)
SWAY_PERIOD = 50  # frames: there and back in two seconds, at most 6 % of the width a frame for a sway of 0.5


@dataclass(frozen=True, kw_only=True)
class Source:
    """Clips of one size, with their truth."""

    name: str
    size: tuple[int, int]
    clips: list[np.ndarray]  # each (SPAN, H, W, 3)
    boxes: np.ndarray  # (clips, SPAN, 4)
    visible: np.ndarray  # (clips, SPAN)


def render(size: tuple[int, int], stride: int, sway: float, clips: int) -> Source:
    """Render spans of clips of different people; a sway moves the whole picture back and forth under the camera."""
    frames, boxes, visible = [], [], []
    plans = plan_set(RenderSpec(subjects=4 * clips, clips_per_subject=1, seed=71, size=size, difficulty=0.6))
    for plan in [plan for plan in plans if plan.num_frames > (SPAN - 1) * stride][:clips]:
        clip = Clip(plan)
        shots = [clip.frame(number) for number in range(0, (SPAN - 1) * stride + 1, stride)]
        truth = np.array([truth.box for _, truth in shots])
        shifts = sway * np.sin(2 * np.pi * np.arange(SPAN) / SWAY_PERIOD) * np.median(truth[:, 2] - truth[:, 0])
        frames.append(np.stack([shift_right(image, shift) for (image, _), shift in zip(shots, shifts, strict=True)]))
        boxes.append(truth + shifts[:, None] * np.array([1, 0, 1, 0]))
        visible.append([truth.visible for _, truth in shots])
    name = f"{size[0]}×{size[1]}{' fast' if stride > 1 else ''}{' swaying' if sway else ''}"
    return Source(name=name, size=size, clips=frames, boxes=np.array(boxes), visible=np.array(visible))


def shift_right(image: np.ndarray, pixels: float) -> np.ndarray:
    """Move a picture sideways; the border is filled with its mirror image."""
    if pixels == 0:
        return image
    matrix = np.array([[1, 0, pixels], [0, 1, 0]], np.float64)
    return cv2.warpAffine(image, matrix, (image.shape[1], image.shape[0]), borderMode=cv2.BORDER_REFLECT)


def reduce(images: np.ndarray, longer_side: int | None) -> np.ndarray:
    """Reduce images to a longer side."""
    width, height = images.shape[2], images.shape[1]
    small = reduced_size(width, height, longer_side)
    if small == (width, height):
        return images
    return np.stack([cv2.resize(image, small, interpolation=cv2.INTER_AREA) for image in images])


def track(detector: Detector, clip: np.ndarray, longer_side: int | None) -> np.ndarray:
    """Return the best box of each frame, NaN where there is none, in pixels of the source."""
    small = reduce(clip, longer_side)
    x, y = clip.shape[2] / small.shape[2], clip.shape[1] / small.shape[1]
    found = [faces.scaled(x, y) for faces in detector.detect(small)]
    return np.array([faces.boxes[0] if len(faces) else np.full(4, np.nan) for faces in found])


def interpolate(boxes: np.ndarray, step: int) -> np.ndarray:
    """Keep every step-th box and draw straight lines between them."""
    kept = np.arange(0, len(boxes), step)
    kept = kept[~np.isnan(boxes[kept, 0])]
    if len(kept) == 0:
        return boxes
    at = np.arange(len(boxes))
    return np.stack([np.interp(at, kept, boxes[kept, k]) for k in range(4)], axis=1)


def overlaps(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return intersection over union, 0 where a box is missing.  # (..., 4) × 2 → (...)"""
    low, high = np.maximum(one[..., :2], two[..., :2]), np.minimum(one[..., 2:], two[..., 2:])
    common = np.maximum(high - low, 0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (one, two)]
    return np.nan_to_num(common / (areas[0] + areas[1] - common))


def engines(threads: int) -> dict[str, Callable[[np.ndarray], object]]:
    """Return the ways to run the network, each from BGR images to whatever it gives."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(WEIGHTS, options, providers=["CPUExecutionProvider"])
    mean = np.array(MEAN, np.float32)

    def reference(images: np.ndarray) -> object:
        return session.run(None, {"input": np.ascontiguousarray((images - mean).transpose(0, 3, 1, 2))})

    fp32, bf16 = (build_detector("retinaface", precision=name, batch_size=BATCH).detect for name in ("fp32", "bf16"))
    return {"onnxruntime fp32": reference, "torch fp32": fp32, "torch bf16": bf16}


def time_engines(
    images: np.ndarray, rounds: int, threads: int, clock: Callable[[], float]
) -> dict[tuple[str, int | None], list[float]]:
    """Return seconds of each engine and size for one batch, reduction included, round by round."""
    runs = engines(threads)
    seconds: dict[tuple[str, int | None], list[float]] = {(name, size): [] for size in SIZES for name in runs}
    for number in range(rounds + 1):  # the first one warms up
        for name, size in seconds:
            start = clock()
            runs[name](reduce(images, size))
            if number:
                seconds[name, size].append(clock() - start)
    return seconds


def print_speed(source: Source, rounds: int, threads: int, clock: Callable[[], float]) -> dict[int | None, float]:
    """Print frames per second by engine; return those of this machine's own precision by size."""
    seconds = time_engines(source.clips[0][:BATCH], rounds, threads, clock)
    names = list(dict.fromkeys(name for name, _ in seconds))
    print(f"\n{source.name}, batch {BATCH}, {threads} threads: frames/s (ratio to onnxruntime in the same round)")
    print(f"{'searched at':>12} " + " ".join(f"{name:>22}" for name in names))
    for size in sizes_of(source):
        cells = []
        for name in names:
            rate = BATCH / statistics.median(seconds[name, size])
            pairs = zip(seconds[names[0], size], seconds[name, size], strict=True)
            cells.append(f"{rate:>14.0f}  ({statistics.median(a / b for a, b in pairs):4.2f})")
        print(f"{size or 'full':>12} " + " ".join(f"{cell:>22}" for cell in cells))
    own = f"torch {resolve_precision('auto', torch.device('cpu'))[0]}"
    return {size: BATCH / statistics.median(seconds[own, size]) for size in sizes_of(source)}


def sizes_of(source: Source) -> list[int | None]:
    """Return the sizes that differ from the source's own."""
    return [size for size in SIZES if size is None or size < max(source.size)]


def measure(source: Source, detector: Detector) -> dict[tuple[int | None, int], tuple[float, float]]:
    """Return mean overlap and the share of frames below 0.5, by size and step."""
    results = {}
    for size in sizes_of(source):
        found = np.stack([track(detector, clip, size) for clip in source.clips])
        for step in STEPS:
            boxes = np.stack([interpolate(one, step) for one in found])
            values = overlaps(boxes, source.boxes)[source.visible]
            results[size, step] = float(values.mean()), float((values < 0.5).mean())
    return results


def print_quality(source: Source, results: dict, rates: dict[int | None, float], exact: float) -> None:
    """Print a source's table and the fastest setting that is good enough."""
    moved = np.linalg.norm(np.diff(source.boxes[..., :2], axis=1), axis=-1) / (
        source.boxes[:, 1:, 2] - source.boxes[:, 1:, 0]
    )
    print(
        f"\n{source.name}: heads move {np.median(moved):.1%} of their width a frame (5 % of frames: {np.quantile(moved, 0.95):.1%}); "
        f"fp32 at full size, each frame: {exact:.4f}"
    )
    print(f"{'searched at':>12} " + " ".join(f"{f'every {step}':>26}" for step in STEPS))
    for size in sizes_of(source):
        cells = [
            f"{results[size, step][0]:.4f} {results[size, step][1]:5.1%} {rates[size] * step:7.0f}/s" for step in STEPS
        ]
        print(f"{size or 'full':>12} " + " ".join(f"{cell:>26}" for cell in cells))
    good = [key for key, (mean, _) in results.items() if mean >= exact - TOLERANCE]
    if good:
        size, step = max(good, key=lambda key: rates[key[0]] * key[1])
        print(
            f"fastest within {TOLERANCE}: searched at {size or 'full'}, every {step}: {rates[size] * step:.0f} frames/s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--cpu-time", action="store_true", help="one thread, processor time: for a machine that has other work to do"
    )
    arguments = parser.parse_args()
    threads, clock = (1, time.process_time) if arguments.cpu_time else (arguments.threads, time.perf_counter)
    torch.set_num_threads(threads)
    precision, reason = resolve_precision("auto", torch.device("cpu"))
    print(machine("torch", "onnxruntime", "opencv-python-headless"))
    print(f"precision auto: {precision}, {reason}")
    if arguments.cpu_time:
        print("times are processor time of one thread")
    print("overlap with the truth, frames below 0.5, frames/s of detection with its reduction, by steps")
    rates: dict[tuple[int, int], dict[int | None, float]] = {}
    total: dict[tuple[int | None, int], list[float]] = {}
    for size, stride, sway in SOURCES:
        source = render(size, stride, sway, arguments.clips)
        if size not in rates:
            rates[size] = print_speed(source, arguments.rounds, threads, clock)
        exact = measure_exact(source)
        results = measure(source, build_detector("retinaface", precision=precision, batch_size=BATCH))
        print_quality(source, results, rates[size], exact)
        for key, (mean, _) in results.items():
            total.setdefault(key, []).append(mean - exact)
    print(f"\nworst difference to fp32 at full size, each frame, over {len(SOURCES)} sources")
    for size in SIZES:
        print(f"{size or 'full':>12} " + " ".join(f"{min(total[size, step]):>+10.4f}" for step in STEPS))


def measure_exact(source: Source) -> float:
    """Return the mean overlap of fp32 detection on each frame at full size."""
    detector = build_detector("retinaface", precision="fp32", batch_size=BATCH)
    found = np.stack([track(detector, clip, None) for clip in source.clips])
    return float(overlaps(found, source.boxes)[source.visible].mean())


if __name__ == "__main__":
    main()
