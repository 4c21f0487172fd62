"""A small cache to fine-tune on: drawn crops whose class is how bright their left half is beside the right one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from train_samples import TINY, Recorder

from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs
from est.train import DataConfig, FinetuneConfig, LoopConfig, ProtocolConfig, TrainConfig, fit

SIDE = 32
SMALL = replace(TINY, snippets=3, frames=2, orders=5)  # six pictures a clip, and not 35: a backbone takes its time
LABELS = ("left", "right")
EXTRACT = ExtractConfig(
    weights="random", detector="none", size=SIDE, precision="fp32", workers=1, crops=True, features=("gap", "layer3")
)


def draw(folder: Path, clips: int = 16, *, frames: int = 5, people: int = 4) -> Path:
    """Write folders of pictures and their list; return the list."""
    generator = np.random.default_rng(0)
    lines = ["path,label,subject"]
    for number in range(clips):
        label = number % len(LABELS)
        home = folder / f"clip{number:02}"
        home.mkdir(parents=True)
        for frame in range(frames + number % 3):
            picture = generator.integers(60, 130, (SIDE, SIDE, 3), np.uint8)
            half = slice(None, SIDE // 2) if label == 0 else slice(SIDE // 2, None)
            picture[:, half] += np.uint8(40 + 5 * frame)
            cv2.imwrite(str(home / f"{frame}.png"), picture)
        lines.append(f"clip{number:02},{LABELS[label]},P{number // 2 % people}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "list.csv"


def tuning_cache(folder: Path, name: str = "cache.zarr", **changes) -> Path:
    """Draw crops, and extract them into a cache with crops and maps."""
    sources = folder / "drawn"
    listed = sources / "list.csv"
    if not listed.exists():
        draw(sources)
    return cache_of(listed, folder / name, **changes)


def cache_of(listed: Path, path: Path, **changes) -> Path:
    """Extract a list."""
    config = ExtractConfig(**{**vars(EXTRACT), **changes})
    report = extract_videos(find_inputs([listed]), path, config)
    assert not report.failures
    return path


def tuning_config(learns="all", **settings) -> TrainConfig:
    """Return a configuration that trains in a second; keywords are fields of `finetune`, `loop`, `data`, or of the whole."""
    loop = {"epochs": 2, "warmup": 0, "batch": 4, "learning_rate": 1e-3, "threads": 1, "weight_decay": 0.0}
    data: dict = {}
    tuned: dict = {"learns": learns, "workers": 1}
    for name in list(settings):
        for values, section in ((tuned, FinetuneConfig), (loop, LoopConfig), (data, DataConfig)):
            if name in section.__dataclass_fields__:
                values[name] = settings.pop(name)
                break
    made = {
        "model": SMALL,
        "loop": LoopConfig(**loop),
        "data": DataConfig(**data),
        "finetune": FinetuneConfig(**(tuned if learns != "none" else {})),
        "protocol": ProtocolConfig(kind="holdout"),
        "device": "cpu",
    }
    return TrainConfig(**{**made, **settings})


def tuned_run(cache: Path, out: Path, learns="all", **settings):
    """Train, and return the results."""
    return fit(cache, out, tuning_config(learns, **settings), watch=Recorder())
