"""Every model on one cache of rendered dynamics: what it reaches, what it costs, what it reads.

    python benchmarks/models.py --folder work                    # the table of docs/models.md; the same command resumes
    python benchmarks/models.py --folder work --model stt gru    # these alone
    python benchmarks/models.py --folder dev --seed 31    # another set, on which the recipes were chosen

The set: 16 people, 96 clips of six classes in three pairs (demo/dynamics.py), crops of 112 × 112 as the papers of the map models have
them, features by the shipped weights `synface`. R3D-18 starts from random numbers and learns nothing from 72 clips: it has a larger set
of smaller crops (`SETS`), and settings of its own. The training: preset `small` of each model with the settings of `MORE`, four folds
over people, seeds 1, 2, 3. The two classes of a pair show the same frames in another order: within pairs, who ignores order is right in
50 %.

Models that read something else than crops, vectors or maps of the set (`COMMON.features`) are left out. `slstt` reads vectors of pictures
here, not of flow: it is its head that is measured.

Scores are means over seeds; intervals are 95 %, over people; ± is the standard deviation over seeds. "− control" is the difference to
pooled statistics and a linear classifier on the same clips. Parameters and MACs are those that are trained here, on cached features; "as
published" those of the model's default sizes. A step is one training alone, batch 8, the median of `STEPS`, on one thread.
Goal: the lower end of every model's interval lies above chance.
"""

from __future__ import annotations

import argparse
import json
import math
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as est demo does, before torch is imported

import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _machine import machine

from est.cache import Cache, open_cache
from est.demo import render_set
from est.demo.demoset import DYNAMICS
from est.demo.pipeline import VIDEOS
from est.demo.renderset import MANIFEST
from est.encoders.precision import Precision, why_emulated
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.infer.probing.pairs import within_pairs
from est.inputs.input import find_inputs
from est.train import Run, TrainConfig, fit, prepare
from est.train.config.configfile import resolve
from est.train.loop.starts.initial_weights import build
from est.train.loop.trainer import Trainer
from est.train.loop.watch import Part
from est.train.models.contract import CROPS
from est.train.models.registry import MODELS, build_model, config_class, describe_model
from est.train.results.paired import compare_paired
from est.train.results.predictions import Predictions

SEED = 2029


@dataclass(frozen=True, kw_only=True)
class Set:
    """A set of rendered dynamics, and what is cached of it."""

    cache: str
    people: int  # six clips each
    side: int  # of the crops
    features: tuple[str, ...]


COMMON = Set(cache="cache.zarr", people=16, side=112, features=("gap", "layer3", "pyramid4x4"))
SETS: Mapping[str, Set] = {"r3d18": Set(cache="crops.zarr", people=60, side=48, features=("gap",))}
PAIRS = (
    ("smile-posed", "smile-spontaneous"),
    ("surprise-to-fear", "surprise-to-happiness"),
    ("masked-anger", "masked-disgust"),
)
SETTINGS: Mapping[str, Any] = {
    "protocol.kind": "kfold",
    "protocol.folds": 4,
    "seeds": (1, 2, 3),
    "eval_every": 0,
    "loop.threads": 1,
}
MORE: Mapping[str, Mapping[str, Any]] = {  # of models whose 60 epochs of the preset would take hours on a CPU
    "stt": {"loop.epochs": 20},
    "msstnet": {"loop.epochs": 20},
    "former-dfer": {"loop.epochs": 4},
    "r3d18": {  # chosen on the set of seed 31
        "loop.epochs": 40,
        "loop.learning_rate": 1e-3,
        "loop.weight_decay": 0.05,
        "data.mirrored": True,
        "finetune.shift": 0.06,
        "finetune.brightness": 0.2,
    },
}
STEPS = 5


def extracted(folder: Path, what: Set, seed: int) -> Cache:
    """Render a set and extract it, unless that has been done; videos are not kept."""
    path, said = folder / what.cache, f"seed {seed}, {what.people} people, {what.side} pixels\n"
    done = path.with_suffix(".done")
    if not done.exists() or done.read_text() != said:
        of_it = [name for name in MODELS if SETS.get(name, COMMON).cache == what.cache]
        for name in (what.cache, VIDEOS, *of_it):
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).with_suffix(".json").unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        render_set(DYNAMICS.changed(settings={}, seed=seed, subjects=what.people).spec, folder / VIDEOS)
        config = ExtractConfig(weights="synface", size=what.side, features=what.features, crops=True)
        report = extract_videos(find_inputs([folder / VIDEOS / MANIFEST]), path, config)
        assert not report.failures
        done.write_text(said)
        shutil.rmtree(folder / VIDEOS)
    return open_cache(path)


def can_read(name: str) -> bool:
    """Say whether a model reads what the sets have."""
    config = config_class(name)()
    return not config.of_windows and config.reads in ("", CROPS, *COMMON.features)  # no encoder here makes windows


def settings_of(name: str) -> TrainConfig:
    """Return the training of a model."""
    return resolve("small", None, (), {"model.name": name, **SETTINGS, **MORE.get(name, {})})


def trained(cache: Cache, out: Path, config: TrainConfig) -> tuple[Predictions, float]:
    """Train a model, unless that has been done; return what it predicted and the minutes that it took."""
    clock = out.with_suffix(".json")
    if not clock.exists() or Run.open(out).config != config:
        began = time.perf_counter()
        shutil.rmtree(out, ignore_errors=True)  # of a call that was stopped, whose minutes are not known
        fit(cache, out, config)
        clock.write_text(json.dumps({"minutes": (time.perf_counter() - began) / 60}))
    return Predictions.of_run(Run.open(out)), json.loads(clock.read_text())["minutes"]


def milliseconds(cache: Cache, config: TrainConfig, precision: Precision) -> str:
    """Measure a step of one training alone; a dash where the processor only emulates a precision."""
    if why_emulated(precision, torch.device("cpu")):
        return "–"
    ready, seed = prepare(cache, config), 1
    data, fold = ready.data, ready.plan.folds[0]
    width, maps = data.clips.width, data.clips.maps
    head = build_model(config.model, width=width, num_classes=len(data.labels), seed=seed, maps=maps)
    model = build(ready.start, head, config, Part(name="one", fold=fold.name, seed=seed, index=0, total=1))
    rows = data.place[data.learnt(fold.train)]
    trainer = Trainer(model, data.clips, train=rows, target=data.target, config=config, precision=precision, seed=seed)
    plan, times = trainer.begin_epoch(0), []
    for step in range(STEPS + 1):
        began = time.perf_counter()
        trainer.step(plan, step % trainer.num_steps)
        times.append(time.perf_counter() - began)
    return f"{1000 * statistics.median(times[1:]):.0f}"


def reading(cache: Cache, config: TrainConfig) -> tuple[tuple[int, ...], int]:
    """Return the shape of what a model reads of a frame, and its bytes in the cache."""
    if config.model.reads == CROPS:
        sizes = [len(crop) for name in cache.ids for crop in cache.crops(name)]
        return (3, *2 * (cache.recipes.frames.size,)), round(statistics.mean(sizes))
    recipe = cache.recipes.features[config.feature]
    return recipe.shape, math.prod(recipe.shape) * np.dtype(recipe.dtype).itemsize


def row(cache: Cache, folder: Path, name: str) -> str:
    """Train, score and time a model: its row of the table."""
    config = settings_of(name)
    found, minutes = trained(cache, folder / name, config)
    low, high = found.intervals["war"]
    assert found.control is not None
    control = (found.control == found.truth)[None]
    gain = compare_paired(found.right, control, found.groups, unit="people", fixed=True)
    assert gain.low is not None
    assert gain.high is not None
    within = next(iter(within_pairs(found, PAIRS, "people")))
    (width, *sides), size = reading(cache, config)
    classes = len(found.labels)
    here, whole = (describe_model(one, width, classes, tuple(sides)) for one in (config.model, config_class(name)()))
    cells = (
        config.model.title,
        f"{len(cache)}",
        f"{100 * found.scores.war:.1f} ± {100 * (found.over_seeds['war'].sd or 0):.1f}",
        f"{100 * low:.1f} to {100 * high:.1f}",
        "reached" if low > 1 / classes else "missed",
        f"{100 * within.right / within.pair_right:.1f}",
        f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})",
        f"{here.parameters:,}",
        f"{whole.parameters:,}",
        f"{here.macs / 1e6:,.1f}",
        f"{milliseconds(cache, config, 'fp32')} / {milliseconds(cache, config, 'bf16')}",
        f"{size:,}",
        f"{config.loop.epochs}",
        f"{minutes:.1f}",
    )
    return f"| {' | '.join(cells)} |"


HEAD = (
    "model",
    "clips",
    "WAR, %",
    "95 %",
    "above chance",
    "within pairs, %",
    "− control, points",
    "parameters",
    "as published",
    "M MACs a clip",
    "ms a step, fp32 / bf16",
    "bytes a frame",
    "epochs",
    "minutes for 12 trainings",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, help="where cache and runs lie: a rerun resumes. Temporary when left out"
    )
    readable = [name for name in MODELS if can_read(name)]
    parser.add_argument(
        "--model", nargs="+", default=readable, choices=readable, metavar="NAME", help=", ".join(readable)
    )
    parser.add_argument("--people", type=int, help="of each set, in place of its own number; six clips each")
    parser.add_argument("--seed", type=int, default=SEED, help="of the set")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="est-models-"))
    torch.set_num_threads(1)  # so that two benchmarks may run beside each other, and other work beside them
    print(machine("torch"), flush=True)
    try:
        print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
        for name in arguments.model:
            what = SETS.get(name, COMMON)
            what = replace(what, people=arguments.people or what.people)
            print(row(extracted(folder, what, arguments.seed), folder, name), flush=True)
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
