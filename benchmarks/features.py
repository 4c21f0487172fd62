"""What better features are worth: frozen, tuned, tuned and cross-fitted, with views, and the backbone trained with EST.

    python benchmarks/features.py                           # five seeds on rendered faces; an hour and more on two cores
    python benchmarks/features.py --seeds 1 --subjects 8    # minutes: whether it runs

Rendered people, seven clips each; training and test share no subject, and each seed divides them anew. The encoder starts as a weakened
`synface`: layer4 drawn anew, noise in layer2 and layer3, batch norms fitted to these pictures. Scores are
pooled over the seeds. Seconds are those of a seed: tuning, re-caching and training; extraction, which all need once, stands in a line
of its own. Goals: cached variants close ≥ 60 % of the gap between frozen and end to end in ≤ 10 % of the time; frozen < layer4 < end to
end.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as est extract does, before torch is imported

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from _machine import machine
from torch import nn

from est.cache import Cache, open_cache
from est.crops.jpeg import decode_crop
from est.demo import RenderSpec, render_set
from est.encoders.weights import load_weights, save_weights
from est.extract.arrayplan import ArrayPlan
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.extract.recaching import recache
from est.inputs.input import find_inputs
from est.train import ProtocolConfig, TrainConfig, fit
from est.train.config.configfile import resolve
from est.train.results.results import Results
from est.tune import TuneConfig, tune_folds
from est.tune.model import FrameClassifier

HALVES = ProtocolConfig(kind="holdout", test_share=0.25)
COMMON = [
    "protocol.kind=holdout",
    "protocol.test_share=0.25",
    "model.position=snippet",
    "data.scaling=true",
    "eval_every=0",
]
# From features that are weak, head and backbone learn together: batch norms keep the features where the head reads them.
LEARNING = [
    "loop.learning_rate=1e-4",
    "finetune.rate=1.0",
    "finetune.head_first=0",
    "finetune.batch_norm=train",
    "control=false",
]
PLAIN = ["finetune.shift=0", "finetune.zoom=0", "finetune.brightness=0"]  # maps stay as they are
ANEW, NOISY = "layer4", ("layer2", "layer3")


@dataclass
class Outcome:
    """What one way came to, over the seeds."""

    right: int = 0
    total: int = 0
    uar: list[float] = field(default_factory=list)
    control: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, found: Results, seconds: float) -> None:
        self.right, self.total = self.right + found.scores.right, self.total + found.scores.total
        self.uar.append(found.scores.uar)
        self.control += found.control.right if found.control else 0
        self.seconds.append(seconds)

    @property
    def war(self) -> float:
        return self.right / self.total


class Seed:
    """One division into halves, and all ways on it."""

    def __init__(self, cache: Path, weights: Path, folder: Path, seed: int, arguments: argparse.Namespace) -> None:
        self.cache, self.weights, self.folder, self.seed, self.arguments = cache, weights, folder, seed, arguments
        self.tune = TuneConfig(weights=str(weights), epochs=arguments.tune_epochs, seed=seed, select="last")

    def train(self, name: str, cache: Path, preset: str, settings: list[str]) -> Results:
        config: TrainConfig = resolve(preset, settings=[*COMMON, f"seeds=[{self.seed}]", *settings])
        return fit(cache, self.folder / f"run-{name}", config)

    def frozen(self) -> Results:
        return self.train("frozen", self.cache, "fast", self._cached)

    def on_tuned(self, name: str, parts: int, views: int) -> Results:
        """Tune what is not tuned yet, make the rows, and learn from them."""
        source, out = open_cache(self.cache), self.folder / f"{name}.zarr"
        encoders = self.folder / "encoders"
        arrays = tune_folds(source, out, self.tune, protocol=HALVES, parts=parts, encoders=encoders)
        recache(source, out, arrays, ExtractConfig(size=self.arguments.size), views=views)
        looks = ["data.views=true"] if views else []
        return self.train(name, out, "fast", [*self._cached, *looks])

    @property
    def _cached(self) -> list[str]:
        return [f"loop.epochs={self.arguments.epochs}", "loop.batch=8"]

    def layer4(self) -> Results:
        return self.train("layer4", self.cache, "modern", [*self._learning, "finetune.learns=layer4", *PLAIN])

    def end_to_end(self) -> Results:
        return self.train("end", self.cache, "modern", [*self._learning, "finetune.learns=all"])

    @property
    def _learning(self) -> list[str]:
        return [*LEARNING, f'finetune.weights="{self.weights}"', f"loop.epochs={self.arguments.end_epochs}"]


def spoil(path: Path, faces: Cache) -> None:
    """Write synface with its last stage drawn anew and noise in those before it; batch norms take the statistics of some faces."""
    found = load_weights("synface")
    network, generator = found.backbone, torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim == 4 and name.startswith(ANEW):
                nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu", generator=generator)
            elif name.startswith(ANEW):
                weight.fill_(1.0 if name.endswith("weight") else 0.0)  # of a batch norm
            elif weight.ndim == 4 and name.startswith(NOISY):
                weight += weight.std() * torch.randn(weight.shape, generator=generator)
        looking = FrameClassifier(network, 1, batch_norm="train", seed=0)
        with looking.gathering_statistics():
            for pictures in some_faces(faces).split(64):
                looking.features(pictures)
    save_weights(path, network.eval(), normalize=network.normalization.name, trained_on=None)


def some_faces(cache: Cache, clips: int = 64, frames: int = 8) -> torch.Tensor:
    """Return crops from all over a cache.  # (N, S, S, 3) uint8"""
    rng, found = np.random.default_rng(0), []
    for clip in rng.permutation(len(cache))[:clips].tolist():
        crops = [data for data in cache.crops(clip) if data]
        found += [decode_crop(crops[at]) for at in rng.choice(len(crops), min(frames, len(crops)), replace=False)]
    return torch.from_numpy(np.stack(found))


def prepare(arguments: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """Render people, extract them once, and make the features of the start; what is there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    videos, faces, cache, weights = (
        folder / name for name in ("videos", "faces.zarr", "cache.zarr", "spoilt.safetensors")
    )
    if not videos.exists():
        people = RenderSpec(subjects=arguments.subjects, clips_per_subject=7, seed=11, difficulty=arguments.difficulty)
        render_set(people, videos)
    how = ExtractConfig(weights="synface", size=arguments.size, crops=True)
    begun = time.monotonic()
    extract_videos(find_inputs([videos]), faces, how)
    print(
        f"{arguments.subjects} people × 7 clips of difficulty {arguments.difficulty:g} at {arguments.size} × {arguments.size}; "
        f"extracted once, with crops, in {time.monotonic() - begun:.0f} s",
        flush=True,
    )
    if not weights.exists():
        spoil(weights, open_cache(faces))
    start = load_weights(str(weights))
    arrays = [ArrayPlan(name=tap, tap=tap, weights=start) for tap in ("gap", "layer3")]
    recache(faces, cache, arrays, replace(how, flip=True), crops=True)
    return cache, weights


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Print the table."""
    cache, weights = prepare(arguments, folder)
    parts, views = arguments.parts, arguments.views
    crossed = f"tuned, {parts} parts"
    ways: dict[str, Callable[[Seed], Results]] = {
        "frozen": Seed.frozen,
        "tuned": lambda seed: seed.on_tuned("tuned", 0, 0),
        crossed: lambda seed: seed.on_tuned("crossed", parts, 0),
        f"{crossed}, {views} views": lambda seed: seed.on_tuned("views", parts, views),
        "layer4 with EST": Seed.layer4,
        "end to end": Seed.end_to_end,
    }
    # What a way finds done already, and would have had to do alone.
    found_done = {crossed: ("tuned",), f"{crossed}, {views} views": ("tuned", crossed)}
    outcomes = {name: Outcome() for name in ways}
    for number in range(1, arguments.seeds + 1):
        here = folder / f"seed{number}"
        here.mkdir(exist_ok=True)
        seed = Seed(cache, weights, here, number, arguments)
        spent: dict[str, float] = {}
        for name, way in ways.items():
            begun = time.monotonic()
            result = way(seed)
            spent[name] = time.monotonic() - begun
            shared = sum(spent[other] for other in found_done.get(name, ()))
            outcomes[name].add(result, spent[name] + shared)
            told = outcomes[name]
            print(
                f"  seed {number}: {name}: {result.scores.right} of {result.scores.total}, {told.seconds[-1]:.0f} s",
                flush=True,
            )
    low, high = outcomes["frozen"].war, outcomes["end to end"].war
    whole = statistics.mean(outcomes["end to end"].seconds)
    print(
        f"\n{'':<26} {'WAR':>7} {'UAR':>7} {'right':>12} {'control':>8} {'seconds':>8} {'of end to end':>14} {'gap closed':>11}"
    )
    for name, told in outcomes.items():
        seconds = statistics.mean(told.seconds)
        closed = f"{(told.war - low) / (high - low):11.0%}" if high > low else f"{'no gap':>11}"
        control = f"{told.control / told.total:8.1%}" if told.control else f"{'':>8}"
        uar = statistics.mean(told.uar)
        right = f"{told.right} of {told.total}"
        print(
            f"{name:<26} {told.war:7.1%} {uar:7.1%} {right:>12} {control} {seconds:8.0f} {seconds / whole:14.0%} {closed}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=16)
    parser.add_argument("--difficulty", type=float, default=0.4, help="of the rendered videos; 0 is posed")
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--parts", type=int, default=3, help="of cross-fitting")
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=30, help="of training on cached features")
    parser.add_argument("--tune-epochs", type=int, default=8)
    parser.add_argument("--end-epochs", type=int, default=20, help="of training layer4, and end to end")
    parser.add_argument("--folder", type=Path, help="keeps what was made")
    arguments = parser.parse_args()
    print(machine("torch", "torchvision"))
    with tempfile.TemporaryDirectory(prefix="est-features-") as made:
        measure(arguments, arguments.folder or Path(made))


if __name__ == "__main__":
    main()
