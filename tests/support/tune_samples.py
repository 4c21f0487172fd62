"""Small labelled pictures to tune on: a class is a colour, and an encoder that learns must tell them apart."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from est.cache import CacheWriter, Clip, FeatureRecipe, FramesRecipe, Recipes, open_cache
from est.cache.trained import TrainedOn
from est.crops.jpeg import encode_crop
from est.encoders.backbone import FrameEncoder, Normalization
from est.encoders.weights import Weights, load_weights
from est.train.folds.annotations import Annotations
from est.tune import TuneConfig

SIDE = 32
LABELS = ("blue", "green", "red")
CONFIG = TuneConfig(
    weights="random", epochs=3, batch=12, learning_rate=1e-2, frames_per_clip=4, size=SIDE, threads=1, workers=1,
    precision="fp32", device="cpu", together=1, rate=0.1,
)  # fmt: skip


class Small(FrameEncoder):
    """A convolution, a batch norm and a mean: an encoder that learns in no time, and that is no ResNet."""

    name, title, width = "small", "Small", 8

    def __init__(self):
        super().__init__()
        self.normalization = Normalization.named("none")
        self.conv, self.norm = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8)

    def taps(self, images, names):
        x = torch.relu(self.norm(self.conv(self.normalize(images))))
        return {"gap": x.float().mean((2, 3))}

    def shape_of(self, tap, size):
        return (8,)


def small_start(**fields) -> Weights:
    """Return the small encoder as a start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Weights(**{"backbone": Small().eval(), "name": "small", "digest": "5" * 32, **fields})


@cache
def random_start() -> Weights:
    """Return the weights `random`, loaded once."""
    return load_weights("random")


def config(**changes) -> TuneConfig:
    """Return a configuration that learns in a second or two."""
    return replace(CONFIG, **changes)


def picture(label: int, seed: int, *, strength: int = 90, side: int = SIDE) -> np.ndarray:
    """Draw noise that is stronger in one channel: BGR, of class 0, 1 or 2."""
    drawn = np.random.default_rng([3, label, seed]).integers(40, 120, (side, side, 3), np.uint8)
    drawn[..., label] += np.uint8(strength)
    return drawn


def colour_cache(
    path: Path,
    clips: int = 24,
    *,
    people: int = 4,
    frames: int = 6,
    crops=True,
    environment=None,
    faceless=(),
    fields=None,
    shown=None,
) -> Path:
    """Write a cache of coloured clips; `fields` are what is different about one clip, by number, `shown` which frames show a face."""
    parent = FramesRecipe(decoder="opencv", detector="none", size=SIDE)
    start = random_start()
    gap = FeatureRecipe(
        parent=parent.fingerprint,
        backbone="resnet18",
        weights="random",
        weights_digest=start.digest,
        normalize="none",
        shape=(4,),
    )
    recipes = Recipes(frames=parent, features={"gap": gap})
    with CacheWriter.open(path, recipes, labels=LABELS, crops=crops, environment=environment) as writer:
        for number in range(clips):
            known = {"label": LABELS[number % 3], "subject": f"P{number // 3 % people}"}
            state = np.ones(frames, np.uint8)
            if shown is not None:
                state[[frame not in shown for frame in range(frames)]] = 0
            if number in faceless:
                state[:] = 0
            pictures = [encode_crop(picture(number % 3, 100 * number + frame)) for frame in range(frames)]
            box, landmarks = np.zeros((frames, 4), np.float32), np.zeros((frames, 5, 2), np.float32)
            box[state == 0], landmarks[state == 0] = np.nan, np.nan
            writer.add(
                Clip(
                    id=f"clip{number:02}",
                    fps=25.0,
                    state=state,
                    time=np.arange(frames) / 25,
                    box=box,
                    landmarks=landmarks,
                    score=np.ones(frames, np.float32),
                    features={"gap": np.zeros((frames, 4), np.float16)},
                    crops=[data if shows else b"" for data, shows in zip(pictures, state, strict=True)]
                    if crops
                    else None,
                    **{**known, **(fields or {}).get(number, {})},
                )
            )
    return path


def table_of(path: Path) -> tuple:
    """Open a cache; return it with its annotations."""
    opened = open_cache(path)
    return opened, Annotations.from_cache(opened)


def start_that_saw(clips, *, subjects=(), digests=()) -> Weights:
    """Return random weights that say they have learnt from clips."""
    record = TrainedOn(clips=tuple(clips), subjects=tuple(subjects), digests=tuple(digests), how="before")
    return small_start(trained_on=record)


def write_images(folder: Path, number: int = 24, *, side: int = 40) -> list[tuple[Path, str]]:
    """Write coloured images; return them with their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for index in range(number):
        path = folder / f"{index:03}.png"
        cv2.imwrite(str(path), picture(index % 3, index, side=side))
        found.append((path, LABELS[index % 3]))
    return found


def write_list(path: Path, header: str, lines) -> Path:
    """Write a CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path
