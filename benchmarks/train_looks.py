"""Learns the map of extract/faces/looks.py, by which people are told apart, and shows how well it does on other people.

    python benchmarks/train_looks.py --folder work --out extract/faces/looks.safetensors

Rendered people are shown in shots of other scenes, light, pose and expression. What is measured of a shot is the median
over the frames that a detector searches. The map is a linear discriminant: it keeps the directions in which people differ most against the
shots of one person, and scales them so that shots of one person lie about 1 apart in each. Other people, whom the map has not seen,
show how far apart it keeps them. The threshold is a matter of whole clips: `benchmarks/identity.py --development` chooses it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from _machine import machine
from _people import shot
from safetensors.numpy import save_file

from est.extract.faces import looks
from est.extract.faces.detect import build_detector
from est.extract.faces.face_linking import area

# Seeds, people of it, and how hard the shots are: None draws the difficulty of each from 0.2 to 0.9. Any set may show these people: rows of
# a cache depend on the map with `--across-cuts longest` and `split` alone.
LEARNT = ((41, range(200), None), (43, range(300), None))
SHOWN = ((42, range(200), 0.4), (41, range(200, 300), 0.9), (44, range(200), None))
SHOTS, SIZE = 4, (320, 180)  # of each person
NUMBERS = len(looks.PLACES) * 4 + 6  # that are measured of a face
DIMENSIONS = 10
ALARMS = (0.02, 0.01, 0.005)  # shares of pairs of shots of one person that are taken for two
KEPT_APART = 0.02  # of the covariance within people that is taken as uncorrelated


def measured(seed: int, people: range, difficulty: float | None, folder: Path) -> np.ndarray:
    """Measure shots of people of a seed, or read what was measured; NaN for a shot without a face.  # → (people, SHOTS, M)"""
    file = folder / f"{seed}-{people.start}-{people.stop}-{difficulty}.npy"
    if file.exists():
        return np.load(file)
    detector = build_detector(
        "retinaface", device="cpu", precision="fp32", score_threshold=0.8, models_dir=None, batch_size=8
    )
    rng = np.random.default_rng([seed, people.start])
    found = []
    for person in people:
        rows = []
        for _ in range(SHOTS):
            num_frames = int(rng.integers(12, 21))
            clip = shot(rng, seed, person, num_frames, SIZE, difficulty)
            frames = [clip.frame(t)[0] for t in sorted({*range(0, num_frames, 3), num_frames - 1})]
            faces = [
                looks.measure(frame, one.landmarks[int(area(one.boxes).argmax())])
                for frame, one in zip(frames, detector.detect(np.stack(frames)), strict=True)
                if len(one)
            ]
            rows.append(np.median(faces, axis=0) if faces else np.full(NUMBERS, np.nan))
        found.append(rows)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(file, np.array(found, np.float32))
    return np.load(file)


def discriminant(shots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of what is measured, and the map.  # (people, SHOTS, M) → (M,), (M, D)"""
    shots = shots[np.isfinite(shots).all((1, 2))]
    people, each, _ = shots.shape
    means = shots.mean(1)
    inside = (shots - means[:, None]).reshape(people * each, -1)
    within = inside.T @ inside / (people * (each - 1))
    within = (1 - KEPT_APART) * within + KEPT_APART * np.diag(np.diag(within))
    between = np.cov(means.T) - within / each
    whiten = np.linalg.cholesky(np.linalg.inv(within))
    values, vectors = np.linalg.eigh(whiten.T @ between @ whiten)
    best = np.argsort(-values)[:DIMENSIONS]
    positive = np.maximum(values[best], 0)
    share = positive / (positive + 1)  # of what differs between people in this direction
    return means.mean(0), whiten @ vectors[:, best] * np.sqrt(share)


def distances(shots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances between shots of one person, and of two.  # (people, SHOTS, D)"""
    _, each, width = shots.shape
    rows = shots.reshape(-1, width)
    one, two = np.triu_indices(len(rows), 1)
    apart = np.linalg.norm(rows[one] - rows[two], axis=1)
    known, same = np.isfinite(apart), one // each == two // each
    return apart[known & same], apart[known & ~same]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where what is measured lies: a rerun resumes there")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(machine("numpy", "opencv-python-headless"), flush=True)
    mean, weights = discriminant(np.concatenate([measured(*part, arguments.folder) for part in LEARNT]).astype(float))
    told = ", ".join(f"{len(people)} people of seed {seed}" for seed, people, _ in LEARNT)
    save_file(
        {"mean": mean.astype(np.float32), "map": np.ascontiguousarray(weights, np.float32)},
        arguments.out,
        metadata={"learnt_from": f"rendered: {told}, by benchmarks/train_looks.py"},
    )
    titles = [f"apart at a distance that {share:.1%} of one exceed" for share in ALARMS]
    print(
        "\n| people, difficulty | pairs of shots of one | of two | "
        + " | ".join(titles)
        + " |\n|---|---|---|"
        + "---|" * len(ALARMS)
    )
    for seed, people, difficulty in SHOWN:
        same, other = distances((measured(seed, people, difficulty, arguments.folder) - mean) @ weights)
        hard = "0.2 to 0.9" if difficulty is None else difficulty
        shares = [f"{(other > np.quantile(same, 1 - alarms)).mean():.1%}" for alarms in ALARMS]
        print(
            f"| {len(people)} of seed {seed}, {hard} | {len(same)} | {len(other)} | " + " | ".join(shares) + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
