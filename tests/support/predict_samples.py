"""Rendered faces in short videos, a cache of them with the shipped weights, and a tiny run on it: something to predict by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from extract_samples import face_frames
from train_samples import Recorder, tiny_config
from video_samples import make_video

from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.infer.prediction.config import PredictConfig
from est.inputs.input import find_inputs
from est.train import ProtocolConfig, fit

EXTRACTION = ExtractConfig(weights="synface", size=64, precision="fp32", device="cpu", workers=1)
QUIET = PredictConfig(device="cpu", workers=1, video=False, picture=False)
LENGTHS = (14, 16, 18, 15)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What tests predict by and from."""

    folder: Path  # clip0.mp4 …
    cache: Path
    run: Path
    frames: list[np.ndarray]  # of a rendered face

    @property
    def video(self) -> Path:
        """Return one of the videos that the run was trained on."""
        return self.folder / "clip1.mp4"


def make_sample(folder: Path) -> Sample:
    """Write videos of four people and two classes, extract them, and train on them in two folds."""
    frames = face_frames(max(LENGTHS) + 3, step=2)
    videos = folder / "videos"
    videos.mkdir()
    lines = ["path,label,subject"]
    for number, length in enumerate(LENGTHS):
        shown = frames[number : number + length]
        make_video(videos / f"clip{number}.mp4", [np.ascontiguousarray(f[:, ::-1]) if number % 2 else f for f in shown])
        lines.append(f"clip{number}.mp4,{('calm', 'glad')[number % 2]},P{number // 2}")
    (videos / "list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Sample(
        folder=videos,
        cache=cache_of(videos, folder / "cache.zarr"),
        run=run_on(folder / "cache.zarr", folder / "run"),
        frames=frames,
    )


def cache_of(videos: Path, path: Path, **changes) -> Path:
    """Extract the videos of a sample."""
    report = extract_videos(find_inputs([videos / "list.csv"]), path, replace(EXTRACTION, **changes))
    assert not report.failures
    return path


def run_on(cache: Path, out: Path, **settings) -> Path:
    """Train two folds on a cache."""
    config = tiny_config(epochs=1, batch=2, protocol=ProtocolConfig(kind="kfold", folds=2), **settings)
    fit(cache, out, config, watch=Recorder())
    return out
