"""Extraction on a device: each stage alone, the whole beside its slowest stage, and beside a plain loop that is batched on the same device.

Two things run side by side: processes that decode and crop, and the device, which detects and encodes. The slower of the two bounds the
whole. Rates are frames of the videos a second; a detection counts for the frames up to the next one.
"""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch
from material import copies, rendered
from measured import Context, Measured
from on_cores import crop_video, decode_video

from est.encoders.backbone import Backbone
from est.encoders.device import num_cores
from est.encoders.engines.choice import choose_engine
from est.encoders.engines.preparation import prepare
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.extract.faces.detect import build_detector
from est.extract.threads import default_workers
from est.extract.video.source import open_source
from est.extract.workers.device_worker import DeviceWorker
from est.inputs.input import find_inputs

PLAIN_BATCH = 32
STAGES = {"decode": "decode alone", "crop": "crop alone", "detect": "detect alone", "encode": "encode alone"}


def config_of(context: Context) -> ExtractConfig:
    """Return the settings that are measured: the defaults, with weights that need no download."""
    return ExtractConfig(weights="random", size=context.sizes.crop, device=str(context.device))


def decode(context: Context) -> Measured:
    """Measure decoding on all cores."""
    files = sorted(copies(context, context.sizes.few_copies).glob("*.mp4"))
    cores = num_cores()
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        list(pool.map(decode_video, [files[0]] * cores))
        start = time.perf_counter()
        frames = sum(pool.map(decode_video, files))
        rate = frames / (time.perf_counter() - start)
    return kept(
        context, "decode", rate, f"{cores} cores, {rate / cores:,.0f} a core; MPEG-4 Part 2, {size_of(context)}"
    )


def crop(context: Context) -> Measured:
    """Measure cropping on all cores."""
    path, cores = rendered(context)[0], num_cores()
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        how = [context.sizes.crop] * cores, [context.sizes.seconds] * cores
        rate = sum(pool.map(crop_video, [path] * cores, *how))
    return kept(context, "crop", rate, f"{cores} cores, {rate / cores:,.0f} a core")


def device_worker(context: Context) -> DeviceWorker:
    """Return what detects and encodes."""
    computation = choose_engine("auto", "auto", context.device)
    encoder = prepare(Backbone().eval(), context.sizes.crop, computation, print)
    return DeviceWorker(context.device, computation.searching, config_of(context), [encoder])


def detect(context: Context) -> Measured:
    """Measure detection, from pictures in memory to faces in memory."""
    worker, every = device_worker(context), config_of(context).detect_every
    with open_source(rendered(context)[0], "video") as video:
        frames = [frame for frame, _ in video.frames()]
    pictures = np.stack([frames[number % len(frames)] for number in range(worker.detect_batch)])
    rate = context.rate(lambda: worker.detector.detect(pictures)) * len(pictures) * every
    return kept(context, "detect", rate, f"batches of {len(pictures)}, each {every}rd frame")


def encode(context: Context) -> Measured:
    """Measure the encoder, from crops in memory to features in memory."""
    worker = device_worker(context)
    shape = (worker.crop_batch, context.sizes.crop, context.sizes.crop, 3)
    crops = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    rate = context.rate(lambda: worker.encoders[0].encode(crops)) * len(crops)
    return kept(context, "encode", rate, f"batches of {len(crops)}, {context.sizes.crop} × {context.sizes.crop}")


def kept(context: Context, name: str, rate: float, note: str) -> Measured:
    """Keep a stage's rate, and return its row."""
    context.keep(**{name: rate})
    return Measured(value=rate, text=f"{rate:,.0f} frames/s", note=note)


def size_of(context: Context) -> str:
    """Say how large the pictures are."""
    width, height = context.sizes.picture
    return f"{width} × {height}"


def extracted(context: Context, count: int) -> tuple[int, float, dict[str, float]]:
    """Extract so many copies; return the frames, the seconds, and how long each stage was busy."""
    out = context.work / "cache.zarr"
    shutil.rmtree(out, ignore_errors=True)
    report = extract_videos(find_inputs([copies(context, count)]), out, config_of(context))
    assert not report.failures, report.failures
    return report.frames, report.running, report.stages


def whole(context: Context) -> Measured:
    """Measure extraction from few and from many copies: the difference is free of the start."""
    sizes = context.sizes
    few_frames, few_seconds, _ = extracted(context, sizes.few_copies)
    frames, seconds, stages = extracted(context, sizes.copies)
    rate = (frames - few_frames) / max(seconds - few_seconds, 1e-9)
    context.keep(whole=rate)
    workers = default_workers([context.device])
    rates = {name: context.kept(name, title) for name, title in STAGES.items()}
    on_cores = workers / num_cores() / (1 / rates["decode"] + 1 / rates["crop"])
    on_device = 1 / (1 / rates["detect"] + 1 / rates["encode"])
    bound = min(on_cores, on_device)
    if context.device.type == "cpu":  # they share the cores
        bound = 1 / sum(1 / value for value in rates.values())
    name = f"decode and crop in {workers} processes" if on_cores < on_device else "detect and encode on the device"
    busy = ", ".join(f"{stage} {seconds_busy:.1f}" for stage, seconds_busy in stages.items())
    note = (
        f"bound by {name}: {bound:,.0f} (decode and crop {on_cores:,.0f}, detect and encode {on_device:,.0f}); "
        f"{frames:,} frames in {seconds:.1f} s with the start; seconds busy: {busy}"
    )
    return Measured(value=rate / bound, text=f"{rate / bound:.0%} ({rate:,.0f} frames/s)", note=note)


@torch.inference_mode()
def plain(context: Context) -> Measured:
    """Measure the loop that people write: video by video, all frames detected, one batch after the other, fp32."""
    size, device = context.sizes.crop, context.device
    detector = build_detector("retinaface", device=str(device), precision="fp32", batch_size=PLAIN_BATCH)
    backbone = Backbone().to(device).eval()

    def one_video(path: Path) -> int:
        video, frames = cv2.VideoCapture(str(path)), []
        while (found := video.read())[0]:
            frames.append(found[1])
        for start in range(0, len(frames), PLAIN_BATCH):
            batch = frames[start : start + PLAIN_BATCH]
            crops = []
            for frame, faces in zip(batch, detector.detect(np.stack(batch)), strict=True):
                x0, y0, x1, y1 = (max(round(v), 0) for v in faces.boxes[0]) if len(faces) else (0, 0, size, size)
                crops.append(cv2.cvtColor(cv2.resize(frame[y0:y1, x0:x1], (size, size)), cv2.COLOR_BGR2RGB))
            images = torch.from_numpy(np.stack(crops)).to(device).permute(0, 3, 1, 2).float() / 255
            backbone(images).cpu().numpy()
        return len(frames)

    paths = rendered(context)
    one_video(paths[0])
    context.synchronise()
    start = time.perf_counter()
    frames = sum(one_video(path) for path in paths)
    rate = frames / (time.perf_counter() - start)
    ratio = context.kept("whole", "the whole extraction") / rate
    return Measured(
        value=ratio, text=f"{ratio:.1f} ×", note=f"the plain loop: {rate:,.0f} frames/s over {frames:,} frames"
    )


MEASURES = {"decode": decode, "crop": crop, "detect": detect, "encode": encode, "whole": whole, "plain": plain}
