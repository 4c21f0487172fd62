"""Small caches that a model can learn something from, and runs on them: features whose mean tells the class, and people who differ.

`tests/conftest.py` puts this folder on the path, so that tests and the processes they start import it by name.
"""

from __future__ import annotations

import csv
import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from est.cache import CacheWriter, Clip, Failure, FeatureRecipe, FramesRecipe, Recipes
from est.cache.clip import Windows
from est.train import (
    DataConfig,
    EstConfig,
    LoopConfig,
    ProtocolConfig,
    Run,
    TrainConfig,
    TrainingWatch,
    build_model,
    fit,
)
from est.train.loop.checkpoint import load_checkpoint
from est.train.loop.trainer import Trainer
from est.train.runs.digests import DIGEST, FILES
from est.train.runs.files import read_json, write_json
from est.train.runs.run import CHECKPOINT, FACTS, PREDICTIONS, RESULT

LABELS = ("anger", "happiness", "surprise")
WIDTH = 16
MAPS = {
    "layer3": (4, 2, 2),
    "pyramid4x4": (15, 2, 2),
}  # of the caches below, where they have maps: their numbers are those of gap
WINDOWED = "windowed"  # their feature of windows, where they have windows: the same rows again
STEPS = (2, 4)  # of two kinds of windows
WINDOW = 6
TINY = EstConfig(dim=16, heads=2, ffn=32, layers=1, dropout=0.1)
PLAIN = EstConfig(dim=16, heads=2, ffn=32, layers=1, dropout=0.0, head_dropout=0.0)  # follows from its inputs alone
TIMES = {"waited", "seconds", "clips_per_second"}  # what differs from run to run


def learning_recipes(*, flip=False, maps=False, windows=False, frames=None, **weights):
    """Return the recipes of the caches below; more keywords are fields of the feature's."""
    parent = FramesRecipe(**{"decoder": "opencv", "detector": "none", **(frames or {})})
    fields = {"backbone": "resnet18", "weights": "random", "weights_digest": "00", "shape": (WIDTH,), **weights}
    made = {"gap": FeatureRecipe(parent=parent.fingerprint, **fields)}
    for tap, shape in MAPS.items() if maps else ():
        made[tap] = FeatureRecipe(parent=parent.fingerprint, **fields | {"tap": tap, "shape": shape})
    if windows:
        kinds = " + ".join(f"{WINDOW} frames, step {step}" for step in STEPS)
        made[WINDOWED] = FeatureRecipe(parent=parent.fingerprint, **fields | {"tap": WINDOWED, "window": kinds})
    if flip:
        made |= {
            f"{name}_mirrored": replace(recipe, mirrored=True) for name, recipe in made.items() if name != WINDOWED
        }
    return Recipes(frames=parent, features=made)


def learning_clip(
    index,
    *,
    labels=LABELS,
    subjects=6,
    flip=False,
    maps=False,
    windows=False,
    face=True,
    strength=1.5,
    person_strength=0.5,
    frames=None,
    **fields,
):
    """Return clip number `index`: its class's direction, its person's, and noise."""
    rng = np.random.default_rng([7, index])
    label = index % len(labels)
    person = index // len(labels) % subjects
    count = frames or int(rng.integers(20, 90))
    # Names, not places, have directions: the order of labels must not matter.
    direction = np.random.default_rng(sum(labels[label].encode())).normal(size=WIDTH)
    rows = strength * direction + person_strength * np.random.default_rng([9, person]).normal(size=WIDTH)
    rows = (rows + rng.normal(size=(count, WIDTH))).astype(np.float16)
    state = np.ones(count, np.uint8) if face else np.zeros(count, np.uint8)
    state[rng.random(count) < 0.1] = 0
    if face:
        state[0] = 1
    absent = state == 0
    box, landmarks = np.zeros((count, 4), np.float32), np.zeros((count, 5, 2), np.float32)
    rows[absent], box[absent], landmarks[absent] = 0, np.nan, np.nan
    known = {
        "id": f"clip{index:03d}",
        "path": f"/videos/clip{index:03d}.mp4",
        "label": labels[label],
        "subject": f"P{person}",
        "split": ("train", "train", "test")[person % 3],
        "fps": 25.0,
    }
    features = {"gap": rows}
    if maps:
        features |= {name: as_maps(rows, shape) for name, shape in MAPS.items()}
    if flip:
        features |= {f"{name}_mirrored": -one for name, one in features.items()}
    return Clip(
        **{**known, **fields},
        windows=windows_of(rows) if windows else None,
        state=state,
        time=np.arange(count) / 25.0,
        box=box,
        landmarks=landmarks,
        score=np.ones(count, np.float32),
        features=features,
    )


def windows_of(rows):
    """Return two kinds of windows of a clip, whose numbers are those of their middle frames."""
    start = np.concatenate([np.arange(0, len(rows) - WINDOW + 1, step) for step in STEPS])
    middle = {WINDOWED: rows[start + WINDOW // 2]}
    return Windows(start=start, stop=start + WINDOW, rate=np.full(len(start), 25.0), features=middle)


def as_maps(rows, shape):
    """Return maps whose numbers are those of rows, again and again.  # (F, D) → (F, C, h, w)"""
    return rows[:, np.arange(np.prod(shape)) % rows.shape[1]].reshape(len(rows), *shape)


def learning_cache(
    path,
    clips=54,
    *,
    labels=LABELS,
    listed=None,
    order=None,
    flip=False,
    maps=False,
    windows=False,
    failures=(),
    faceless=(),
    black=None,
    weights=None,
    fields=None,
    columns=None,
    **common,
):
    """Write a cache of so many clips, or of these numbers; return its path.

    `listed` is the order in which the cache names its labels, `order` that of its clips; failures are (id, label, subject, split);
    `fields` is what is different about one clip, by number; `columns` are extra ones; all else goes to every clip.
    """
    settings = {"black": {"gap": black}} if black is not None else {}
    recipes = learning_recipes(flip=flip, maps=maps, windows=windows, **(weights or {}))
    with CacheWriter.open(path, recipes, labels=listed or labels, columns=columns, **settings) as writer:
        numbers = range(clips) if isinstance(clips, int) else clips
        for index in order if order is not None else numbers:
            special = (fields or {}).get(index, {})
            writer.add(
                learning_clip(
                    index,
                    labels=labels,
                    flip=flip,
                    maps=maps,
                    windows=windows,
                    **{**common, "face": index not in faceless, **special},
                )
            )
        for name, label, subject, split in failures:
            writer.fail(
                Failure(id=name, path=name, stage="decode", error="broken", label=label, subject=subject, split=split)
            )
    return path


def tiny_config(*, epochs=4, batch=8, **sections):
    """Return a configuration that trains in a second; keywords that are fields of `loop` or `data` go there."""
    loop = {"epochs": epochs, "warmup": 1, "batch": batch, "learning_rate": 3e-3, "threads": 1}
    data = {"feature": WINDOWED} if "model" in sections and sections["model"].of_windows else {}
    for name in list(sections):
        for values, section in ((loop, LoopConfig), (data, DataConfig)):
            if name in section.__dataclass_fields__:
                values[name] = sections.pop(name)
    made = {"model": TINY, "loop": LoopConfig(**loop), "data": DataConfig(**data), "protocol": ProtocolConfig()}
    return TrainConfig(**{**made, "device": "cpu", **sections})


def make_trainer(clips, *, model=PLAIN, seed=1, precision="fp32", train=None, label=None, votes=None, **settings):
    config = tiny_config(**settings, model=model)
    built = build_model(model, width=clips.width, num_classes=len(LABELS), seed=seed, maps=clips.maps)
    return Trainer(
        built,
        clips,
        train=np.arange(len(clips)) if train is None else train,
        target=torch.from_numpy(clips.label if label is None else label),
        votes=votes,
        config=config,
        precision=precision,
        seed=seed,
    )


class Recorder(TrainingWatch):
    """Keeps what is said; interrupts the run as Ctrl-C would after so many steps."""

    def __init__(self, interrupt_after=0):
        self.said, self.warned, self.records, self.results, self.parts = [], [], [], [], []
        self.steps, self.interrupt_after = 0, interrupt_after

    def say(self, text):
        self.said.append(text)

    def warn(self, text):
        self.warned.append(text)

    def begin(self, part, *, epochs, steps, first_epoch):
        self.parts.append((part.name, first_epoch))

    def step(self, epoch, step):
        self.steps += 1
        if self.steps == self.interrupt_after:
            signal.raise_signal(signal.SIGINT)

    def epoch(self, part, record):
        self.records.append(record)

    def end(self, part, result):
        self.results.append(result)


def fit_interrupted(cache, out, config, *after):
    """Train with an interruption after so many steps of each process but the last; return the results."""
    for number, steps in enumerate(after):
        try:
            fit(cache, out, config if number == 0 else None, resume=number > 0, watch=Recorder(steps))
        except KeyboardInterrupt:
            continue
        raise AssertionError(f"interruption {number} came too late")
    return fit(None, out, resume=True)


def outcome(path):
    """Return everything that a run came to, but for times: equal for equal runs, to the last bit."""
    run = Run.open(path)
    found = {name: timeless(read_json(run.path / f"{name}.json")) for name in ("metrics", "folds")}
    for name in ("predictions.csv", "confusion.csv", "confusion.svg"):
        found[name] = (run.path / name).read_text(encoding="utf-8")
    found["history.csv"] = [
        {key: value for key, value in row.items() if key not in TIMES} for row in read_csv(run.path / "history.csv")
    ]
    for name in run.parts:
        folder = run.part(name)
        checkpoint = load_checkpoint(folder / CHECKPOINT)
        found[f"{name} tensors"] = {key: tensor.numpy().tobytes() for key, tensor in checkpoint.tensors.items()}
        found[f"{name} meta"] = timeless(checkpoint.meta)
        found[f"{name} result"] = timeless(read_json(folder / RESULT))
        found[f"{name} predictions"] = (folder / PREDICTIONS).read_text(encoding="utf-8")
    return found


def timeless(data):
    """Leave times out of JSON."""
    if isinstance(data, dict):
        return {key: timeless(value) for key, value in data.items() if key not in TIMES}
    return [timeless(value) for value in data] if isinstance(data, list) else data


def read_csv(path):
    """Read the rows of a CSV file."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_lines(text):
    """Read JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def without_digests(run: Path) -> Path:
    """Make a run one of before 2026-11-30, which knows no digests of its files: a test may change them."""
    facts = {name: value for name, value in read_json(run / FACTS).items() if name not in (DIGEST, FILES)}
    write_json(run / FACTS, facts)
    return run
