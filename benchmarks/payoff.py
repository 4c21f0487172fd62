"""What a cache saves a sweep: 30 honest trials, extraction included, beside 30 that train end to end at equal precision.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/payoff.py     # some three minutes

Goal: at least 20 × less time for 30 trials. And from how many trials on does the cache pay?

Measured, as processor time on one thread in fp32, in turns: extraction with crops (decoding, detection, crops, features), a training
step of two clips whose backbone learns from crops (frozen batch norms and no detection: the cheapest end-to-end training there is), and
steps of the preset `small` and of the paper's EST on the cache, one training at a time. Computed from these: whole sweeps of the demo's
dynamics and of a set of DFEW's size, divided as `est sweep` divides them. Neither sweep is run. Sums favour end-to-end training: it
predicts the inner validation clips once, at the end of a training, and training on the cache after each epoch.
"""

from __future__ import annotations

import argparse
import math
import resource
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from _machine import machine
from cache_io import MEAN_FRAMES, NUM_CLIPS

from est.demo import RenderSpec, render_set
from est.demo.renderset import MANIFEST
from est.demo.spec import plan_set
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs
from est.train import TrainConfig, build_model, prepare
from est.train.config.configfile import resolve
from est.train.data.snippets import SnippetSampler
from est.train.loop.predict import predict_rows
from est.train.loop.starts.initial_weights import build
from est.train.loop.trainer import Trainer, reproducible
from est.train.loop.watch import Part

TRIALS, GOAL = 30, 20
DYNAMICS = RenderSpec(subjects=12, clips_per_subject=6, seed=0, dynamics=True, difficulty=0.3, size=(360, 360), fps=15)
PEOPLE = 3  # that are rendered for measuring
MODELS = {"small": "small", "paper": "official"}  # presets
TITLES = {"small": "preset `small`", "paper": "the paper's EST"}
SETTINGS = {
    "device": "cpu",
    "loop.precision": "fp32",
    "loop.threads": 1,
    "loop.stack": "off",
    "control": False,
    "protocol.kind": "holdout",
    "protocol.test_share": 0.3,
}
LEARNING = {"finetune.learns": "all", "finetune.source": "crops", "finetune.batch_norm": "frozen", "loop.batch": 2}
STEPS = {"small": 20, "paper": 5, "end to end": 1}  # taken in a round


@dataclass(frozen=True, kw_only=True)
class SetOfClips:
    """A set that is swept: its clips, and how `est sweep` divides them."""

    name: str
    lengths: np.ndarray  # frames of its clips
    folds: int
    inner: int  # inner folds of a trial
    val_share: float = 0.15  # of a training half, where there is one inner part

    @property
    def learnt(self) -> int:
        """Return the clips that a training learns from."""
        return round(self._half * (1 - self._val))

    @property
    def validated(self) -> int:
        """Return the clips of an inner validation part."""
        return round(self._half * self._val)

    @property
    def trainings(self) -> int:
        """Return the trainings of one trial in every outer fold."""
        return self.folds * self.inner

    def looked_at(self, config: TrainConfig) -> float:
        """Return how many different frames a training view of a clip shows on average."""
        sampler = SnippetSampler(config.sampling, config.model.snippets, config.model.frames)
        generator = torch.Generator().manual_seed(0)
        views = sampler.train(torch.from_numpy(self.lengths), generator).flatten(1)
        return float(np.mean([len(view.unique()) for view in views]))

    @property
    def _half(self) -> float:
        return len(self.lengths) * (1 - 1 / self.folds)

    @property
    def _val(self) -> float:
        return 1 / self.inner if self.inner > 1 else self.val_share


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Measured seconds."""

    read: float  # decode and crop, of a frame
    detect: float  # of a frame, where every third one is searched
    encode: float  # of a frame
    start: float  # of an extraction, before its first frame
    learn: float  # of a frame in a step whose backbone learns
    look: float  # of a frame in a prediction by such a model
    step: dict[str, float]  # of 8 clips on the cache
    predict: dict[str, float]  # of a clip on the cache


@dataclass(frozen=True, kw_only=True)
class Payoff:
    """Seconds of a sweep of one model over one set."""

    extraction: float
    cached: float  # of a trial in every outer fold
    end_to_end: float  # of the same
    epoch: float  # of one training, end to end
    searched: float  # what decoding and detection in each epoch would add to a trial

    def ratio(self, trials: int) -> float:
        """Return how many times longer trials take end to end."""
        return trials * self.end_to_end / (self.extraction + trials * self.cached)

    @property
    def pays_from(self) -> float:
        """Return the number of trials whose time is the same both ways."""
        return self.extraction / (self.end_to_end - self.cached)


class Extraction:
    """An extraction with crops: its frames, and the processor time of all its processes."""

    def __init__(self, cache: Path, videos: list[Path]) -> None:
        how = ExtractConfig(weights="synface", crops=True, precision="fp32", device="cpu", workers=1)
        start = self._now()
        self.report = extract_videos(find_inputs(videos), cache, how)
        self.seconds = self._now() - start
        self.frames = self.report.frames
        assert not self.report.failures, self.report.failures

    def share(self, *stages: str) -> float:
        """Return the share of the time that stages took."""
        found = self.report.stages
        return sum(found[name] for name in stages) / sum(found.values())

    @staticmethod
    def _now() -> float:
        found = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in found)


class Steps:
    """The steps of one training, taken one by one."""

    def __init__(self, cache: Path, config: TrainConfig) -> None:
        self.ready = prepare(cache, config)
        data, fold = self.ready.data, self.ready.plan.folds[0]
        part = Part(name=fold.name, fold=fold.name, seed=1, index=0, total=1)
        head = build_model(config.model, width=data.clips.width, num_classes=len(data.labels), seed=1)
        self.trainer = Trainer(
            build(self.ready.start, head, config, part),
            data.clips,
            train=data.place[data.learnt(fold.train)],
            target=data.target,
            config=config,
            precision="fp32",
            seed=1,
        )
        self.rows = fold.test
        self.epoch, self.at = -1, self.trainer.num_steps
        self.frames = 0  # different ones in the latest step

    def take(self) -> float:
        """Take a step; return its seconds, with its share of planning the epoch."""
        planning = 0.0
        if self.at >= self.trainer.num_steps:
            self.at, self.epoch = 0, self.epoch + 1
            start = time.process_time()
            self.plan = self.trainer.begin_epoch(self.epoch)
            planning = (time.process_time() - start) / self.trainer.num_steps
        start = time.process_time()
        self.trainer.step(self.plan, self.at, self.epoch)
        seconds = time.process_time() - start
        self.frames = self.plan.index[self.at].unique().numel()
        self.at += 1
        return seconds + planning

    def predict(self, clips: int) -> float:
        """Predict clips; return the seconds of one."""
        rows = self.rows[:clips]
        start = time.process_time()
        predict_rows(self.trainer.scored, self.ready.data, rows, self.trainer.planner.sampler)
        return (time.process_time() - start) / len(rows)


def measure(folder: Path, rounds: int) -> Costs:
    """Measure what everything costs, in turns."""
    rendered = render_set(replace(DYNAMICS, subjects=PEOPLE), folder / "videos")
    Extraction(
        folder / "first.zarr", [folder / "videos" / rendered[0].path]
    )  # imports, and networks that are built once
    whole = Extraction(folder / "cache.zarr", [folder / "videos" / MANIFEST])
    kinds = {
        "small": Steps(folder / "cache.zarr", config_of("small")),
        "paper": Steps(folder / "cache.zarr", config_of("official")),
        "end to end": Steps(folder / "cache.zarr", config_of("small", **LEARNING)),
    }
    for steps in kinds.values():
        steps.take()
    times: dict[str, list[float]] = {name: [] for name in kinds}
    predictions: dict[str, list[float]] = {name: [] for name in kinds}
    again = []
    for number in range(rounds):
        again.append(Extraction(folder / f"again{number}.zarr", [folder / "videos" / rendered[number].path]))
        for name, steps in kinds.items():
            for _ in range(STEPS[name]):
                seconds = steps.take()
                times[name].append(seconds / steps.frames if name == "end to end" else seconds)
            predictions[name].append(steps.predict(2 if name == "end to end" else len(steps.rows)))
    # What is paid once, and a frame: from an extraction of all videos and those of one.
    one, frames = (statistics.median(getattr(found, name) for found in again) for name in ("seconds", "frames"))
    frame = (whole.seconds - one) / (whole.frames - frames)
    middle = {name: statistics.median(found) for name, found in times.items()}
    predict = {name: statistics.median(found) for name, found in predictions.items()}
    return Costs(
        read=frame * whole.share("decode", "crop"),
        detect=frame * whole.share("detect"),
        encode=frame * whole.share("encode"),
        start=max(0.0, one - frames * frame),
        learn=middle.pop("end to end"),
        look=predict.pop("end to end") / (kinds["end to end"].frames / LEARNING["loop.batch"]),
        step=middle,
        predict=predict,
    )


def payoff(clips: SetOfClips, costs: Costs, name: str) -> Payoff:
    """Compute a sweep from what its pieces cost."""
    config = config_of(MODELS[name])
    epochs, steps = config.loop.epochs, clips.learnt // config.loop.batch
    frames = clips.looked_at(config)
    head = steps * costs.step[name]  # the same both ways
    cached = epochs * (head + clips.validated * costs.predict[name])
    epoch = head + steps * config.loop.batch * frames * costs.learn
    learnt = epochs * epoch + clips.validated * frames * costs.look
    return Payoff(
        extraction=costs.start + clips.lengths.sum() * (costs.read + costs.detect + costs.encode),
        cached=clips.trainings * cached,
        end_to_end=clips.trainings * learnt,
        epoch=epoch,
        searched=clips.trainings * epochs * steps * config.loop.batch * frames * (costs.read + costs.detect),
    )


def sets() -> list[SetOfClips]:
    """Return the sets whose sweeps are computed."""
    dynamics = np.array([plan.num_frames for plan in plan_set(DYNAMICS)])
    lengths = np.clip(np.random.default_rng(1).gamma(4, MEAN_FRAMES / 4, NUM_CLIPS).astype(np.int64), 5, 400)
    return [
        SetOfClips(name="the demo's dynamics", lengths=dynamics, folds=4, inner=3),
        SetOfClips(name="DFEW's size", lengths=lengths, folds=5, inner=1),
    ]


def config_of(preset: str, **changes: object) -> TrainConfig:
    """Return the configuration of a training that is timed."""
    return resolve(preset, options={**SETTINGS, **changes})


def spell(seconds: float) -> str:
    """Write a time in the largest unit of which it has at least two."""
    units = {"years": 365.25 * 86400, "days": 86400, "h": 3600, "min": 60, "s": 1}
    unit = next((name for name, size in units.items() if seconds >= 2 * size), "s")
    return f"{seconds / units[unit]:,.0f} {unit}" if seconds >= 10 else f"{seconds:.2g} s"


def print_costs(costs: Costs) -> None:
    """Print what was measured."""
    print("\n| measured | ms |\n|---|---|")
    print(f"| extraction, a frame: decode and crop | {1000 * costs.read:.1f} |")
    print(f"| detect, every third frame | {1000 * costs.detect:.1f} |")
    print(f"| encode | {1000 * costs.encode:.1f} |")
    print(f"| a frame in a step whose backbone learns | {1000 * costs.learn:.0f} |")
    print(f"| a step of 8 clips on the cache, preset `small` | {1000 * costs.step['small']:.1f} |")
    print(f"| the same, the paper's EST | {1000 * costs.step['paper']:.0f} |")


def print_sweeps(costs: Costs) -> None:
    """Print what sweeps cost both ways."""
    print(
        f"\n| set, model | extraction | {TRIALS} trials on the cache | end to end | end to end is | pays from | "
        "detection in each epoch adds |\n|---|---|---|---|---|---|---|"
    )
    for clips in sets():
        for name in MODELS:
            found = payoff(clips, costs, name)
            epochs = found.extraction / found.epoch
            cells = [
                f"{clips.name}, {TITLES[name]}",
                spell(found.extraction),
                spell(TRIALS * found.cached),
                spell(TRIALS * found.end_to_end),
                f"{found.ratio(TRIALS):,.0f} ×",
                f"trial {max(1, math.ceil(found.pays_from))}, epoch {math.ceil(epochs)} of its first training",
                f"{100 * found.searched / found.end_to_end:.0f} %",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)
    print()
    for clips in sets():
        words = (
            f"{len(clips.lengths):,} clips, {clips.lengths.sum():,} frames; {clips.folds} folds × {clips.inner} inner"
        )
        looked = clips.looked_at(config_of("small"))
        print(
            f"{clips.name}: {words}; {clips.learnt:,} learnt from, {clips.validated:,} validated, {looked:.1f} frames a clip"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    start = time.monotonic()
    print(f"{machine('torch', 'torchvision')}, processor time on one thread, fp32")
    folder = Path(tempfile.mkdtemp(prefix="est-payoff-"))
    try:
        with reproducible(torch.device("cpu"), 1):
            costs = measure(folder, arguments.rounds)
    finally:
        shutil.rmtree(folder)
    print_costs(costs)
    print_sweeps(costs)
    worst = min(payoff(clips, costs, name).ratio(TRIALS) for clips in sets() for name in MODELS)
    print(
        f"\ngoal {GOAL} ×: {'reached' if worst >= GOAL else 'MISSED'}, at least {worst:,.0f} ×; {time.monotonic() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
