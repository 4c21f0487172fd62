"""Micro-expressions: optical flow against the faces themselves, SLSTT against pooled statistics, by the table of MEGC 2019.

    python benchmarks/micro.py --folder work                # the table of docs/flow.md; the same command resumes
    python benchmarks/micro.py --folder dev --people 8 --seed 11

12 rendered people, 84 clips of three classes and three databases, at 100 frames a second (demo/micro.py), of difficulty 0.8. Both caches
hold features of the shipped weights `synface`, which were trained on crops of rendered faces and on no picture of flow. Models have the
preset `small`, seeds 1, 2, 3, each person left out in turn. Intervals are 95 %, over people; ± is over seeds.

Says too how long Farnebäck's flow takes of a clip. Nothing here is about real micro-expressions.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as est demo does, before torch is imported

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _machine import machine

from est.cache import Cache, open_cache
from est.demo import RenderSpec, render_set
from est.demo.renderset import MANIFEST
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.extract.flow.field import flow
from est.inputs.input import find_inputs
from est.train import Run, fit
from est.train.config.configfile import resolve

PEOPLE, SEED, DIFFICULTY, FPS = 12, 2031, 0.8, 100
VIDEOS = "videos"
SETTINGS = {"protocol.kind": "megc", "seeds": (1, 2, 3), "eval_every": 0, "loop.threads": 1}
ROWS = {  # what is read → the models that read it
    "flow": {
        "SLSTT": {"model.name": "slstt"},
        "SLSTT, mean of frames": {"model.name": "slstt", "model.aggregation": "mean"},
    },
    "face": {"GRU": {"model.name": "gru"}},
}


def extracted(folder: Path, modality: str) -> tuple[Cache, float]:
    """Extract a modality, unless that has been done; return the cache and the clips a second that it took."""
    path = folder / f"{modality}.zarr"
    clock = path.with_suffix(".json")
    if not clock.exists():
        shutil.rmtree(path, ignore_errors=True)
        began = time.perf_counter()
        report = extract_videos(
            find_inputs([folder / VIDEOS / MANIFEST]), path, ExtractConfig(modality=modality, weights="synface")
        )
        assert not report.failures
        clock.write_text(json.dumps({"rate": len(open_cache(path)) / (time.perf_counter() - began)}))
    return open_cache(path), json.loads(clock.read_text())["rate"]


def scored(cache: Cache, out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Train a model, unless that has been done; return its metrics."""
    if not (out / "run.json").exists() or not Run.open(out).complete:
        shutil.rmtree(out, ignore_errors=True)
        fit(cache, out, resolve("small", None, (), {**SETTINGS, **settings}))
    return json.loads((out / "metrics.json").read_text())


def row(name: str, found: Mapping[str, Any]) -> str:
    """Return a model's row of the table."""
    full = found["megc"]["rows"][0]
    assert full["row"] == "Full"
    (low, high), spread = full["uf1"]["interval"], full["uf1"]["sd"]
    uf1 = f"{full['uf1']['value']:.3f} ± {spread or 0:.3f} | {low:.3f} to {high:.3f}"
    return f"| {name} | {uf1} | {full['uar']['value']:.3f} | {100 * found['pooled']['war']['value']:.1f} |"


def row_of_control(name: str, found: Mapping[str, Any]) -> str:
    """Return the control's row of the table."""
    uf1, uar, war = (found["control"][score]["value"] for score in ("uf1", "uar", "war"))
    return f"| {name} | {uf1:.3f} | – | {uar:.3f} | {100 * war:.1f} |"


def milliseconds() -> str:
    """Time the flow of clips, in one thread."""
    rng = np.random.default_rng(0)
    one = cv2.GaussianBlur(rng.integers(0, 256, (256, 256)).astype(np.uint8), (0, 0), 3)
    other = np.roll(one, 2, axis=1)
    times = []
    for _ in range(12):
        began = time.perf_counter()
        flow(one, other)
        times.append(time.perf_counter() - began)
    return f"{1000 * statistics.median(times):.1f} ms a pair of squares of 256 pixels"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, help="where caches and runs lie: a rerun resumes. Temporary when left out"
    )
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--seed", type=int, default=SEED, help="of the set")
    parser.add_argument("--difficulty", type=float, default=DIFFICULTY, help="from 0, posed, to 1, subtle")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="est-micro-"))
    print(machine("torch"), flush=True)
    try:
        if not (folder / VIDEOS / MANIFEST).exists():
            spec = RenderSpec(
                micro=True, subjects=arguments.people, seed=arguments.seed, difficulty=arguments.difficulty, fps=FPS
            )
            render_set(spec, folder / VIDEOS)
        print("| what is read, and by what | UF1 | 95 % | UAR | WAR, % |\n|---|---|---|---|---|")
        rates = []
        for modality, models in ROWS.items():
            cache, rate = extracted(folder, modality)
            rates.append(f"{modality} {rate:.1f} clips a second")
            for name, settings in models.items():
                found = scored(cache, folder / f"{modality}-{name}".replace(" ", "-").replace(",", ""), dict(settings))
                print(row(f"{modality}: {name}", found), flush=True)
            print(row_of_control(f"{modality}: pooled statistics", found), flush=True)
        print(f"\nExtraction: {', '.join(rates)}. Flow: {milliseconds()}.")
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
