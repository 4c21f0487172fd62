"""How much of the gap between frozen features and end-to-end training tuned features close, and in how much of the time.

    python benchmarks/features.py --folder work              # ten seeds from weak weights, three from whole ones; the same command resumes
    python benchmarks/features.py --seeds 1 --whole-seeds 0 --people 8 --end-epochs 2    # minutes: whether it runs

Every seed is a set of other rendered people, seven clips each: some are learnt from, the others tested. All ways are tested on the same
clips by EST:

frozen        cached features of the start; from these and from tuned ones EST of the preset `small` learns with mixup
tuned         `est recache --tune --cross-fit 0 --epochs 6 --select last`, from weak weights with `--encoder-rate 1`: the encoder learns on
              single frames, and EST on what it then sees
end to end    `est train --finetune all`: encoder and EST of full size learn together from crops
--also        crossed: tuned in three parts; views: the same with two views of each clip; layer4: `--finetune layer4`, from maps

The weak start is `synface` weakened on purpose: random layer4, noise in layer2 and layer3, batch norms fitted to these pictures.
There the gap is wide enough to be measured. The whole start is `synface` as it ships, which was trained on faces of this renderer: there
may be no gap, and then no share of it.

Seconds are those of a seed: tuning, re-caching and training with its control; extraction, which all need once, is not counted. Intervals of
WAR are those of `est evaluate`, over people. Those of the share of the gap come from a paired bootstrap, over seeds and over the people in
each; those of the share of time from one over seeds. CPU seconds are shown too: other work on the machine changes them less. Goal: at least
80 % of the gap in at most 15 % of the time.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as est extract does, before torch is imported

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from est.extract.report import Report
from est.inputs.input import find_inputs
from est.train import ProtocolConfig, TrainConfig, fit
from est.train.config.configfile import resolve
from est.train.results.intervals import score_intervals
from est.train.results.results import Results, read_predictions
from est.tune import TuneConfig, tune_folds
from est.tune.model import FrameClassifier

FROZEN, TUNED, END = "frozen", "tuned", "end to end"
CROSSED, VIEWS, LAYER4 = "crossed", "views", "layer4"
PARTS, NUM_VIEWS = 3, 2
WEAK, WHOLE = "weak", "whole"
CLIPS = 7  # of a person
FIRST_SEED = 2001  # of the renderer; the settings of tuning were chosen on 501
COMMON = ["protocol.kind=holdout", "model.position=snippet", "data.scaling=true", "eval_every=0"]
# From features that are weak, head and backbone learn together: batch norms keep the features where the head reads them.
LEARNING = [
    "loop.learning_rate=1e-4",
    "finetune.rate=1.0",
    "finetune.head_first=0",
    "finetune.batch_norm=train",
    "control=false",
]
PLAIN = ["finetune.shift=0", "finetune.zoom=0", "finetune.brightness=0"]  # maps stay as they are
RANDOM, NOISY = ("layer4",), ("layer2", "layer3")
DRAWS = 10_000  # of the bootstrap
GOAL = (0.8, 0.15)


class Seed:
    """One set of people, and all ways from one start on it."""

    def __init__(self, folder: Path, start: str, number: int, arguments: argparse.Namespace) -> None:
        self.folder, self.start, self.arguments = folder / start, start, arguments
        self.number, self.people = number, folder / "people"
        self.weights = str(self.people / "weak.safetensors") if start == WEAK else "synface"
        self.faces, self.cache = self.people / "faces.zarr", self.folder / "cache.zarr"
        self.share = arguments.tested / arguments.people
        rate = 1.0 if start == WEAK else TuneConfig.rate  # as end to end has it
        self.tune = TuneConfig(
            weights=self.weights, epochs=arguments.tune_epochs, rate=rate, seed=number, select="last"
        )

    def prepare(self) -> None:
        """Render people, extract them once, and make the features of the start; what is there stays."""
        videos = self.people / "videos"
        how = ExtractConfig(weights="synface", size=self.arguments.size, crops=True)
        extracted = self.people / "extracted"
        if not extracted.exists():
            shutil.rmtree(self.people, ignore_errors=True)
            spec = RenderSpec(
                subjects=self.arguments.people,
                clips_per_subject=CLIPS,
                seed=self.number,
                difficulty=self.arguments.difficulty,
            )
            render_set(spec, videos)
            expect_whole(extract_videos(find_inputs([videos]), self.faces, how))
            spoil(self.people / "weak.safetensors", open_cache(self.faces))
            shutil.rmtree(videos)
            extracted.touch()
        self.folder.mkdir(exist_ok=True)
        start = load_weights(self.weights)
        taps = ("gap", "layer3") if LAYER4 in self.arguments.also else ("gap",)
        arrays = [ArrayPlan(name=tap, tap=tap, weights=start) for tap in taps]
        how = replace(how, flip=LAYER4 in self.arguments.also)
        expect_whole(recache(self.faces, self.cache, arrays, how, crops=False))

    def train(self, name: str, cache: Path, preset: str, settings: list[str]) -> Results:
        share = f"protocol.test_share={self.share}"
        config: TrainConfig = resolve(preset, settings=[*COMMON, share, f"seeds=[{self.number}]", *settings])
        return fit(cache, self.folder / f"run-{name}", config)

    def frozen(self) -> Results:
        return self.train(FROZEN, self.cache, "small", self._cached)

    def on_tuned(self, name: str, parts: int, views: int) -> Results:
        """Tune, make the rows, and learn from them."""
        source, out = open_cache(self.faces), self.folder / f"{name}.zarr"
        halves = ProtocolConfig(kind="holdout", test_share=self.share)
        arrays = tune_folds(source, out, self.tune, protocol=halves, parts=parts)
        expect_whole(recache(source, out, arrays, ExtractConfig(size=self.arguments.size), views=views))
        looks = ["data.views=true"] if views else []
        # each look is seen as often as the only one without views
        epochs = [f"loop.epochs={self.arguments.epochs * (1 + views)}"] if views else []
        return self.train(name, out, "small", [*self._cached, *looks, *epochs])

    @property
    def _cached(self) -> list[str]:
        return [f"loop.epochs={self.arguments.epochs}", f"data.mixup={self.arguments.mixup}"]

    def layer4(self) -> Results:
        return self.train(LAYER4, self.cache, "modern", [*self._learning, "finetune.learns=layer4", *PLAIN])

    def end_to_end(self) -> Results:
        return self.train("end", self.faces, "modern", [*self._learning, "finetune.learns=all"])

    @property
    def _learning(self) -> list[str]:
        return [*LEARNING, f'finetune.weights="{self.weights}"', f"loop.epochs={self.arguments.end_epochs}"]


WAYS: dict[str, Callable[[Seed], Results]] = {
    FROZEN: Seed.frozen,
    TUNED: lambda seed: seed.on_tuned(TUNED, 0, 0),
    CROSSED: lambda seed: seed.on_tuned(CROSSED, PARTS, 0),
    VIEWS: lambda seed: seed.on_tuned(VIEWS, PARTS, NUM_VIEWS),
    LAYER4: Seed.layer4,
    END: Seed.end_to_end,
}


def expect_whole(report: Report) -> None:
    """Refuse a cache that Ctrl-C left unfinished: extraction stops in good order and returns, and half of the clips would be measured."""
    if report.interrupted or report.failures:
        raise SystemExit("\n".join(report.lines()))


def spoil(path: Path, faces: Cache) -> None:
    """Write synface with random weights in its last stage and noise in the two before it; batch norms take the statistics of some faces."""
    found = load_weights("synface")
    network, generator = found.backbone, torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim == 4 and name.startswith(RANDOM):
                nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu", generator=generator)
            elif name.startswith(RANDOM):
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


def measure(seed: Seed, ways: list[str], file: Path) -> dict[str, Any]:
    """Take all ways that the file does not hold yet; it is written after each."""
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    lacking = [name for name in ways if name not in found]
    if not lacking:
        return found
    seed.prepare()
    for name in lacking:
        for left in (f"run-{name}", "run-end", f"{name}.zarr", f"{name}-encoders"):  # of a call that was stopped
            shutil.rmtree(seed.folder / left, ignore_errors=True)
        begun, cpu_begun = time.monotonic(), cpu()
        result = WAYS[name](seed)
        seconds, cpu_seconds = time.monotonic() - begun, cpu() - cpu_begun
        rows = [row for part in result.run.parts for row in read_predictions(result.run, part)]
        found[name] = {
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "rows": [
                {
                    "subject": f"{seed.number}/{row['subject']}",
                    "clip": row["id"],
                    "truth": row["truth"],
                    "said": row["prediction"],
                    "control": row.get("control", ""),
                }
                for row in sorted(rows, key=lambda row: row["id"])
            ],
        }
        shutil.rmtree(result.run.path)  # the models are large
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(found))
        partial.rename(file)
        right = sum(row["said"] == row["truth"] for row in found[name]["rows"])
        print(
            f"  {seed.start} {seed.number}: {name}: {right} of {len(rows)}, {seconds:.0f} s, {cpu_seconds:.0f} CPU s",
            flush=True,
        )
    shutil.rmtree(seed.folder)
    return found


def cpu() -> float:
    """Return the CPU seconds of this process and of its workers that have ended."""
    return sum(os.times()[:4])


def table(start: str, seeds: list[dict[str, Any]], ways: list[str]) -> str:
    """Lay out the ways from one start, pooled over the seeds."""
    rows = {name: [row for found in seeds for row in found[name]["rows"]] for name in ways}
    clips = [(row["subject"], row["clip"], row["truth"]) for row in rows[FROZEN]]
    assert all([(row["subject"], row["clip"], row["truth"]) for row in told] == clips for told in rows.values())
    labels = sorted({truth for _, _, truth in clips})
    truth = np.array([labels.index(name) for _, _, name in clips])
    people = [subject for subject, _, _ in clips]
    said = {name: np.array([labels.index(row["said"]) for row in told]) for name, told in rows.items()}
    right = {name: guesses == truth for name, guesses in said.items()}
    seconds, of_cpu = (
        {name: np.array([found[name][what] for found in seeds]) for name in ways} for what in ("seconds", "cpu_seconds")
    )
    tested = f"{len(clips)} tested clips of {len(set(people))} people, {len(seeds)} seeds"
    lines = [
        f"\nStart: {start}; {tested}",
        "| | WAR | 95 % | UAR | control | seconds | of end to end | 95 % | CPU seconds | of end to end | gap closed | 95 % |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in ways:
        low, high = score_intervals(truth, said[name], people, labels).get("war", (np.nan, np.nan))
        uar = np.mean([right[name][truth == code].mean() for code in range(len(labels))])
        known = [row["control"] == row["truth"] for row in rows[name] if row["control"]]
        control = f"{np.mean(known):.1%} ({sum(known)})" if known else ""
        score = f"{right[name].mean():.1%} ({right[name].sum()}) | {low:.1%} to {high:.1%} | {uar:.1%} | {control}"
        share, least, most = share_of_time(seconds[name], seconds[END])
        of_processor = f"{of_cpu[name].mean():.0f} | {share_of_time(of_cpu[name], of_cpu[END])[0]:.1%}"
        time_taken = f"{seconds[name].mean():.0f} | {share:.1%} | {least:.1%} to {most:.1%} | {of_processor}"
        lines.append(f"| {name} | {score} | {time_taken} | {closed(right, people, name)} |")
    gap = bootstrap(right[END].astype(float) - right[FROZEN], people)
    lines.append(
        f"Gap between frozen and end to end: {100 * (right[END].mean() - right[FROZEN].mean()):+.1f} points "
        f"(95 % {100 * np.quantile(gap, 0.025):+.1f} to {100 * np.quantile(gap, 0.975):+.1f})."
    )
    part = gained(right, TUNED) / max(gained(right, END), 1)
    time_share = share_of_time(seconds[TUNED], seconds[END])[0]
    reached = "reached" if part >= GOAL[0] and time_share <= GOAL[1] else "missed"
    lines.append(f"Goal ({GOAL[0]:.0%} of the gap in {GOAL[1]:.0%} of the time): {reached}.")
    return "\n".join(lines)


def gained(right: dict[str, np.ndarray], name: str) -> int:
    """Count the clips that a way has right more than frozen features have."""
    return int(right[name].sum()) - int(right[FROZEN].sum())


def closed(right: dict[str, np.ndarray], people: list[str], name: str) -> str:
    """Say which share of the gap a way closes; there is no interval where the gap itself may be none."""
    if gained(right, END) <= 0:
        return "no gap |"
    share = f"{gained(right, name) / gained(right, END):.0%}"
    if name in (FROZEN, END):
        return f"{share} |"
    both = np.stack([right[way].astype(float) - right[FROZEN] for way in (name, END)], axis=1)
    part, gap = bootstrap(both, people).T
    if np.quantile(gap, 0.025) <= 0:
        return f"{share} | none: the gap may be 0"
    low, high = np.quantile(part / np.maximum(gap, 1e-9), (0.025, 0.975))
    return f"{share} | {low:.0%} to {high:.0%}"


def bootstrap(values: np.ndarray, people: list[str]) -> np.ndarray:
    """Draw seeds, and of each seed people, again and again; return the mean of what their clips have.  # (N, …) → (DRAWS, …)"""
    rng = np.random.default_rng(1)
    names, member = np.unique(people, return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, member, values)
    clips = np.bincount(member)
    seed_of = np.unique([name.split("/")[0] for name in names], return_inverse=True)[1]
    of_seed = [np.flatnonzero(seed_of == code) for code in range(int(seed_of.max()) + 1)]
    found = []
    for _ in range(DRAWS):
        drawn = np.concatenate(
            [rng.choice(of_seed[code], len(of_seed[code])) for code in rng.integers(0, len(of_seed), len(of_seed))]
        )
        found.append(sums[drawn].sum(0) / clips[drawn].sum())
    return np.array(found)


def share_of_time(seconds: np.ndarray, whole: np.ndarray) -> tuple[float, float, float]:
    """Return which share of the seconds of another way one takes, and its 95 % interval over seeds.  # (S,), (S,)"""
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, len(seconds), (DRAWS, len(seconds)))
    shares = seconds[drawn].sum(1) / whole[drawn].sum(1)
    low, high = np.quantile(shares, (0.025, 0.975)).tolist()
    return float(seconds.sum() / whole.sum()), low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=21, help="of a seed")
    parser.add_argument("--tested", type=int, default=9, help="of them are tested, and the others learnt from")
    parser.add_argument("--difficulty", type=float, default=0.4, help="of the rendered videos; 0 is posed")
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--seeds", type=int, default=10, help="from the weak start")
    parser.add_argument("--whole-seeds", type=int, default=3, help="from synface as it ships: the first of the same")
    parser.add_argument("--also", nargs="*", default=[], choices=(CROSSED, VIEWS, LAYER4), help="further ways")
    parser.add_argument("--epochs", type=int, default=30, help="of training on cached features")
    parser.add_argument("--mixup", type=float, default=0.4, help="of cached features")
    parser.add_argument("--tune-epochs", type=int, default=6)
    parser.add_argument("--end-epochs", type=int, default=20, help="of training layer4, and end to end")
    parser.add_argument("--folder", type=Path, help="where results lie: a rerun resumes there. Temporary when left out")
    arguments = parser.parse_args()
    print(f"{machine('torch', 'torchvision')}, {torch.get_num_threads()} threads", flush=True)
    ways = [name for name in WAYS if name in (FROZEN, TUNED, END, *arguments.also)]
    with tempfile.TemporaryDirectory(prefix="est-features-") as made:
        folder = arguments.folder or Path(made)
        results: dict[str, list[dict[str, Any]]] = {WEAK: [], WHOLE: []}
        for at in range(max(arguments.seeds, arguments.whole_seeds)):
            number = FIRST_SEED + at
            here = folder / str(number)
            here.mkdir(parents=True, exist_ok=True)
            for start, wanted in ((WEAK, arguments.seeds), (WHOLE, arguments.whole_seeds)):
                if at < wanted:
                    seed = Seed(here, start, number, arguments)
                    results[start].append(measure(seed, ways, here / f"{start}.json"))
            shutil.rmtree(here / "people", ignore_errors=True)
        for start, found in results.items():
            if found:
                print(table(start, found, ways), flush=True)


if __name__ == "__main__":
    main()
