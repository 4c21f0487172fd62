"""What engines bring and what int8 costs: pictures a second, errors of rows, and the accuracy of models that are trained on them.

    python benchmarks/engines.py --folder work              # all three parts; the trainings resume
    python benchmarks/engines.py --part speed               # seconds
    python benchmarks/engines.py --write-faces FILE         # the faces on which int8 is calibrated, rendered again

speed      ResNet-18 at 224 with the weights `synface`, crops of noise; engines take turns, each row is the best of its rounds, by the
           clock and by the processor's time. A process of its own for each number of threads.
errors     Rows of rendered faces (people that the calibration has not seen): the root mean square error beside fp32 of torch, of each
           dimension divided by its deviation between frames.
accuracy   EST (preset small) on the same clips in fp32 and in int8, 20 seeds, folds over people that are drawn by the seed: the paired
           difference in WAR, with a 95 % interval over seeds (Student's t). Goal: the lower end above −1 point.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as est extract does, before torch is imported

import json
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from _machine import machine
from _ratios import tell

from est.cache import Cache, open_cache
from est.crops.crop import BOX_MARGIN, crop_face
from est.demo import RenderSpec, plan_set, render_set
from est.demo.clip import Clip
from est.demo.renderset import MANIFEST
from est.encoders.engines import choice
from est.encoders.engines.choice import Begun, bits_here, choose_engine, kind_of_processor
from est.encoders.engines.pictures import SIDE as SIDE_OF_FACES
from est.encoders.engines.preparation import prepare
from est.encoders.precision import why_emulated
from est.encoders.weights import load_weights
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs
from est.train import fit
from est.train.config.configfile import resolve
from est.train.results.results import read_predictions

CPU = torch.device("cpu")
SIDE, PICTURES, ROUNDS = 224, 16, 7
WAYS = (("torch", "fp32"), ("torch", "bf16"), ("onnxruntime", "fp32"), ("onnxruntime", "int8"))
SET = RenderSpec(subjects=24, clips_per_subject=14, frames=(16, 16), size=(360, 360), fps=10, difficulty=0.8, seed=40)
SEEDS, T_95 = 20, 2.093
FACES = RenderSpec(subjects=16, clips_per_subject=1, seed=22)
TRAINING = {"protocol.kind": "kfold", "protocol.folds": 4, "loop.epochs": 20, "loop.warmup": 2, "eval_every": 0}


def ways() -> list[tuple[str, str, int | None]]:
    """Return engine, precision and bits of weights of each row that this processor can compute."""
    found = [(*way, None) for way in WAYS if way[1] == "int8" or why_emulated(way[1], CPU) is None]  # ty: ignore
    return [*found, ("onnxruntime", "int8", 7)] if bits_here() == 8 else found


def named(engine: str, precision: str, bits: int | None) -> str:
    """Name a row."""
    return f"{engine} {precision}{f', weights of {bits} bits' if bits else ''}"


def speed(threads: int) -> None:
    """Print a table row for each way to compute, in turns."""
    torch.set_num_threads(threads)
    backbone = load_weights("synface").backbone
    crops = np.random.default_rng(0).integers(0, 255, (PICTURES, SIDE, SIDE, 3), np.uint8)
    engines = {}
    for engine, precision, bits in ways():
        prepared = prepare(backbone, SIDE, choose_engine(engine, precision, CPU, begun=Begun(bits=bits)), print)
        engines[named(engine, precision, bits)] = prepared.build(("gap",), CPU, PICTURES)
    clock = dict.fromkeys(engines, float("inf"))
    work = dict.fromkeys(engines, float("inf"))
    for _ in range(ROUNDS):
        for name, built in engines.items():
            start, busy = time.perf_counter(), time.process_time()
            built.encode(crops)
            clock[name] = min(clock[name], time.perf_counter() - start)
            work[name] = min(work[name], time.process_time() - busy)
    base = clock["torch fp32"]
    for name in engines:
        told = f"{PICTURES / clock[name]:.1f} | {base / clock[name]:.2f} × | {1000 * work[name] / PICTURES:.1f}"
        print(f"| {threads} | {name} | {told} |", flush=True)
        if threads == 1:
            tell(f"encoder by {name}", base / clock[name])


def print_speed() -> None:
    """Print the table of speeds."""
    print(f"kind of processor for int8: {kind_of_processor()}, weights of {bits_here()} bits")
    print(
        "\n| threads | engine | pictures/s | beside torch fp32 | CPU ms a picture |\n|---|---|---|---|---|", flush=True
    )
    for threads in (1, 2):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run([sys.executable, __file__, "--threads", str(threads)], check=True, env=environment)


def extracted(folder: Path, engine: str, precision: str, bits: int | None = None) -> Cache:
    """Return the cache of the set in a precision, made where it is not there; with `bits` as a processor makes it that has so many."""
    videos, out = folder / "videos", folder / f"{engine}-{precision}{f'-{bits}' if bits else ''}.zarr"
    if not (videos / MANIFEST).exists():
        render_set(SET, videos)
    config = ExtractConfig(
        weights="synface", precision=precision, engine=engine, detect_every=5, dtype="float32", device="cpu"
    )
    with patch.object(choice, "bits_here", lambda: bits) if bits else nullcontext():
        extract_videos(find_inputs([videos / MANIFEST]), out, config)
    return open_cache(out)


def rows_of(cache: Cache) -> np.ndarray:
    """Return the rows of all frames with a face."""
    return np.concatenate([cache.clip(name).features["gap"] for name in cache.ids]).astype(np.float64)


def print_errors(folder: Path) -> None:
    """Print the error of each precision beside the deviation between frames."""
    wanted = rows_of(extracted(folder, "torch", "fp32"))
    deviation = wanted.std(0)
    told = deviation > 1e-3 * deviation.max()
    print(f"\n{len(wanted)} frames, {told.sum()} of {len(told)} dimensions vary; error / deviation between frames")
    print("| rows | median | mean | 95 % of dimensions below |\n|---|---|---|---|")
    for engine, precision, bits in ways():
        if (engine, precision) != ("torch", "fp32"):
            error = np.sqrt(np.square(rows_of(extracted(folder, engine, precision, bits)) - wanted).mean(0))
            share = error[told] / deviation[told]
            cells = f"{np.median(share):.2g} | {share.mean():.2g} | {np.quantile(share, 0.95):.2g}"
            print(f"| {named(engine, precision, bits)} | {cells} |", flush=True)


def scores(cache: Cache, folder: Path, seed: int) -> tuple[float, float]:
    """Return the WAR of EST and of its control on a cache, in percent; from the file where they are known."""
    file = folder / f"{cache.path.stem}-{seed}.json"
    if not file.exists():
        config = resolve("small", None, (), {**TRAINING, "seeds": (seed,)})
        run = fit(
            cache, folder / f"{cache.path.stem}-{seed}", config, resume=(file.with_suffix("") / "run.json").exists()
        ).run
        said = [row for part in run.parts for row in read_predictions(run, part)]
        found = [100 * sum(row[of] == row["truth"] for row in said) / len(said) for of in ("prediction", "control")]
        file.write_text(json.dumps(found))
    model, control = json.loads(file.read_text())
    return model, control


def print_accuracy(folder: Path) -> None:
    """Print the paired differences, and whether the goal is reached."""
    plain = extracted(folder, "torch", "fp32")
    print(f"\n{len(plain)} clips of {SET.subjects} people; WAR in %, {SEEDS} seeds")
    for way in ways():
        if way[1] == "int8":
            print_difference(plain, extracted(folder, *way), folder, named(*way))


def print_difference(plain: Cache, rounded: Cache, folder: Path, what: str) -> None:
    """Print what models lose that learn from rounded rows, seed by seed."""
    print(f"\n{what}")
    differences: dict[str, list[float]] = {"EST": [], "control": []}
    level: dict[str, list[float]] = {"EST": [], "control": []}
    for seed in range(SEEDS):
        for name, before, after in zip(
            differences, scores(plain, folder, seed), scores(rounded, folder, seed), strict=True
        ):
            differences[name].append(after - before)
            level[name].append(before)
        print(f"seed {seed}: fp32 {level['EST'][-1]:.1f}, int8 {differences['EST'][-1]:+.1f}", flush=True)
    for name, found in differences.items():
        half = T_95 * statistics.stdev(found) / SEEDS**0.5
        mean = statistics.mean(found)
        print(
            f"{name}: fp32 {statistics.mean(level[name]):.1f}, int8 {mean:+.2f} points [{mean - half:+.2f}, {mean + half:+.2f}]"
        )
        if name == "EST":
            print(f"goal, lower end above −1: {'reached' if mean - half > -1 else 'missed'}")


def write_faces(path: Path) -> None:
    """Draw the faces of the calibration."""
    import cv2

    tiles = []
    for plan in plan_set(FACES):
        frame, truth = Clip(plan).frame(10)
        crop, _ = crop_face(
            frame, np.array(truth.box), truth.landmarks, align="box", margin=BOX_MARGIN, size=SIDE_OF_FACES
        )
        tiles.append(crop)
    rows = int(len(tiles) ** 0.5)
    sheet = np.array(tiles).reshape(rows, -1, *tiles[0].shape).swapaxes(1, 2)
    sheet = sheet.reshape(rows * SIDE_OF_FACES, -1, 3)
    path.write_bytes(cv2.imencode(".png", sheet, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes())


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path("engines-benchmark"))
    parser.add_argument("--part", choices=("all", "speed", "errors", "accuracy"), default="all")
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--write-faces", type=Path)
    options = parser.parse_args()
    if options.write_faces:
        write_faces(options.write_faces)
    elif options.threads:
        speed(options.threads)
    else:
        print(machine("torch", "onnxruntime"))
        if options.part in ("all", "speed"):
            print_speed()
        if options.part != "speed":
            options.folder.mkdir(parents=True, exist_ok=True)
        if options.part in ("all", "errors"):
            print_errors(options.folder)
        if options.part in ("all", "accuracy"):
            print_accuracy(options.folder)


if __name__ == "__main__":
    main()
