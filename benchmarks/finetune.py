"""A backbone that learns beside one that does not: what a step costs, and what is waited for. What it is worth: features.py.

    python benchmarks/finetune.py                  # minutes on a CPU
    python benchmarks/finetune.py --size 224

A step of 8 clips × 35 frames: cached, layer4 from maps, all from crops, paper and modern; beside each the same step on frames that are
there already. Goals: ≤ 5 % of a step spent waiting; 8 × 35 frames of 224 in 8 GB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from _machine import machine

from est.demo import RenderSpec, render_set
from est.encoders.device import parse_device
from est.encoders.precision import why_emulated
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs

STEPS = {
    "cached": [],
    "layer4 from maps, paper": ["finetune.learns=layer4"],
    "layer4 from maps, modern": ["finetune.learns=layer4", *(modern := ["finetune.batch_norm=frozen"])],
    "all from crops, paper": ["finetune.learns=all"],
    "all from crops, modern": ["finetune.learns=all", *modern, "finetune.shift=0.04", "finetune.brightness=0.2"],
    "all from crops, modern, checkpointing": ["finetune.learns=all", *modern, "finetune.checkpointing=true"],
}
ONE = """
import json, resource, statistics, sys, time
import torch
from est.train.config.configfile import resolve
from est.train.preparation import prepare
from est.train.loop.trainer import Trainer, reproducible
from est.train.models import build_model
from est.train.loop.starts.initial_weights import build
from est.train.loop.watch import Part
from est.encoders.device import parse_device
from est.encoders.precision import resolve_precision
path, precision, device, steps, *settings = sys.argv[1:]
device = parse_device(device)
config = resolve(settings=[*settings, "protocol.kind=holdout", "control=false", f"loop.precision={precision}"])
ready = prepare(path, config)
fold = ready.plan.folds[0]
est = build_model(config.model, width=ready.data.clips.width, num_classes=len(ready.data.labels), seed=1)
model = build(ready.start, est, config, Part(name="one", fold=fold.name, seed=1, index=0, total=1)).to(device)
trainer = Trainer(model, ready.data.clips, train=ready.data.place[ready.data.learnt(fold.train)], target=ready.data.target,
    config=config, precision=resolve_precision(precision, device)[0], seed=1)
def synchronise():
    if device.type == "cuda":
        torch.cuda.synchronize(device)
def take(count, first=0):
    trainer.model.train()
    plan = trainer.planner.draw(0)
    order = [step % trainer.num_steps for step in range(first, first + count)]
    if not bare:
        trainer.clips.expect((plan.index[step], None if plan.augmentation is None else plan.augmentation[step]) for step in order)
    times = []
    for step in order:
        synchronise()
        start = time.perf_counter()
        trainer.step(plan, step)
        synchronise()
        times.append(time.perf_counter() - start)
    return times
with reproducible(device, torch.get_num_threads()):
    bare = False
    take(2)
    before = trainer.clips.waited
    whole = take(int(steps))
    waited = trainer.clips.waited - before
    plan = trainer.planner.draw(0)
    held = trainer.clips.take(plan.index[0], None if plan.augmentation is None else plan.augmentation[0])
    object.__setattr__(trainer.clips, "take", lambda index, augmentation=None: held)
    bare = True
    alone = take(int(steps))
peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(json.dumps({"step": statistics.median(whole), "bare": statistics.median(alone), "waited": waited / sum(whole), "gb": peak,
    "batch": config.loop.batch}))
"""


def rendered(folder: Path, size: int) -> Path:
    """Render people and extract them, with crops and maps."""
    videos, out = folder / "videos", folder / f"cache{size}.zarr"
    if not videos.exists():
        render_set(RenderSpec(subjects=3, clips_per_subject=7, seed=5), videos)
    extract_videos(
        find_inputs([videos]), out, ExtractConfig(weights="synface", size=size, crops=True, features=("gap", "layer3"))
    )
    return out


def measure_steps(folder: Path, size: int, device: str, steps: int) -> None:
    """Print the table of steps."""
    cache = rendered(folder, size)
    print(f"\nbatch 8 × 35 frames of {size} × {size}, {device}")
    print(f"{'':<40} precision   step ms   bare ms   waiting   GB")
    for precision in ("fp32", "bf16"):
        if reason := why_emulated(precision, parse_device(device)):
            print(f"{precision} is left out: {reason}")
            continue
        for name, settings in STEPS.items():
            call = [sys.executable, "-c", ONE, str(cache), precision, device, str(steps), *settings]
            done = subprocess.run(call, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            found = json.loads(done.stdout.splitlines()[-1])
            times = f"{1000 * found['step']:9.0f} {1000 * found['bare']:9.0f}"
            print(f"{name:<40} {precision:<9} {times} {found['waited']:9.1%} {found['gb']:5.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="keeps what was rendered and extracted")
    arguments = parser.parse_args()
    print(machine("torch", "torchvision"))
    with tempfile.TemporaryDirectory(prefix="est-finetune-") as made:
        folder = arguments.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        measure_steps(folder, arguments.size, arguments.device, arguments.steps)


if __name__ == "__main__":
    main()
