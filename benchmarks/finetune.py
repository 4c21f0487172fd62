"""A backbone that learns beside one that does not: what a step costs, what is waited for, and what it is worth.

    python benchmarks/finetune.py                  # steps: time, memory, waiting; minutes on a CPU
    python benchmarks/finetune.py step --size 224
    python benchmarks/finetune.py worth            # on rendered faces, from weakened weights: frozen, layer4, all; half an hour

step   a step of 8 clips × 35 frames: cached, layer4 from maps, all from crops, paper and modern; beside each the same step on
       frames that are there already. Goals: ≤ 5 % of a step spent waiting; 8 × 35 frames of 224 in 8 GB.
worth  WAR and UAR on people who were not learnt from, and the minutes that they took. Goal: all > layer4 > frozen by a clear margin.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from _machine import machine

from est.demo import RenderSpec, render_set
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.extract.inputs import find_inputs
from est.extract.weights import load_weights, save_weights
from est.train import TrainConfig, evaluate, fit
from est.train.configfile import resolve

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
from est.cache import open_cache
from est.train import Watch
from est.train.configfile import resolve
from est.train.fitting import prepare
from est.train.loop import Trainer, reproducible
from est.train.models import build_model
from est.train.start import build
from est.train.watch import Part
from est.train.world import ALONE
from est.extract.device import parse_device
path, precision, device, steps, *settings = sys.argv[1:]
device = parse_device(device)
config = resolve(settings=[*settings, "protocol.kind=holdout", "control=false", f"loop.precision={precision}"])
ready = prepare(open_cache(path), config, device, Watch(), ALONE)
fold = ready.plan.folds[0]
est = build_model(config.model, width=ready.data.clips.width, num_classes=len(ready.data.labels), seed=1)
model = build(ready.start, est, config, Part(name="one", fold=fold.name, seed=1, index=0, total=1)).to(device)
trainer = Trainer(model, ready.data.clips, train=ready.data.place[ready.data.learnt(fold.train)], target=ready.data.target,
    config=config, precision=ready.precision, seed=1)
def synchronise():
    if device.type == "cuda":
        torch.cuda.synchronize(device)
def take(count, first=0):
    trainer.model.train()
    plan = trainer.planner.draw(0)
    order = [step % trainer.num_steps for step in range(first, first + count)]
    if not bare:
        trainer.clips.expect((plan.index[step], None if plan.look is None else plan.look[step]) for step in order)
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
    held = trainer.clips.take(plan.index[0], None if plan.look is None else plan.look[0])
    object.__setattr__(trainer.clips, "take", lambda index, look=None: held)
    bare = True
    alone = take(int(steps))
peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(json.dumps({"step": statistics.median(whole), "bare": statistics.median(alone), "waited": waited / sum(whole), "gb": peak,
    "batch": config.loop.batch}))
"""


def rendered(folder: Path, *, subjects: int, size: int, weights: str, seed: int = 5) -> Path:
    """Render people and extract them, with crops and maps."""
    videos, out = folder / f"videos{subjects}-{seed}", folder / f"cache{subjects}-{size}.zarr"
    if not videos.exists():
        render_set(RenderSpec(subjects=subjects, clips_per_subject=7, seed=seed), videos)
    if not out.exists():
        config = ExtractConfig(weights=weights, size=size, crops=True, features=("gap", "layer3"))
        extract_videos(find_inputs([videos]), out, config)
    return out


def measure_steps(folder: Path, size: int, device: str, steps: int) -> None:
    """Print the table of steps."""
    cache = rendered(folder, subjects=3, size=size, weights="synface")
    print(f"\nbatch 8 × 35 frames of {size} × {size}, {device}")
    print(f"{'':<40} precision   step ms   bare ms   waiting   GB")
    for precision in ("fp32", "bf16"):
        for name, settings in STEPS.items():
            call = [sys.executable, "-c", ONE, str(cache), precision, device, str(steps), *settings]
            done = subprocess.run(call, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            found = json.loads(done.stdout.splitlines()[-1])
            times = f"{1000 * found['step']:9.0f} {1000 * found['bare']:9.0f}"
            print(f"{name:<40} {precision:<9} {times} {found['waited']:9.1%} {found['gb']:5.2f}", flush=True)


def weaken(path: Path, *, share: float = 0.6, layers: tuple[str, ...] = ("layer2", "layer3", "layer4")) -> Path:
    """Write synface with noise in its later stages: features that still tell something, and could tell more."""
    found = load_weights("synface")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in found.backbone.named_parameters():
            if name.startswith(layers) and weight.ndim == 4:
                weight += share * weight.std() * torch.randn(weight.shape, generator=generator)
    save_weights(path, found.backbone, normalize=found.backbone.normalization.name, trained_on=None)
    return path


def measure_worth(folder: Path, size: int, epochs: int, share: float) -> None:
    """Print what fine-tuning is worth."""
    weights = weaken(folder / "weak.safetensors", share=share)
    start = time.monotonic()
    cache = rendered(folder, subjects=12, size=size, weights=str(weights))
    minutes = (time.monotonic() - start) / 60
    print(
        f"12 people × 7 clips, rendered and extracted at {size} × {size} in {minutes:.1f} min; folds 1 and 2 of 4, by subject"
    )
    common = ["protocol.kind=kfold", "protocol.folds=4", 'protocol.only=["fold1", "fold2"]']
    common += ["model.position=snippet", "loop.precision=auto"]
    plain = [f"finetune.{name}=0" for name in ("shift", "zoom", "brightness")]  # maps stay as they are
    frozen = folder / f"run-frozen-{time.monotonic_ns()}"
    tuned = [f"loop.epochs={epochs}", "loop.learning_rate=1e-4", "loop.warmup=1", "loop.average=0.9", "eval_every=0"]
    tuned += ["finetune.rate=1.0", f'finetune.weights="{weights}"', f'finetune.init="{frozen}"']
    ways: dict[str, tuple[str, list[str]]] = {
        "frozen": ("fast", ["loop.epochs=30", "loop.batch=8", "eval_every=0", "data.scaling=true"]),
        "layer4": ("modern", [*tuned, *plain, "finetune.learns=layer4", "data.mirrored=false"]),
        "all": ("modern", [*tuned, "finetune.learns=all"]),
    }
    print(f"{'':<8} {'WAR':>8} {'UAR':>8}   clips right   control   minutes")
    for name, (preset, settings) in ways.items():
        config: TrainConfig = resolve(preset, settings=[*common, *settings])
        begun = time.monotonic()
        found = fit(cache, frozen if name == "frozen" else folder / f"run-{name}-{time.monotonic_ns()}", config)
        minutes = (time.monotonic() - begun) / 60
        again = evaluate(found.run)
        assert again.scores.right == found.scores.right
        scores, control = found.scores, found.control
        told = f"{scores.war:8.1%} {scores.uar:8.1%}   {scores.right:>4} of {scores.total:<4}"
        print(f"{name:<8} {told} {control.war if control else 0:9.1%} {minutes:9.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=["step", "worth"], default=["step"])
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=8, help="of fine-tuning, for what it is worth")
    parser.add_argument("--share", type=float, default=0.6, help="of noise in the weakened weights")
    parser.add_argument("--folder", type=Path, help="keeps what was rendered and extracted")
    arguments = parser.parse_args()
    print(machine("torch", "torchvision"))
    with tempfile.TemporaryDirectory(prefix="est-finetune-") as made:
        folder = arguments.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        if "step" in arguments.parts:
            measure_steps(folder, arguments.size, arguments.device, arguments.steps)
        if "worth" in arguments.parts:
            measure_worth(folder, arguments.size, arguments.epochs, arguments.share)


if __name__ == "__main__":
    main()
