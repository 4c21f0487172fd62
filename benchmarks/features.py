"""What better features are worth: frozen, tuned, tuned and cross-fitted, with views, and the backbone trained end to end.

    python benchmarks/features.py                           # five seeds on rendered faces; half an hour on two cores
    python benchmarks/features.py --seeds 1 --subjects 8    # minutes: whether it runs

Rendered people, seven clips each, halves that share nobody (a seed deals its own). The start is `synface` with noise in layer2 to
layer4: features that still tell something, and could tell more. Scores are pooled over the seeds. Seconds are those of a seed: tuning,
re-caching and training; extraction, which all need once, stands in a line of its own. Goal: cached variants close ≥ 60 % of the gap
between frozen and end to end in ≤ 10 % of the time.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as est extract does, before torch is imported

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from _machine import machine
from finetune import weaken

from est.cache import open_cache
from est.demo import RenderSpec, render_set
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.extract.inputs import find_inputs
from est.extract.recaching import recache
from est.train import ProtocolConfig, TrainConfig, Watch, fit
from est.train.configfile import resolve
from est.train.results import Results
from est.tune import TuneConfig, tune_folds

HALVES = ProtocolConfig(kind="holdout", test_share=0.25)
COMMON = [
    "protocol.kind=holdout",
    "protocol.test_share=0.25",
    "model.position=snippet",
    "data.scaling=true",
    "eval_every=0",
]


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
    """One deal of the halves, and all ways on it."""

    def __init__(self, cache: Path, weights: Path, folder: Path, seed: int, arguments: argparse.Namespace) -> None:
        self.cache, self.weights, self.folder, self.seed, self.arguments = cache, weights, folder, seed, arguments
        self.tune = TuneConfig(weights=str(weights), epochs=arguments.tune_epochs, seed=seed, select="last")

    def train(self, name: str, cache: Path, preset: str, settings: list[str]) -> Results:
        config: TrainConfig = resolve(preset, settings=[*COMMON, f"seeds=[{self.seed}]", *settings])
        return fit(cache, self.folder / f"run-{name}", config)

    def frozen(self) -> Results:
        return self.train("frozen", self.cache, "fast", [f"loop.epochs={self.arguments.epochs}"])

    def on_tuned(self, name: str, parts: int, views: int) -> Results:
        """Tune what is not tuned yet, make the rows, and learn from them."""
        source, out = open_cache(self.cache), self.folder / f"{name}.zarr"
        encoders = self.folder / "encoders"
        arrays = tune_folds(source, out, self.tune, protocol=HALVES, parts=parts, encoders=encoders, watch=Watch())
        recache(source, out, arrays, ExtractConfig(size=self.arguments.size), views=views)
        looks = ["data.views=true"] if views else []
        return self.train(name, out, "fast", [f"loop.epochs={self.arguments.epochs}", *looks])

    def end_to_end(self) -> Results:
        start = [f'finetune.weights="{self.weights}"', f'finetune.init="{self.folder / "run-frozen"}"']
        how = [
            f"loop.epochs={self.arguments.end_epochs}",
            "loop.learning_rate=1e-4",
            "loop.average=0.9",
            "finetune.rate=0.1",
        ]
        return self.train("end", self.cache, "modern", ["finetune.learns=all", *start, *how, "control=false"])


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "weak.safetensors"
    if not weights.exists():
        weaken(weights, share=arguments.share)
    videos, cache = folder / "videos", folder / "cache.zarr"
    if not videos.exists():
        render_set(
            RenderSpec(subjects=arguments.subjects, clips_per_subject=7, seed=11, difficulty=arguments.difficulty),
            videos,
        )
    begun = time.monotonic()
    extract_videos(find_inputs([videos]), cache, ExtractConfig(weights=str(weights), size=arguments.size, crops=True))
    print(
        f"{arguments.subjects} people × 7 clips of difficulty {arguments.difficulty:g} at {arguments.size} × {arguments.size}, "
        f"noise {arguments.share:g}; "
        f"extracted once, with crops, in {time.monotonic() - begun:.0f} s"
    )
    parts, views = arguments.parts, arguments.views
    crossed = f"tuned, {parts} parts"
    ways: dict[str, Callable[[Seed], Results]] = {
        "frozen": Seed.frozen,
        "tuned": lambda seed: seed.on_tuned("tuned", 0, 0),
        crossed: lambda seed: seed.on_tuned("crossed", parts, 0),
        f"{crossed}, {views} views": lambda seed: seed.on_tuned("views", parts, views),
        "end to end": Seed.end_to_end,
    }
    # What a way finds done already, and would have had to do alone.
    found_done = {crossed: ("tuned",), f"{crossed}, {views} views": ("tuned", crossed), "end to end": ("frozen",)}
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
    parser.add_argument("--difficulty", type=float, default=0.0, help="of the rendered videos; 0 is posed")
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--parts", type=int, default=3, help="of cross-fitting")
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=20, help="of training on cached features")
    parser.add_argument("--tune-epochs", type=int, default=8)
    parser.add_argument("--end-epochs", type=int, default=8, help="of training end to end")
    parser.add_argument("--share", type=float, default=0.6, help="of noise in the weakened weights")
    parser.add_argument("--folder", type=Path, help="keeps what was made")
    arguments = parser.parse_args()
    print(machine("torch", "torchvision"))
    with tempfile.TemporaryDirectory(prefix="est-features-") as made:
        measure(arguments, arguments.folder or Path(made))


if __name__ == "__main__":
    main()
